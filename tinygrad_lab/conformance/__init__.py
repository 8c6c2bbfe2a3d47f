"""The conformance kit: properties that every layer must have, and the search for a case that breaks one.

``tinygrad-lab check NAME``, ``pytest --conformance`` and `check_layer` run the same checks. Names are imported when
they are asked for: the pytest plugin loads in every session and must be light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_lab.conformance import strategies as strategies
    from tinygrad_lab.conformance.case import BadInput, Case, Inner, Input, Law, LayerCases

_HOMES = {
    "BadInput": "case",
    "Case": "case",
    "Inner": "case",
    "Input": "case",
    "Law": "case",
    "LayerCases": "case",
}

__all__ = ["BadInput", "Case", "Inner", "Input", "Law", "LayerCases", "strategies"]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        return importlib.import_module("tinygrad_lab.conformance.strategies")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"tinygrad_lab.conformance.{_HOMES[name]}"), name)
