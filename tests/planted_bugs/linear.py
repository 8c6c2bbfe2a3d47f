"""Planted bugs of dense layers, convolutions and embeddings."""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.ops.arithmetic import add
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.indexing import gather, scatter
from tinygrad_lab.ops.linear import matmul_matrices


def product_rule(left: Any = None, right: Any = None) -> Any:
    """Return the rules of a matrix product with some of them damaged."""
    rules: dict[str, Any] = {}
    if left:
        rules["x"] = lambda g, x_like, y: left(tgl.sum_to(matmul_matrices(g, tgl.swapaxes(y, -1, -2)), x_like))
    if right:
        rules["y"] = lambda g, x, y_like: right(tgl.sum_to(matmul_matrices(tgl.swapaxes(x, -1, -2), g), y_like))
    return {matmul_matrices: rules}


plant(
    "bias_not_summed",
    "dense",
    "the bias's gradient is not summed over the rows",
    by="shapes_and_dtypes",
    rules={add: {"y": lambda g: g}},
)
plant(
    "bias_mean_for_sum",
    "dense",
    "the bias's gradient is the mean over the rows, not the sum",
    rules={add: {"y": lambda g, y_like: tgl.mean(g, tuple(range(g.ndim - len(y_like.shape))))}},
)
plant(
    "weight_from_last_stack",
    "dense",
    "the weight's gradient takes the last of several matrices instead of their sum",
    rules={
        matmul_matrices: {
            "y": lambda g, x, y_like: matmul_matrices(
                tgl.swapaxes(x[(-1,) * (x.ndim - 2)], -1, -2), g[(-1,) * (g.ndim - 2)]
            )
        }
    },
)
plant(
    "input_gradient_reshaped",
    "dense",
    "the input's gradient uses W reshaped instead of W transposed; the weight's gradient is right",
    rules={
        matmul_matrices: {
            "x": lambda g, y: matmul_matrices(g, tgl.reshape(y, shape=(*y.shape[:-2], y.shape[-1], y.shape[-2])))
        }
    },
)


def _one_percent(w: Any) -> Any:
    ones = unbox(w) * 0 + 1
    ones[..., -1, -1] += 0.01
    return w * ones


plant(
    "one_weight_one_percent",
    "dense",
    "the gradient of the last weight is 1 % too large",
    rules=product_rule(right=_one_percent),
)


def _through_half(g: Any) -> Any:
    return tgl.astype(tgl.astype(g, dtype="float16"), dtype=g.dtype) if g.dtype == "float32" else g


plant(
    "right_in_float64_only",
    "dense",
    "the input's gradient is rounded to half precision, in float32 alone",
    by="float32",
    rules=product_rule(left=_through_half),
)


@tgl.primitive
def as_it_lies(xp: Any, x: Any) -> Any:
    """Return the elements in their order in memory, as a kernel with a pointer reads them."""
    return xp.reshape(x.ravel(order="K"), x.shape)


as_it_lies.defvjp(x=lambda g: g)

plant(
    "contiguous_cotangent_only",
    "dense",
    "the rule reads the cotangent in the order of its memory, ignoring its strides",
    by="layouts",
    rules={matmul_matrices: {"x": lambda g, y: matmul_matrices(as_it_lies(g), tgl.swapaxes(y, -1, -2))}},
)
plant(
    "contiguous_input_only",
    "dense",
    "the forward reads the input in the order of its memory, ignoring its strides",
    by="layouts",
    forwards={matmul_matrices: lambda xp, x, y: xp.matmul(as_it_lies.forward(xp, x), y)},
)
plant(
    "single_row_transposed",
    "dense",
    "for a batch of one, the weight's gradient is the outer product with exchanged factors",
    rules={
        matmul_matrices: {
            "y": lambda g, x, y_like: (
                tgl.reshape(matmul_matrices(tgl.swapaxes(g, -1, -2), x), shape=y_like.shape)
                if g.ndim == 2 and g.shape[0] == 1
                else tgl.sum_to(matmul_matrices(tgl.swapaxes(x, -1, -2), g), y_like)
            )
        }
    },
)


