"""Max and sum pooling over windows of images, with their adjoints.

Images are (N, H, W, C). Windows, strides and padding are those of tinygrad_lab.ops.windows. An element of the padding
is never the maximum.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.backend import Shape
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.widths import Floating
from tinygrad_lab.ops.windows import Padding, Pair, expect_images, expect_maps, expect_pair, fold, map_shape, unfold


def _least(xp: Any, dtype: Any) -> Any:
    """Return the smallest value of a dtype; minus infinity for floats."""
    return xp.iinfo(dtype).min if dtype.kind in "iu" else False if dtype.kind == "b" else -math.inf


def first_inside(xp: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the index in each window of its first element outside of the padding: (1, Ho, Wo, 1), uint8."""
    inside = unfold(xp.ones((1, *x.shape[1:3], 1), bool), kernel_size=kernel_size, stride=stride, padding=padding)
    return inside.reshape(*inside.shape[:3], -1, 1).argmax(axis=3).astype(xp.uint8)


@primitive(outputs=("out", "index"))
def max_pool2d(xp: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the maximum of each window and its row-major index in the window, stored in one byte.

    The first of equal maxima wins, and NaN wins over every number. A window has at most 256 elements.
    """
    least = _least(xp, x.dtype)
    columns = unfold(x, kernel_size=kernel_size, stride=stride, padding=padding, fill=least)
    n, ho, wo, kh, kw, c = columns.shape
    columns = columns.reshape(n, ho, wo, kh * kw, c)
    out, index = columns.max(axis=3), columns.argmax(axis=3).astype(xp.uint8)
    return out, xp.where(
        out == least, first_inside(xp, x, kernel_size=kernel_size, stride=stride, padding=padding), index
    )


@primitive
def max_pool2d_values(xp: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the maximum of each window without its index, which inference does not need; this is faster."""
    return unfold(x, kernel_size=kernel_size, stride=stride, padding=padding, fill=_least(xp, x.dtype)).max(axis=(3, 4))


def largest_in_windows(x: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the maximum of each window; its index is computed only where operations are recorded."""
    if not SETTINGS.get().recording:
        return max_pool2d_values(x, kernel_size=kernel_size, stride=stride, padding=padding)
    return max_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding)[0]


@primitive
def max_pool2d_grad(
    xp: Any, g: Any, index: Any, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding
) -> Any:
    """Add each window's cotangent to an image of zeros at the window's maximum (the adjoint of `max_pool2d_take`)."""
    place = xp.arange(kernel_size[0] * kernel_size[1], dtype=xp.uint8).reshape(-1, 1)  # (kh*kw, 1)
    columns = xp.where(index[:, :, :, None, :] == place, g[:, :, :, None, :], xp.zeros((), g.dtype))
    columns = columns.reshape(*g.shape[:3], *kernel_size, g.shape[3])
    return fold(columns, size=size, kernel_size=kernel_size, stride=stride, padding=padding)


@primitive
def max_pool2d_take(xp: Any, x: Any, index: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the element at `index` of each window, 0 outside of the image (the adjoint of `max_pool2d_grad`)."""
    columns = unfold(x, kernel_size=kernel_size, stride=stride, padding=padding)
    n, ho, wo, kh, kw, c = columns.shape
    place = xp.arange(kh * kw, dtype=xp.uint8).reshape(-1, 1)  # (kh*kw, 1)
    columns = columns.reshape(n, ho, wo, kh * kw, c)
    return xp.where(index[:, :, :, None, :] == place, columns, xp.zeros((), x.dtype)).sum(axis=3, dtype=x.dtype)


@max_pool2d.check
@max_pool2d_values.check
def _check_max(op: Any, x: Shape, *, kernel_size: Pair, **how: Any) -> Shape:
    shape = map_shape(op, x, kernel_size=kernel_size, **how)
    if op is not max_pool2d_values and math.prod(kernel_size) > 256:
        raise OptionError(f"{op}: expected a window of at most 256 elements, got {kernel_size[0]}x{kernel_size[1]}")
    return shape


@max_pool2d_take.check
def _check_take(op: Any, x: Shape, index: Shape, **how: Any) -> None:
    _expect_index(op, index, _check_max(op, x, **how))


@max_pool2d_grad.check
def _check_grad(op: Any, g: Shape, index: Shape, *, size: Pair, **how: Any) -> None:
    images = _images(op, g, size)
    expect_maps(op, g, _check_max(op, images, **how), images)
    _expect_index(op, index, g)


def _images(op: Any, g: Shape, size: Pair) -> Shape:
    """Return the shape of the images that maps g were pooled from."""
    expect_images(g, f"{op}")
    expect_pair(op, "size", size)
    return g[0], *size, g[3]


def _expect_index(op: Any, index: Shape, expected: Shape) -> None:
    if index != expected:
        raise ShapeError(f"{op}: expected an index of shape {expected}, that of the maps, got {index}")


max_pool2d.defvjp(
    x=lambda g, x_like, index, kernel_size, stride, padding: max_pool2d_grad(
        g[0], index, size=x_like.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding
    )
)
max_pool2d_values.defvjp(
    x=lambda g, x, kernel_size, stride, padding: max_pool2d_grad(
        g,
        max_pool2d(x, kernel_size=kernel_size, stride=stride, padding=padding)[1],
        size=x.shape[1:3],
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
    )
)
max_pool2d_grad.defvjp(
    g=lambda v, index, kernel_size, stride, padding: max_pool2d_take(
        v, index, kernel_size=kernel_size, stride=stride, padding=padding
    )
)
max_pool2d_take.defvjp(
    x=lambda g, x_like, index, kernel_size, stride, padding: max_pool2d_grad(
        g, index, size=x_like.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding
    )
)


@Floating
def sum_pool2d(xp: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return the sum of each window, with zeros in the padding (the adjoint of `sum_pool2d_grad`)."""
    return unfold(x, kernel_size=kernel_size, stride=stride, padding=padding).sum(axis=(3, 4))


@primitive
def sum_pool2d_grad(xp: Any, g: Any, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return images with each cotangent added to every pixel of its window (the adjoint of `sum_pool2d`)."""
    columns = xp.broadcast_to(g[:, :, :, None, None, :], (*g.shape[:3], *kernel_size, g.shape[3]))
    return fold(columns, size=size, kernel_size=kernel_size, stride=stride, padding=padding)


@sum_pool2d.check
def _check_sum(op: Any, x: Shape, *, kernel_size: Pair, stride: Pair, padding: Padding) -> None:
    map_shape(op, x, kernel_size=kernel_size, stride=stride, padding=padding)


@sum_pool2d_grad.check
def _check_sum_grad(op: Any, g: Shape, *, size: Pair, kernel_size: Pair, stride: Pair, padding: Padding) -> None:
    images = _images(op, g, size)
    expect_maps(op, g, map_shape(op, images, kernel_size=kernel_size, stride=stride, padding=padding), images)


sum_pool2d.defvjp(
    x=lambda g, x_like, kernel_size, stride, padding: sum_pool2d_grad(
        g, size=x_like.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding
    )
)
sum_pool2d_grad.defvjp(
    g=lambda v, kernel_size, stride, padding: sum_pool2d(v, kernel_size=kernel_size, stride=stride, padding=padding)
)


@primitive
def count_pool2d(xp: Any, x: Any, *, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """Return how many elements of each window lie inside the image, not in its padding: (1, Ho, Wo, 1)."""
    inside = xp.ones((1, *x.shape[1:3], 1), dtype=x.dtype)
    return sum_pool2d.forward(xp, inside, kernel_size=kernel_size, stride=stride, padding=padding)


count_pool2d.defvjp(x=None)
