"""Arithmetic, comparison and selection, element by element, with NumPy's broadcasting.

A gradient is summed over the axes along which its argument was broadcast (`sum_to`).
At a tie, and where the result is NaN, `maximum` and `minimum` give half of the gradient to each side. `clip` passes the
gradient at its bounds.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.tape import Box, unbox
from tinygrad_lab.backend import SCALARS, beside
from tinygrad_lab.ops.operands import takes_lists
from tinygrad_lab.ops.shaping import astype, sum_to


@primitive
def add(xp: Any, x: Any, y: Any) -> Any:
    """Return x + y."""
    return xp.add(x, y)


add.defvjp(x=lambda g, x_like: sum_to(g, x_like), y=lambda g, y_like: sum_to(g, y_like))


@primitive
def subtract(xp: Any, x: Any, y: Any) -> Any:
    """Return x - y."""
    return xp.subtract(x, y)


subtract.defvjp(x=lambda g, x_like: sum_to(g, x_like), y=lambda g, y_like: sum_to(-g, y_like))


@primitive
def multiply(xp: Any, x: Any, y: Any) -> Any:
    """Return x * y."""
    return xp.multiply(x, y)


multiply.defvjp(
    x=lambda g, x_like, y: sum_to(g * y, x_like),
    y=lambda g, x, y_like: sum_to(g * x, y_like),
)


@primitive
def divide(xp: Any, x: Any, y: Any) -> Any:
    """Return x / y."""
    return xp.true_divide(x, y)


divide.defvjp(
    x=lambda g, x_like, y: sum_to(g / y, x_like),
    y=lambda g, x, y: sum_to(-(g / y) * (x / y), y),  # not x / y^2, whose square could vanish or overflow
)


@primitive
def negative(xp: Any, x: Any) -> Any:
    """Return -x."""
    return xp.negative(x)


negative.defvjp(x=lambda g: -g)


@primitive
def positive(xp: Any, x: Any) -> Any:
    """Return +x, a copy of x."""
    return xp.positive(x)


positive.defvjp(x=lambda g: g)


@primitive
def reciprocal(xp: Any, x: Any) -> Any:
    """Return 1 / x, of integers the integer part, as in NumPy."""
    return xp.reciprocal(x)


reciprocal.defvjp(x=lambda g, out: -g * out * out)


@primitive
def power(xp: Any, x: Any, y: Any) -> Any:
    """Return x to the power y.

    d/dx = y x^(y-1), which is taken as 0 where x and y are 0; d/dy = x^y log x, which is taken as 0 where x is 0.
    """
    return x**y


def _power_x(g: Any, x: Any, y: Any) -> Any:
    if not hasattr(y, "shape"):  # a plain number
        return g * (y * power(x, y - 1)) if y else 0.0 * g
    both = astype(equal(x, 0.0), dtype=g.dtype) * astype(equal(y, 0.0), dtype=g.dtype)
    return sum_to(g * y * power(x, y - 1.0 + both), x)  # 0 * 0^0 where both are 0, because 0 * 0^-1 is NaN


def _power_y(g: Any, x: Any, y: Any, out: Any) -> Any:
    from tinygrad_lab.ops.elementary import log

    if not hasattr(x, "shape"):
        return sum_to(g * out * (math.log(x) if x > 0 else 0.0 if x == 0 else math.nan), y)
    return sum_to(g * out * log(where(equal(x, 0.0), 1.0, x)), y)


power.defvjp(x=_power_x, y=_power_y)


@primitive
def absolute(xp: Any, x: Any) -> Any:
    """Return ``|x|``; the derivative at 0 is taken as 0."""
    return xp.abs(x)


absolute.defvjp(x=lambda g, x: g * sign(x))


@primitive
def sign(xp: Any, x: Any) -> Any:
    """Return -1, 0 or 1; the derivative is 0."""
    return xp.sign(x)


@primitive
def floor(xp: Any, x: Any) -> Any:
    """Return the largest integer not above x; the derivative is 0."""
    return xp.floor(x)


@primitive
def ceil(xp: Any, x: Any) -> Any:
    """Return the smallest integer not below x; the derivative is 0."""
    return xp.ceil(x)


@primitive
def trunc(xp: Any, x: Any) -> Any:
    """Return x without its fraction; the derivative is 0."""
    return xp.trunc(x)


@primitive
def rint(xp: Any, x: Any) -> Any:
    """Return the nearest integer, at a tie the even one; the derivative is 0."""
    return xp.rint(x)


for _step in (sign, floor, ceil, trunc, rint):
    _step.defvjp(x=None)


@primitive
def floor_divide(xp: Any, x: Any, y: Any) -> Any:
    """Return the largest integer not above x / y; the derivatives are 0."""
    return xp.floor_divide(x, y)


@primitive
def remainder(xp: Any, x: Any, y: Any) -> Any:
    """Return x - y floor(x / y), which has the sign of y. The derivatives treat floor(x / y) as a constant."""
    return xp.remainder(x, y)


floor_divide.defvjp(x=None, y=None)
remainder.defvjp(
    x=lambda g, x_like: sum_to(g, x_like),
    y=lambda g, x, y: sum_to(-g * floor_divide(x, y), y),
)


@primitive
def equal(xp: Any, x: Any, y: Any) -> Any:
    """Return whether x == y."""
    return xp.equal(x, y)


@primitive
def not_equal(xp: Any, x: Any, y: Any) -> Any:
    """Return whether x != y."""
    return xp.not_equal(x, y)


@primitive
def less(xp: Any, x: Any, y: Any) -> Any:
    """Return whether x < y."""
    return xp.less(x, y)


@primitive
def less_equal(xp: Any, x: Any, y: Any) -> Any:
    """Return whether x <= y."""
    return xp.less_equal(x, y)


@primitive
def greater(xp: Any, x: Any, y: Any) -> Any:
    """Return whether x > y."""
    return xp.greater(x, y)


@primitive
def greater_equal(xp: Any, x: Any, y: Any) -> Any:
    """Return whether x >= y."""
    return xp.greater_equal(x, y)


@primitive
def isfinite(xp: Any, x: Any) -> Any:
    """Return whether x is neither infinite nor NaN."""
    return xp.isfinite(x)


@primitive
def bitwise_and(xp: Any, x: Any, y: Any) -> Any:
    """Return x & y, bit by bit; for booleans, x and y."""
    return xp.bitwise_and(x, y)


@primitive
def bitwise_or(xp: Any, x: Any, y: Any) -> Any:
    """Return x | y, bit by bit; for booleans, x or y."""
    return xp.bitwise_or(x, y)


@primitive
def bitwise_xor(xp: Any, x: Any, y: Any) -> Any:
    """Return x ^ y, bit by bit; for booleans, whether they differ."""
    return xp.bitwise_xor(x, y)


@primitive
def bitwise_not(xp: Any, x: Any) -> Any:
    """Return ~x, bit by bit; for booleans, not x."""
    return xp.invert(x)


@primitive
def where(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition is true and y elsewhere."""
    return xp.where(condition, x, y)


