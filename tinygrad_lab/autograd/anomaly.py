"""Watchers of computations, such as the one that `detect_anomaly` uses to find results that are not finite."""

from __future__ import annotations

import os
import traceback
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.backend import carries_gradient, is_array, is_finite
from tinygrad_lab.errors import NonFiniteError

_PACKAGE = str(Path(__file__).parents[1]) + os.sep  # the package of the layers counts as outside


def calling_line() -> str:
    """Return the innermost file and line outside this package."""
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(_PACKAGE)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "an unknown place"


class Watcher:
    """Base class of the setting `watcher`, which observes operations and the backward pass. It does nothing itself."""

    def computed(self, op: Any, values: Any, options: Any, inputs: Any, results: tuple[Any, ...]) -> None:
        """Note an operation on tensors: its arrays and options, the nodes of the tracked arrays, and the results."""

    def recorded(self, node: Any) -> None:
        """Note the node of the operation that was computed last."""

    def left(self, box: Any, how: str) -> None:
        """Note a tracked value that became a constant, for example by ``stop_gradient``."""

    def propagated(self, node: Any, g: Any, source: Any, gradient: Any) -> None:
        """Note the gradient that a node's rule computed from the cotangent `g` for one input."""


class _Anomaly(Watcher):
    def computed(self, op: Any, values: Any, options: Any, inputs: Any, results: tuple[Any, ...]) -> None:
        """Raise NonFiniteError, naming the operation and the line that called it, if a result is not finite."""
        if not all(is_finite(r) for r in results if carries_gradient(r)):
            clean = all(is_finite(v) for v in values if carries_gradient(v))
            raise NonFiniteError.value(op, [v.shape for v in values if is_array(v)], clean, calling_line())

    def recorded(self, node: Any) -> None:
        """Note the line that called the operation."""
        node.place = calling_line()

    def propagated(self, node: Any, g: Any, source: Any, gradient: Any) -> None:
        """Raise NonFiniteError, naming the operation and its argument, if the gradient of an input is not finite."""
        value = getattr(gradient, "value", gradient)
        if is_array(value) and not is_finite(value):
            raise NonFiniteError.gradient(node.op, node.inputs.index(source), node.place)


def detect_anomaly() -> AbstractContextManager[None]:
    """Raise an error at the first value or gradient that is not finite; all operations become slower.

    The error names the operation and the line that called it.
    """
    return using(watcher=_Anomaly())
