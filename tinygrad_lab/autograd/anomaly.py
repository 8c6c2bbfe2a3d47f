"""Checks of `detect_anomaly`: whether results and gradients are finite, and which line called the operation."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from tinygrad_lab.backend import carries_gradient, is_array, is_finite
from tinygrad_lab.errors import NonFiniteError

_PACKAGE = str(Path(__file__).parents[1]) + os.sep  # the package of the layers counts as outside


def calling_line() -> str:
    """Return the innermost file and line outside this package."""
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(_PACKAGE)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "an unknown place"


def check_result(op: Any, values: list[Any], results: tuple[Any, ...]) -> None:
    """Raise NonFiniteError, naming the operation and the line that called it, if a result is not finite."""
    if not all(is_finite(r) for r in results if carries_gradient(r)):
        clean = all(is_finite(v) for v in values if carries_gradient(v))
        raise NonFiniteError.value(op, [v.shape for v in values if is_array(v)], clean, calling_line())


def check_gradient(node: Any, source: Any, gradient: Any) -> None:
    """Raise NonFiniteError, naming the operation and its argument, if the gradient of an input is not finite."""
    value = getattr(gradient, "value", gradient)
    if is_array(value) and not is_finite(value):
        raise NonFiniteError.gradient(node.op, node.inputs.index(source), node.place)
