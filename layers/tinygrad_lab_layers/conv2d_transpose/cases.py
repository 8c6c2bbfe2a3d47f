"""The valid uses of `Conv2dTranspose`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, strategies
from tinygrad_lab_layers.window_reference import axis_padding, both


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw every option, and a map large enough that the padding leaves something of the result."""
    groups = draw(st.integers(1, 3))
    channels = tuple(groups * draw(st.integers(1, 2)) for _ in ("in", "out"))
    kernel_size, stride, padding = draw(strategies.windows()), draw(strategies.strides()), draw(strategies.paddings())
    most = (0, 0) if padding == "same" else [s - 1 for s in strategies.as_pair(stride)]
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "output_padding": tuple(draw(st.integers(0, m)) for m in most),
        "dilation": draw(strategies.dilations()),
        "groups": groups,
        "bias": draw(st.booleans()),
        "init": draw(st.sampled_from(("he_normal", "glorot_normal", 0.5))),
    }
    least = 1 if isinstance(padding, str) else 5
    size = [draw(st.integers(least, least + 2)) for _ in ("height", "width")]
    return Case(args=channels, options=options, inputs=(Input((draw(st.integers(1, 2)), *size, channels[0])),))


def _length(config: dict[str, Any], axis: int, length: int) -> tuple[int, int]:
    """Return the start of the result along an axis of the uncropped map, and its length."""
    kernel_size, stride, dilation = (both(config[name])[axis] for name in ("kernel_size", "stride", "dilation"))
    span = (kernel_size - 1) * dilation + 1
    if config["padding"] == "same":
        return axis_padding("same", axis, length * stride, span, stride)[0], length * stride
    before, after = axis_padding(config["padding"], axis, length, span, stride)
    return before, (length - 1) * stride + span + both(config["output_padding"])[axis] - before - after


def reference(layer: Any, x: Any) -> Any:
    """Add each pixel's filter to a large map in turn, and crop the result."""
    config, weight = layer.config(), layer.state()["weight"]
    stride, dilation = both(config["stride"]), both(config["dilation"])
    kh, kw, depth, _ = weight.shape
    seen = x.shape[3] // config["groups"]
    (top, height), (left, width) = (_length(config, axis, x.shape[1 + axis]) for axis in (0, 1))
    canvas = np.zeros((x.shape[0], top + height + 40, left + width + 40, config["groups"] * depth))
    for p, q, i, j, c, o in np.ndindex(*x.shape[1:3], kh, kw, x.shape[3], depth):
        row, column = p * stride[0] + i * dilation[0], q * stride[1] + j * dilation[1]
        canvas[:, row, column, c // seen * depth + o] += x[:, p, q, c] * weight[i, j, o, c]
    return canvas[:, top : top + height, left : left + width] + layer.state().get("bias", 0.0)


cases = LayerCases(
    draw_case(),
    reference=reference,
    examples=(
        Case(args=(2, 1), options={"kernel_size": 3, "stride": 2, "padding": "same"}, inputs=(Input((1, 2, 3, 2)),)),
    ),
    complex_safe=True,
    laws=("affine", "batch_independent"),
    bad_inputs=(
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3},
            inputs=((1, 8, 8, 4),),
            error=tgl.errors.ShapeError,
            match="W, 3\\), got",
        ),
        BadInput(
            args=(1, 1),
            options={"kernel_size": 3},
            inputs=((1, 0, 8, 1),),
            error=tgl.errors.ShapeError,
            match="one pixel",
        ),
        BadInput(
            args=(1, 1),
            options={"kernel_size": 3, "padding": 2},
            inputs=((1, 2, 8, 1),),
            error=tgl.errors.ShapeError,
            match=r"Conv2dTranspose\(1 -> 1, kernel_size=3, padding=2\): expected padding that leaves a pixel",
        ),
        BadInput(
            args=(3, 2), options={"kernel_size": 3, "groups": 2}, error=tgl.errors.OptionError, match="groups that"
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "stride": 2, "output_padding": 2},
            error=tgl.errors.OptionError,
            match=r"output_padding of at most \(1, 1\), got 2",
        ),
        BadInput(
            args=(3, 2),
            options={"kernel_size": 3, "stride": 2, "output_padding": 1, "padding": "same"},
            error=tgl.errors.OptionError,
            match=r"output_padding of at most \(0, 0\), got 1",
        ),
    ),
)
