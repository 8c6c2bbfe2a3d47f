r"""Normalization: batch statistics of channels, and standard scores over any axes.

.. math:: y = \gamma\,(x - \mu)\,r + \beta, \qquad \mu = \frac{1}{m} \sum x, \quad
          v = \frac{1}{m} \sum (x - \mu)^2, \quad r = (v + \varepsilon)^{-1/2}

`batch_norm` sums over all axes but the last. Its derivative has a closed form that reads x and the cotangent twice:
`centered_sums` computes the two sums, and `blend` computes the gradient from them. The rules of these two and of
`channel_affine` use one another, so every order of derivative exists. `batch_norm_relu` and `channel_affine_relu` fuse
the ReLU that follows, so the result is written to memory once.

References
----------
S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift",
ICML 2015, algorithm 1 and the equations of section 3.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from tinygrad_lab.ops.activation import relu_grad
from tinygrad_lab.ops.elementary import sqrt
from tinygrad_lab.ops.reductions import mean as mean_over
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.ops.widths import Floating


def _all_but_last(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


@partial(Floating, outputs=("out", "mean", "variance"))
def batch_norm(xp: Any, x: Any, scale: Any, shift: Any, *, eps: float) -> Any:
    """Return scale * (x - mean) / sqrt(variance + eps) + shift, and the mean and variance of each channel.

    The variance is divided by the number of elements.
    """
    mean = xp.mean(x, axis=_all_but_last(x))
    centered = x - mean
    variance = xp.mean(centered * centered, axis=_all_but_last(x))
    return centered * (scale / xp.sqrt(variance + eps)) + shift, mean, variance


@partial(Floating, outputs=("out", "mean", "variance"))
def batch_norm_relu(xp: Any, x: Any, scale: Any, shift: Any, *, eps: float) -> Any:
    """Return relu(`batch_norm`), NaN where that is NaN, and the mean and variance of each channel."""
    y, mean, variance = batch_norm.forward(xp, x, scale, shift, eps=eps)
    return xp.maximum(y, 0), mean, variance


@partial(Floating, outputs=("total", "moment"))
def centered_sums(xp: Any, g: Any, x: Any, mean: Any) -> Any:
    """Return sum(g) and sum(g * (x - mean)) over all axes but the last."""
    axes = _all_but_last(x)
    return xp.sum(g, axis=axes), xp.sum(g * (x - mean), axis=axes)


@Floating
def channel_affine(xp: Any, x: Any, mean: Any, factor: Any, shift: Any) -> Any:
    """Return (x - mean) * factor + shift, with one mean, factor and shift per channel."""
    return (x - mean) * factor + shift


@Floating
def channel_affine_relu(xp: Any, x: Any, mean: Any, factor: Any, shift: Any) -> Any:
    """Return relu(`channel_affine`), NaN where that is NaN."""
    return xp.maximum((x - mean) * factor + shift, 0)


@Floating
def blend(xp: Any, g: Any, x: Any, mean: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * g + b * (x - mean) + c, with one mean, a, b and c per channel."""
    return a * g + b * (x - mean) + c


def _batch_norm_rule(
    g: Any, x: Any, scale: Any, mean: Any, variance: Any, eps: float, wanted: tuple[bool, ...]
) -> tuple[Any, Any, Any]:
    r"""Return the gradients of x, scale and shift.

    dx = gamma r (g - (sum g + xhat * sum(g * xhat)) / m), plus the terms from the cotangents of mean and variance.
    """
    g, g_mean, g_variance = g
    per_element = 1.0 / max(1, math.prod(x.shape[:-1]))
    r = 1.0 / sqrt(variance + eps)
    total, moment = centered_sums(g, x, mean)
    if not wanted[0]:
        return None, r * moment, total
    a = scale * r
    b = (2.0 * g_variance - a * r * r * moment) * per_element
    c = (g_mean - a * total) * per_element
    return blend(g, x, mean, a, b, c), r * moment, total


def _batch_norm_relu_rule(
    g: Any, x: Any, scale: Any, out: Any, mean: Any, variance: Any, eps: float, wanted: tuple[bool, ...]
) -> tuple[Any, Any, Any]:
    g, g_mean, g_variance = g
    return _batch_norm_rule((relu_grad(g, out), g_mean, g_variance), x, scale, mean, variance, eps, wanted)


def _centered_sums_rule(v: Any, g: Any, x: Any, mean: Any, total: Any) -> tuple[Any, Any, Any]:
    v_total, v_moment = v
    return channel_affine(x, mean, v_moment, v_total), v_moment * g, -v_moment * total


def _channel_affine_rule(v: Any, x: Any, mean: Any, factor: Any, wanted: tuple[bool, ...]) -> tuple[Any, ...]:
    if not any(wanted[1:]):
        return factor * v, None, None, None
    total, moment = centered_sums(v, x, mean)
    return factor * v, -factor * total, moment, total


def _channel_affine_relu_rule(
    v: Any, x: Any, mean: Any, factor: Any, out: Any, wanted: tuple[bool, ...]
) -> tuple[Any, ...]:
    return _channel_affine_rule(relu_grad(v, out), x, mean, factor, wanted)


def _blend_rule(v: Any, g: Any, x: Any, mean: Any, a: Any, b: Any) -> tuple[Any, ...]:
    total, moment = centered_sums(v, x, mean)
    return a * v, b * v, -b * total, sum_axes(v * g, axes=_all_but_last(v)), moment, total


batch_norm.defvjp("x", "scale", "shift", _batch_norm_rule)
batch_norm_relu.defvjp("x", "scale", "shift", _batch_norm_relu_rule)
centered_sums.defvjp("g", "x", "mean", _centered_sums_rule)
channel_affine.defvjp("x", "mean", "factor", "shift", _channel_affine_rule)
channel_affine_relu.defvjp("x", "mean", "factor", "shift", _channel_affine_relu_rule)
blend.defvjp("g", "x", "mean", "a", "b", "c", _blend_rule)


@partial(Floating, outputs=("out", "rstd"))
def standardize(xp: Any, x: Any, *, axes: tuple[int, ...], eps: float) -> Any:
    """Return (x - mean) / sqrt(variance + eps) over some axes, and 1 / sqrt(variance + eps) with these axes kept."""
    centered = x - xp.mean(x, axis=axes, keepdims=True)
    rstd = 1.0 / xp.sqrt(xp.mean(centered * centered, axis=axes, keepdims=True) + eps)
    return centered * rstd, rstd


def _standardize_rule(g: Any, out: Any, rstd: Any, axes: tuple[int, ...]) -> Any:
    g, g_rstd = g
    per_element = 1.0 / max(1, math.prod(out.shape[i] for i in axes))
    along = mean_over(g * out, axes, keepdims=True) + g_rstd * rstd * per_element
    return rstd * (g - mean_over(g, axes, keepdims=True) - out * along)


standardize.defvjp(x=_standardize_rule)
