"""Planted bugs of pooling layers and layers that copy, pad and join."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant, planted
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.ops.arithmetic import add
from tinygrad_lab.ops.pooling import max_pool2d, max_pool2d_grad, sum_pool2d, sum_pool2d_grad
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.ops.shaping import broadcast_to, crop, pad_edge, pad_zeros
from tinygrad_lab.ops.windows import unfold
from tinygrad_lab_layers import AvgPool2d, MaxPool2d


@planted("padding_with_zeros", "max_pool2d", "the padding holds 0, which exceeds negative pixels", by="reference")
class PaddingWithZeros(MaxPool2d):
    def forward(self, x: Any) -> Any:
        self.output_shape(x.shape)
        padded = tgl.pad(x, ((0, 0), *self.window.padding_for(x.shape[1:3]), (0, 0)))
        kernel_size, stride = self.window.size, self.window.stride
        return tgl.max_pool2d(padded, kernel_size=kernel_size, stride=stride, padding=((0, 0), (0, 0)))[0]


def _every_winner(g: Any, x: Any, out: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    columns = unfold(x, kernel_size=kernel_size, stride=stride, padding=padding, fill=-math.inf)
    largest = tgl.reshape(out, shape=(*out.shape[:3], 1, 1, out.shape[3]))
    won = tgl.where(columns == largest, 1.0, 0.0)
    share = won * tgl.reshape(g[0], shape=largest.shape)
    return tgl.fold(share, size=x.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding)


plant(
    "every_winner",
    "max_pool2d",
    "all of several equal maxima get the whole cotangent",
    by="ties",
    rules={max_pool2d: {"x": _every_winner}},
)


@tgl.primitive
def overwrite_maxima(xp: Any, g: Any, index: Any, *, size: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    """Assign cotangents to the maxima; a pixel that is the maximum of two windows keeps only the last one."""
    out = xp.zeros((g.shape[0], *size, g.shape[3]), dtype=g.dtype)
    for n, p, q, c in np.ndindex(g.shape):
        row, column = divmod(int(index[n, p, q, c]), kernel_size[1])
        row, column = p * stride[0] + row - padding[0][0], q * stride[1] + column - padding[1][0]
        out[n, row, column, c] = g[n, p, q, c]
    return out


plant(
    "overlap_overwritten",
    "max_pool2d",
    "a pixel that is the maximum of two windows gets the cotangent of one",
    rules={
        max_pool2d: {
            "x": lambda g, x_like, index, kernel_size, stride, padding: overwrite_maxima(
                g[0], index, size=x_like.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding
            )
        }
    },
)
plant(
    "pool_padding_other_side",
    "max_pool2d",
    "in the backward pass, the odd row of padding is on top and the odd column on the left",
    rules={
        max_pool2d: {
            "x": lambda g, x_like, index, kernel_size, stride, padding: max_pool2d_grad(
                g[0],
                index,
                size=x_like.shape[1:3],
                kernel_size=kernel_size,
                stride=stride,
                padding=tuple(sides[::-1] for sides in padding),
            )
        }
    },
)


@planted("nan_never_wins", "max_pool2d", "NaN compares as smaller than every pixel", by="non_finite")
class NaNNeverWins(MaxPool2d):
    def forward(self, x: Any) -> Any:
        return super().forward(tgl.where(np.isnan(unbox(x)), -math.inf, x))


@planted("output_rounded_up", "max_pool2d", "output_shape rounds up where the forward rounds down", by="output_shape")
class OutputRoundedUp(MaxPool2d):
    def output_shape(self, shape: Any) -> Any:
        n, _, _, c = super().output_shape(shape)
        lengths = zip(
            shape[1:3], self.window.padding_for(shape[1:3]), self.window.span, self.window.stride, strict=True
        )
        return (n, *(-(-(length + sum(pad) - span) // stride) + 1 for length, pad, span, stride in lengths), c)


@planted(
    "padding_always_counted", "avg_pool2d", "count_include_pad=False is ignored: the padding is counted", by="reference"
)
class PaddingAlwaysCounted(AvgPool2d):
    def forward(self, x: Any) -> Any:
        kept, self.count_include_pad = self.count_include_pad, True
        try:
            return super().forward(x)
        finally:
            self.count_include_pad = kept


def _gaps_filled(g: Any, x_like: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    if all(s <= k for s, k in zip(stride, kernel_size, strict=True)):
        return sum_pool2d_grad(g, size=x_like.shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding)
    close = tuple(map(min, stride, kernel_size))
    return sum_pool2d_grad(g, size=x_like.shape[1:3], kernel_size=kernel_size, stride=close, padding=padding)


plant(
    "stride_beyond_window",
    "avg_pool2d",
    "if the stride is larger than the window, the backward pass uses the window's length as the stride",
    rules={sum_pool2d: {"x": _gaps_filled}},
)
plant(
    "mean_over_batch_too",
    "global_avg_pool2d",
    "backward divides by the number of images too",
    rules={
        sum_axes: {
            "x": lambda g, x_like: (
                broadcast_to(tgl.reshape(g, shape=(x_like.shape[0], 1, 1, x_like.shape[3])), shape=x_like.shape)
                * (1.0 / max(1, x_like.shape[0]))
            )
        }
    },
)
plant(
    "copies_averaged",
    "upsample2d",
    "a pixel gets the mean of its copies' cotangents, not their sum",
    rules={
        broadcast_to: {
            "x": lambda g, x_like: tgl.sum_to(g, x_like) * (math.prod(x_like.shape) / max(1, math.prod(g.shape)))
        }
    },
)
plant(
    "edge_share_lost",
    "pad2d",
    "pixels of the border get no gradient from their repetitions outside",
    rules={pad_edge: {"x": lambda g, widths: crop(g, widths=widths)}},
)
plant(
    "crop_other_side",
    "pad2d",
    "in the backward pass, the left side is cropped by the right side's padding",
    rules={pad_zeros: {"x": lambda g, widths: crop(g, widths=tuple(w[::-1] for w in widths))}},
)
plant(
    "shortcut_without_gradient",
    "residual",
    "the gradient goes through the inner layer and not through the shortcut",
    rules={add: {"y": None}},
)
