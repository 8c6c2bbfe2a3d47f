"""Windows of images: unfold (im2col) and its adjoint, fold (col2im).

Images are (N, H, W, C). A window of kh x kw positions, `dilation` apart, stands at every `stride`-th place of the
padded image; there are

    Ho = (H + top + bottom - (kh - 1) * dilation_h - 1) // stride_h + 1

places from top to bottom, and Wo likewise from left to right.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.errors import ShapeError

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def places(size: Pair, window: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1), who: str = "window") -> Pair:
    """Return (Ho, Wo), how many windows stand in an image of that size.

    Raises
    ------
    ShapeError
        Not one window fits into the padded image.
    """
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    padded = [n + sum(p) for n, p in zip(size, padding, strict=True)]
    if any(span > n for span, n in zip(spans, padded, strict=True)):
        raise ShapeError(
            f"{who}: expected a map of at least {spans[0]}x{spans[1]} for the window, got {padded[0]}x{padded[1]} "
            f"(padding included); use padding or a smaller window"
        )
    out = [(n - span) // s + 1 for n, span, s in zip(padded, spans, stride, strict=True)]
    return out[0], out[1]


def _slices(window: Pair, out: Pair, stride: Pair, dilation: Pair) -> Any:
    """For each position (i, j) in the window: the slices of a padded image that it visits."""
    for i in range(window[0]):
        for j in range(window[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + (out[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (out[1] - 1) * stride[1] + 1, stride[1])
            yield i, j, (slice(None), rows, columns)


@primitive
def unfold(
    xp: Any, x: Any, *, window: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1), fill: float = 0.0
) -> Any:
    """Return the windows of images: (N, H, W, C) -> (N, Ho, Wo, kh, kw, C). The padding holds `fill`."""
    out = places(x.shape[1:3], window, stride, padding, dilation, "unfold")
    padded = xp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    columns = xp.empty((x.shape[0], *out, *window, x.shape[3]), dtype=x.dtype)
    for i, j, place in _slices(window, out, stride, dilation):
        columns[:, :, :, i, j] = padded[place]
    return columns


@primitive
def fold(
    xp: Any, columns: Any, *, size: Pair, window: Pair, stride: Pair, padding: Padding, dilation: Pair = (1, 1)
) -> Any:
    """Add windows into the images that they came from: (N, Ho, Wo, kh, kw, C) -> (N, H, W, C)."""
    (top, bottom), (left, right) = padding
    shape = (columns.shape[0], size[0] + top + bottom, size[1] + left + right, columns.shape[5])
    padded = xp.zeros(shape, dtype=columns.dtype)
    for i, j, place in _slices(window, columns.shape[1:3], stride, dilation):
        padded[place] += columns[:, :, :, i, j]
    return padded[:, top : top + size[0], left : left + size[1]]


unfold.defvjp(
    x=lambda g, x_like, window, stride, padding, dilation: fold(
        g, size=x_like.shape[1:3], window=window, stride=stride, padding=padding, dilation=dilation
    )
)
fold.defvjp(
    columns=lambda g, window, stride, padding, dilation: unfold(
        g, window=window, stride=stride, padding=padding, dilation=dilation
    )
)
