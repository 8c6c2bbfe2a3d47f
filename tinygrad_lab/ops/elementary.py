"""Elementary functions: exponentials, logarithms, trigonometry.

At singular points the derivatives are those of the formulas, such as infinity at 0 for log and sqrt. The exception is
hypot, whose gradient at (0, 0) is 0. The derivatives of arcsin, arccos and arctanh compute 1 - x^2 as (1 - x) (1 + x),
which avoids cancellation near 1 and -1.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab import backend
from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.ops.arithmetic import equal, where
from tinygrad_lab.ops.operands import takes_lists
from tinygrad_lab.ops.shaping import sum_to
from tinygrad_lab.ops.widths import Floating


@primitive
def exp(xp: Any, x: Any) -> Any:
    """Return e^x."""
    return xp.exp(x)


@primitive
def expm1(xp: Any, x: Any) -> Any:
    """Return e^x - 1, accurate for small x."""
    return xp.expm1(x)


@primitive
def log(xp: Any, x: Any) -> Any:
    """Return the natural logarithm; its derivative at 0 is infinite."""
    return xp.log(x)


@primitive
def log2(xp: Any, x: Any) -> Any:
    """Return the logarithm to base 2, exact at powers of 2."""
    return xp.log2(x)


@primitive
def log10(xp: Any, x: Any) -> Any:
    """Return the logarithm to base 10, exact at powers of 10."""
    return xp.log10(x)


@primitive
def log1p(xp: Any, x: Any) -> Any:
    """Return log(1 + x), accurate for small x."""
    return xp.log1p(x)


@primitive
def sqrt(xp: Any, x: Any) -> Any:
    """Return the square root; its derivative at 0 is infinite."""
    return xp.sqrt(x)


exp.defvjp(x=lambda g, out: g * out)
expm1.defvjp(x=lambda g, x: g * exp(x))
log.defvjp(x=lambda g, x: g / x)
log2.defvjp(x=lambda g, x: g * (1.0 / math.log(2.0)) / x)
log10.defvjp(x=lambda g, x: g * (1.0 / math.log(10.0)) / x)
log1p.defvjp(x=lambda g, x: g / (x + 1.0))
sqrt.defvjp(x=lambda g, out: g * 0.5 / out)


@primitive
def sin(xp: Any, x: Any) -> Any:
    """Return the sine of x radians."""
    return xp.sin(x)


@primitive
def cos(xp: Any, x: Any) -> Any:
    """Return the cosine of x radians."""
    return xp.cos(x)


@primitive
def tan(xp: Any, x: Any) -> Any:
    """Return the tangent of x radians."""
    return xp.tan(x)


@primitive
def arcsin(xp: Any, x: Any) -> Any:
    """Return the angle in [-pi/2, pi/2] whose sine is x."""
    return xp.arcsin(x)


@primitive
def arccos(xp: Any, x: Any) -> Any:
    """Return the angle in [0, pi] whose cosine is x."""
    return xp.arccos(x)


@primitive
def arctan(xp: Any, x: Any) -> Any:
    """Return the angle in (-pi/2, pi/2) whose tangent is x."""
    return xp.arctan(x)


@primitive
def arctan2(xp: Any, y: Any, x: Any) -> Any:
    """Return the angle in [-pi, pi] of the point (x, y)."""
    return xp.arctan2(y, x)


@primitive
def sinh(xp: Any, x: Any) -> Any:
    """Return (e^x - e^-x) / 2."""
    return xp.sinh(x)


@primitive
def cosh(xp: Any, x: Any) -> Any:
    """Return (e^x + e^-x) / 2."""
    return xp.cosh(x)


@primitive
def tanh(xp: Any, x: Any) -> Any:
    """Return sinh x / cosh x."""
    return xp.tanh(x)


@primitive
def arcsinh(xp: Any, x: Any) -> Any:
    """Return the number whose hyperbolic sine is x."""
    return xp.arcsinh(x)


@primitive
def arccosh(xp: Any, x: Any) -> Any:
    """Return the non-negative number whose hyperbolic cosine is x."""
    return xp.arccosh(x)


@primitive
def arctanh(xp: Any, x: Any) -> Any:
    """Return the number whose hyperbolic tangent is x."""
    return xp.arctanh(x)


sin.defvjp(x=lambda g, x: g * cos(x))
cos.defvjp(x=lambda g, x: -g * sin(x))
tan.defvjp(x=lambda g, out: g * (1.0 + out * out))
arcsin.defvjp(x=lambda g, x: g / sqrt((1.0 - x) * (1.0 + x)))
arccos.defvjp(x=lambda g, x: -g / sqrt((1.0 - x) * (1.0 + x)))
arctan.defvjp(x=lambda g, x: g / (1.0 + x * x))
arctan2.defvjp(
    y=lambda g, y, x: sum_to(g * x / (x * x + y * y), y),
    x=lambda g, y, x: sum_to(-g * y / (x * x + y * y), x),
)
sinh.defvjp(x=lambda g, x: g * cosh(x))
cosh.defvjp(x=lambda g, x: g * sinh(x))
tanh.defvjp(x=lambda g, out: g * (1.0 - out * out))
arcsinh.defvjp(x=lambda g, x: g / sqrt(x * x + 1.0))
arccosh.defvjp(x=lambda g, x: g / sqrt((x - 1.0) * (x + 1.0)))
arctanh.defvjp(x=lambda g, x: g / ((1.0 - x) * (1.0 + x)))


@primitive
def deg2rad(xp: Any, x: Any) -> Any:
    """Return an angle of x degrees in radians."""
    return xp.deg2rad(x)


@primitive
def rad2deg(xp: Any, x: Any) -> Any:
    """Return an angle of x radians in degrees."""
    return xp.rad2deg(x)


@primitive
def hypot(xp: Any, x: Any, y: Any) -> Any:
    """Return sqrt(x^2 + y^2) without overflow; its gradient at (0, 0) is taken as 0."""
    return xp.hypot(x, y)


@primitive
def logaddexp(xp: Any, x: Any, y: Any) -> Any:
    """Return log(e^x + e^y) without overflow.

    Its gradient with respect to an argument that is inf is NaN, as are both gradients where both arguments are -inf.
    """
    return xp.logaddexp(x, y)


def _hypot_rule(g: Any, x: Any, out: Any) -> Any:
    return sum_to(g * (x / where(equal(out, 0.0), 1.0, out)), x)


deg2rad.defvjp(x=lambda g: deg2rad(g))
rad2deg.defvjp(x=lambda g: rad2deg(g))
hypot.defvjp(x=_hypot_rule, y=lambda g, y, out: _hypot_rule(g, y, out))
logaddexp.defvjp(
    x=lambda g, x, out: sum_to(g * exp(x - out), x),
    y=lambda g, y, out: sum_to(g * exp(y - out), y),
)


@Floating
def sigmoid(xp: Any, x: Any) -> Any:
    """Return 1 / (1 + e^-x), computed from ``e^-|x|`` so that nothing overflows and small results stay accurate."""
    small = xp.exp(xp.minimum(x, -x))
    return xp.where(x < 0, small, 1.0) / (1.0 + small)


@Floating
def erf(xp: Any, x: Any) -> Any:
    """Return the error function, 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return backend.erf(x)


@Floating
def erfc(xp: Any, x: Any) -> Any:
    """Return 1 - erf(x), accurate where it is small."""
    return backend.erfc(x)


sigmoid.defvjp(x=lambda g, out: g * out * (1.0 - out))
erf.defvjp(x=lambda g, x: g * (2.0 / math.sqrt(math.pi)) * exp(-x * x))
erfc.defvjp(x=lambda g, x: g * (-2.0 / math.sqrt(math.pi)) * exp(-x * x))


@takes_lists
def square(x: Any) -> Any:
    """Return x * x."""
    return x * x