def _grad_x(change: Any = None, filters: Any = None, maps: Any = None) -> Any:
    """Return the rule of a convolution's input with its options, filters or result changed."""

    def rule(g: Any, x_like: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        options.update(change(options) if change else {})
        x = conv2d_grad_x(g, filters(w) if filters else w, size=x_like.shape[1:3], **options)
        return maps(x, groups) if maps else x

    def fused(
        g: Any,
        x: Any,
        w: Any,
        b_like: Any,
        out: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        wanted: Any,
    ) -> Any:
        masked = tgl.where(out > 0, g, 0.0)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return (
            rule(masked, x, w, **options) if wanted[0] else None,
            conv2d_grad_w(x, masked, kernel_size=w.shape[:2], **options) if wanted[1] else None,
            tgl.sum(masked, (0, 1, 2)) if wanted[2] else None,
        )

    return {conv2d: {"x": rule}, conv2d_relu: {"x, w, b": fused}}


def _grad_w(change: Any) -> Any:
    """Return the rule of a convolution's filters with its result changed."""

    def rule(g: Any, x: Any, w_like: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
        kernel_size = w_like.shape[:2]
        w = conv2d_grad_w(
            x, g, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
        return change(w, x, groups)

    return {conv2d: {"w": rule}}


def _other_side(options: Any) -> Any:
    return {"padding": tuple(sides[::-1] for sides in options["padding"])}


plant(
    "stride_ignored_backward",
    "conv2d",
    "the input's gradient is computed as if the stride were 1",
    rules=_grad_x(lambda options: {"stride": (1, 1)}),
)
plant(
    "dilation_ignored_backward",
    "conv2d",
    "the input's gradient is computed as if the filter were not dilated",
    rules=_grad_x(lambda options: {"dilation": (1, 1)}),
)
plant(
    "odd_padding_other_side",
    "conv2d",
    "in the backward pass, the odd row of padding is on top and the odd column on the left",
    rules=_grad_x(_other_side),
)
plant(
    "dilation_axes_exchanged",
    "conv2d",
    "in the backward pass, vertical and horizontal dilation are exchanged",
    rules=_grad_x(lambda options: {"dilation": options["dilation"][::-1]}),
)
plant(
    "filter_flipped",
    "conv2d",
    "the input's gradient uses the flipped filter, as if the forward flipped it",
    rules=_grad_x(filters=lambda w: tgl.flip(w, (0, 1))),
)
plant(
    "groups_mixed_in_input",
    "conv2d",
    "with several groups, the input's gradient has its groups in the wrong places",
    rules=_grad_x(maps=lambda x, groups: tgl.roll(x, x.shape[-1] // groups, -1) if groups > 1 else x),
)
plant(
    "groups_mixed_in_filters",
    "conv2d",
    "with several groups, the gradients of the filters are those of the next group",
    rules=_grad_w(lambda w, x, groups: tgl.roll(w, w.shape[-1] // groups, -1) if groups > 1 else w),
)
plant(
    "filters_mean_over_batch",
    "conv2d",
    "the filters' gradient is divided by the number of images",
    rules=_grad_w(lambda w, x, groups: w * (1.0 / max(1, x.shape[0]))),
)
plant(
    "filters_transposed",
    "conv2d",
    "square filters get their gradient with rows and columns exchanged",
    rules=_grad_w(lambda w, x, groups: tgl.swapaxes(w, 0, 1) if w.shape[0] == w.shape[1] else w),
)
plant(
    "bias_from_one_row",
    "conv2d",
    "the bias's gradient is summed over images and columns, but not over rows",
    rules={conv2d: {"b": lambda g: tgl.sum(g[:, 0], (0, 1))}},
)


def _bias_before_mask(
    g: Any, x: Any, w: Any, out: Any, stride: Any, padding: Any, dilation: Any, groups: int, wanted: Any
) -> Any:
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    masked = tgl.where(out > 0, g, 0.0)
    return (
        conv2d_grad_x(masked, w, size=x.shape[1:3], **options) if wanted[0] else None,
        conv2d_grad_w(x, masked, kernel_size=w.shape[:2], **options) if wanted[1] else None,
        tgl.sum(g, (0, 1, 2)) if wanted[2] else None,
    )


plant(
    "fused_bias_not_masked",
    "conv2d",
    "in the convolution fused with ReLU, the bias gets the cotangent before the mask",
    rules={conv2d_relu: {"x, w, b": _bias_before_mask}},
)
plant(
    "transposed_filter_flipped",
    "conv2d_transpose",
    "the input's gradient uses the flipped filter",
    rules={
        conv2d_grad_x: {
            "g": lambda v, w, stride, padding, dilation, groups: conv2d(
                v, tgl.flip(w, (0, 1)), None, stride=stride, padding=padding, dilation=dilation, groups=groups
            )
        }
    },
)
plant(
    "multiplier_order",
    "depthwise_conv2d",
    "the filters' gradients of a channel are numbered in reverse order",
    rules={
        conv2d: {
            "w": lambda g, x, w_like, stride, padding, dilation, groups: tgl.flip(
                conv2d_grad_w(
                    x, g, kernel_size=w_like.shape[:2], stride=stride, padding=padding, dilation=dilation, groups=groups
                ),
                -1,
            )
        }
    },
)


@tgl.primitive
def scatter_last(xp: Any, g: Any, *, index: Any, shape: Any) -> Any:
    """Keep only the last of several cotangents of one element."""
    out = xp.zeros(shape, dtype=g.dtype)
    out[index] = g
    return out


scatter_last.defvjp(g=lambda v, index: gather(v, index=index))

plant(
    "repeated_words_counted_once",
    "embedding",
    "a word that occurs twice gets the gradient of one place",
    rules={gather: {"x": lambda g, x_like, index: scatter_last(g, index=index, shape=x_like.shape)}},
)


def _first_word_left_out(g: Any, x_like: Any, index: Any) -> Any:
    rows = scatter(g, index=index, shape=x_like.shape)
    keep = unbox(rows) * 0 + 1
    keep[:1] = 0
    return rows * keep


plant(
    "first_word_has_no_gradient",
    "embedding",
    "word 0 is treated as padding and gets no gradient",
    rules={gather: {"x": _first_word_left_out}},
)
