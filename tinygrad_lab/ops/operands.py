"""Operand conversion: lists and numbers that a user passes to a function become arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import as_array
from tinygrad_lab.foreign_names import names_options

Function = TypeVar("Function", bound=Callable[..., Any])


def as_operand(value: Any, like: Any = None, *, who: str) -> Any:
    """Return an array or tensor unchanged, and a list or number as an array that matches `like`."""
    return value if hasattr(value, "shape") else as_array(value, unbox(like), who=f"{who}: ")


def takes_lists(function: Function) -> Function:
    """Let the first argument of a function also be a nested list or a number."""
    name = function.__name__

    @names_options
    @functools.wraps(function)
    def call(x: Any, *args: Any, **options: Any) -> Any:
        return function(as_operand(x, who=name), *args, **options)

    return call  # type: ignore[return-value]  # of the same signature
