"""Forward rules of the operations: a table. An operation that is not in it uses its reverse rule twice."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.forward import additive, defjvp, linear, symmetric
from tinygrad_lab.autograd.transforms import identity
from tinygrad_lab.ops import (
    activation,
    arithmetic,
    convolution,
    diagonals,
    dropping,
    elementary,
    indexing,
    linalg,
    pooling,
    reductions,
    shaping,
    windows,
)
from tinygrad_lab.ops.activation import relu_grad
from tinygrad_lab.ops.convolution import conv2d
from tinygrad_lab.ops.elementary import exp
from tinygrad_lab.ops.linear import einsum_operands, matmul_matrices
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.ops.shaping import broadcast_to, reshape, swapaxes

# ----------------------------------------------------------------------------------------------- f(x + u) = f(x) + f(u)

additive(shaping.concatenate_parts)
linear(
    *(identity, sum_axes, reductions.cumsum_axis, matmul_matrices, einsum_operands, dropping.dropout),
    *(shaping.reshape, shaping.transpose, shaping.broadcast_to, shaping.sum_to_shape, shaping.astype),
    *(shaping.flip_axes, shaping.roll_axes, shaping.pad_zeros, shaping.crop, shaping.pad_edge, shaping.fold_edge),
    *(indexing.gather, indexing.scatter, indexing.gather_along_axis, indexing.scatter_along_axis),
    *(diagonals.diagonal_of, diagonals.on_diagonal, diagonals.lower_triangle, diagonals.upper_triangle),
    *(convolution.conv2d_grad_x, convolution.conv2d_grad_w, windows.unfold, windows.fold),
    *(pooling.sum_pool2d, pooling.sum_pool2d_grad, pooling.max_pool2d_grad, pooling.max_pool2d_take),
)

# -------------------------------------------------------------------------------------------- the Jacobian is symmetric

symmetric(
    *(arithmetic.add, arithmetic.subtract, arithmetic.multiply, arithmetic.divide, arithmetic.negative),
    *(arithmetic.positive, arithmetic.reciprocal, elementary.deg2rad, elementary.rad2deg, elementary.hypot),
    elementary.logaddexp,
    *(arithmetic.power, arithmetic.absolute, arithmetic.remainder, arithmetic.where),
    *(arithmetic.maximum, arithmetic.minimum, arithmetic.clip_between),
    *(elementary.exp, elementary.expm1, elementary.log, elementary.log2, elementary.log10, elementary.log1p),
    *(elementary.sqrt, elementary.sin, elementary.cos, elementary.tan, elementary.arcsin, elementary.arccos),
    *(elementary.arctan, elementary.arctan2, elementary.sinh, elementary.cosh, elementary.tanh),
    *(elementary.arcsinh, elementary.arccosh, elementary.arctanh),
    *(elementary.sigmoid, elementary.erf, elementary.erfc),
    *(activation.relu, activation.relu_grad, activation.softmax),
)

# --------------------------------------------------------------------------------------------------- rules of their own


def _along(weights: Any, u: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Return the sums of u with weights over some axes."""
    return sum_axes(weights * u, axes=axes, keepdims=keepdims)


def _winners(u: Any, x: Any, out: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Return the mean of u over the elements of x that attain the maximum or minimum."""
    winners, count = reductions.count_winners(x, out, axes)
    return _along(winners, u / count, axes, keepdims)


defjvp(reductions.max_axes, x=_winners)
defjvp(reductions.min_axes, x=_winners)
defjvp(
    reductions.logsumexp_axes,
    x=lambda u, x, out, axes, keepdims: _along(
        exp(x - reshape(out, shape=reductions.kept_shape(x.shape, axes))), u, axes, keepdims
    ),
)
defjvp(
    activation.log_softmax,
    x=lambda u, out, axis: u - _along(exp(out), u, (axis,), keepdims=True),
)
defjvp(
    activation.add_relu,
    x=lambda u, out: relu_grad(broadcast_to(u, shape=out.shape), out),
    y=lambda u, out: relu_grad(broadcast_to(u, shape=out.shape), out),
)


def _with_pixels(u: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return conv2d(u, w, None, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _with_filters(u: Any, x: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return conv2d(x, u, None, stride=stride, padding=padding, dilation=dilation, groups=groups)


defjvp(conv2d, x=_with_pixels, w=_with_filters, b=lambda u, out: broadcast_to(u, shape=out.shape))
defjvp(
    convolution.conv2d_relu,
    x=lambda u, w, out, stride, padding, dilation, groups: relu_grad(
        _with_pixels(u, w, stride, padding, dilation, groups), out
    ),
    w=lambda u, x, out, stride, padding, dilation, groups: relu_grad(
        _with_filters(u, x, stride, padding, dilation, groups), out
    ),
    b=lambda u, out: relu_grad(broadcast_to(u, shape=out.shape), out),
)
defjvp(
    pooling.max_pool2d,
    x=lambda u, index, kernel_size, stride, padding: (
        pooling.max_pool2d_take(u, index, kernel_size=kernel_size, stride=stride, padding=padding),
        None,
    ),
)


def _times(x: Any, u: Any) -> Any:
    """Return the inner products of matrices."""
    return _along(x, u, (u.ndim - 2, u.ndim - 1))


defjvp(linalg.inv_matrices, x=lambda u, out: -matmul_matrices(matmul_matrices(out, u), out))
defjvp(
    linalg.solve_matrices,
    a=lambda u, a, out: -linalg.solve_matrices(a, matmul_matrices(u, out)),
    b=lambda u, a: linalg.solve_matrices(a, u),
)
defjvp(linalg.det_matrices, x=lambda u, x: _times(linalg.cofactor_matrices(x), u))
defjvp(
    linalg.slogdet_matrices,
    x=lambda u, x: (None, _times(swapaxes(linalg.inv_matrices(x), -1, -2), u)),
)
