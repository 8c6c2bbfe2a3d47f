"""Float widths: the dtype in which a function or loss computes.

- Functions with NumPy's names convert integers and booleans as NumPy does: `exp` of int8 is float16, of int64 float64,
  and a mean is float64.
- All other functions, and the losses, convert integers and booleans to float64, or to the float dtype of the other
  arguments.
- Functions that square or sum float16 compute in float32 and round the result once.

Layers reject integers, except those layers that only move or choose elements.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.autograd.trees import map_tree
from tinygrad_lab.backend import FLOATS, as_array, carries_gradient
from tinygrad_lab.errors import DTypeError
from tinygrad_lab.foreign_names import names_options
from tinygrad_lab.ops.operands import Function, as_operand
from tinygrad_lab.ops.shaping import astype


def in_floats(function: Function) -> Function:
    """Convert the arguments of a function or method to floats, and float16 to float32.

    The first argument may also be a list, integers or booleans. These become float64, or the float dtype of the other
    arguments. If all floats are float16, the function gets float32, and its float32 results are rounded to float16.

    Examples
    --------
    >>> import numpy as np
    >>> @in_floats
    ... def power_of(x):
    ...     return (x * x).mean()
    >>> power_of(np.array([200, 100], "uint8")), power_of(np.array([200, 100], "float16"))
    (np.float64(25000.0), np.float16(2.5e+04))
    """
    first, *rest = inspect.signature(function).parameters
    at, name = (1, rest[0]) if first == "self" else (0, first)

    @names_options
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if len(args) == at and name in options:
            args = (*args, options.pop(name))
        if len(args) == at:
            return function(*args, **options)  # raises the error about the missing argument
        return _compute(functools.partial(function, *args[:at]), function.__name__, args[at:], options)

    return call  # type: ignore[return-value]  # of the same signature


class Floating(Primitive):
    """A primitive that converts its arguments as `in_floats` does."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Apply the primitive to floats."""
        if options and not options.keys() <= self.options.keys():
            args, options = self._bind(args, options)
        return _compute(super().__call__, self.__name__, args, options) if args else super().__call__(**options)


def _compute(function: Callable[..., Any], who: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    x = as_operand(args[0], who=who)
    kind = x.dtype.type
    if kind is np.float32 or kind is np.float64:
        return function(x, *args[1:], **options)
    others = {unbox(v).dtype: None for v in (*args[1:], *options.values()) if carries_gradient(unbox(v))}
    if kind not in FLOATS:
        as_array(unbox(x), who=f"{who}: ")  # raises unless these are numbers
        return _compute(function, who, (astype(x, dtype=next(iter(others), "float64")), *args[1:]), options)
    if kind is np.float16 and all(dtype.type is np.float16 for dtype in others):
        widened = {name: _widened(value) for name, value in options.items()}
        return _narrowed(function(*map(_widened, (x, *args[1:])), **widened))
    return function(x, *args[1:], **options)


def _widened(value: Any) -> Any:
    return astype(value, dtype="float32") if carries_gradient(unbox(value)) else value


def _narrowed(result: Any) -> Any:
    return map_tree(lambda r: astype(r, dtype="float16") if carries_gradient(unbox(r)) else r, result)


def expect_real(x: Any, who: str) -> None:
    """Raise for complex numbers, which NumPy's formula would not treat analytically; the complex step allows them.

    Raises
    ------
    DTypeError
        x is complex.
    """
    if x.dtype.kind == "c" and not SETTINGS.get().analytic:
        raise DTypeError.not_real(who, x.dtype)