where.defvjp(
    x=lambda g, condition, x_like: sum_to(where(condition, g, 0.0), x_like),
    y=lambda g, condition, y_like: sum_to(where(condition, 0.0, g), y_like),
)


@primitive
def maximum(xp: Any, x: Any, y: Any) -> Any:
    """Return the larger of x and y, NaN if either is NaN; at a tie the gradient is halved."""
    return xp.maximum(x, y)


@primitive
def minimum(xp: Any, x: Any, y: Any) -> Any:
    """Return the smaller of x and y, NaN if either is NaN; at a tie the gradient is halved."""
    return xp.minimum(x, y)


def _share(g: Any, x: Any, y: Any, out: Any) -> Any:
    """Return x's share of the gradient: all of it where x won, half at a tie, 0 where y won."""
    chosen, other = (astype(equal(v, out), dtype=g.dtype) for v in (x, y))
    return g * (0.5 * (1.0 + chosen - other))


for _choice in (maximum, minimum):
    _choice.defvjp(
        x=lambda g, x, y, out: sum_to(_share(g, x, y, out), x),
        y=lambda g, x, y, out: sum_to(_share(g, y, x, out), y),
    )


@primitive
def clip_between(xp: Any, x: Any, low: Any, high: Any) -> Any:
    """Return min(max(x, low), high); None means no bound."""
    return x if low is None and high is None else xp.clip(x, low, high)


def _clip_x(g: Any, x: Any, low: Any, high: Any) -> Any:
    if low is not None:
        g = where(greater_equal(x, low), g, 0.0)
    return sum_to(g if high is None else where(less_equal(x, high), g, 0.0), x)


def _clip_low(g: Any, x: Any, low: Any, high: Any) -> Any:
    g = where(less(x, low), g, 0.0)
    return sum_to(g if high is None else where(less_equal(low, high), g, 0.0), low)


def _clip_high(g: Any, x: Any, low: Any, high: Any) -> Any:
    held = x if low is None else maximum(x, low)
    return sum_to(where(greater(held, high), g, 0.0), high)


clip_between.defvjp(x=_clip_x, low=_clip_low, high=_clip_high)


@takes_lists
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """Return x limited to the range from `low` to `high`.

    Each bound is a number, an array that broadcasts against x, or None for no bound.
    The gradient goes to x where low <= x <= high, and elsewhere to the bound that replaced x.
    """
    like = unbox(x)
    low, high = (v if isinstance(v, Box) or type(v) in SCALARS else beside(v, like, who="clip: ") for v in (low, high))
    return clip_between(x, low, high)
