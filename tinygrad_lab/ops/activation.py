"""ReLU and the softmax family, shared by several layers and losses."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.ops.elementary import exp
from tinygrad_lab.ops.reductions import peak, sum_axes
from tinygrad_lab.ops.shaping import normalize_axes, sum_to
from tinygrad_lab.ops.widths import Floating


@primitive
def relu(xp: Any, x: Any) -> Any:
    """Return max(x, 0), and NaN where x is NaN. The derivative at 0 and at NaN is taken as 0."""
    return xp.maximum(x, 0)


@primitive
def relu_grad(xp: Any, g: Any, y: Any) -> Any:
    """Return g where relu's result y is positive, and 0 elsewhere; linear in g."""
    return xp.where(y > 0, g, xp.zeros_like(g))


relu.defvjp(x=lambda g, out: relu_grad(g, out))
relu_grad.defvjp(g=lambda v, y: relu_grad(v, y), y=None)


@Floating
def add_relu(xp: Any, x: Any, y: Any) -> Any:
    """Return max(x + y, 0), the sum of a block and its shortcut; NaN where the sum is NaN."""
    return xp.maximum(x + y, 0)


def _add_relu_rule(g: Any, out: Any, x_like: Any, y_like: Any) -> tuple[Any, Any]:
    """Return both gradients by one rule, which applies the mask of ReLU to the cotangent only once."""
    g = relu_grad(g, out)
    return sum_to(g, x_like), sum_to(g, y_like)


add_relu.defvjp("x", "y", _add_relu_rule)


@Floating
def softmax(xp: Any, x: Any, *, axis: int = -1) -> Any:
    """Return e^x / sum(e^x) along an axis. The maximum is subtracted first, so nothing overflows."""
    powers = xp.exp(x - peak(xp, x, normalize_axes(axis, x.ndim, "softmax")))
    return powers / xp.sum(powers, axis=axis, keepdims=True)


@Floating
def log_softmax(xp: Any, x: Any, *, axis: int = -1) -> Any:
    """Return x - log(sum(e^x)) along an axis. The maximum is subtracted first, so nothing overflows."""
    shifted = x - peak(xp, x, normalize_axes(axis, x.ndim, "log_softmax"))
    if not x.size:
        return shifted
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def _total(x: Any, axis: int) -> Any:
    return sum_axes(x, axes=(axis % x.ndim,), keepdims=True)


softmax.defvjp(x=lambda g, out, axis: out * (g - _total(g * out, axis)))
log_softmax.defvjp(x=lambda g, out, axis: g - exp(out) * _total(g, axis))
