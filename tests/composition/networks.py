"""Hypothesis strategies of networks: registered layers, nested and in any order that the shapes allow."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import tinygrad_lab as tgl

Shape = tuple[int, ...]
Draw = Any

ACTIVATIONS = ("elu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh")
ANYWHERE = (*ACTIVATIONS, "batch_norm", "layer_norm", "parallel_concat", "prelu", "residual", "sequential", "softmax")
IMAGES = (*ANYWHERE, "avg_pool2d", "conv2d", "flatten", "global_avg_pool2d", "max_pool2d", "pad2d")
VECTORS = (*ANYWHERE, "dense")


def draw_conv2d(draw: Draw, shape: Shape, channels: int | None = None, *, stays: bool = False) -> tgl.Layer:
    """A convolution; optionally one that keeps height and width."""
    channels = channels or draw(st.integers(1, 3))
    divisors = [g for g in (1, 2, 3) if shape[3] % g == 0 and channels % g == 0]
    return tgl.layers["conv2d"](
        shape[3],
        channels,
        kernel_size=draw(st.integers(1, 3)) if stays or min(shape[1:3]) >= 3 else 1,
        stride=1 if stays else draw(st.integers(1, 2)),
        padding="same" if stays else draw(st.sampled_from(("same", "valid"))),
        groups=draw(st.sampled_from(divisors)),
        bias=draw(st.booleans()),
    )


def draw_pool(draw: Draw, kind: str, shape: Shape) -> tgl.Layer:
    """A pooling layer, with windows that overlap or not."""
    kernel_size = draw(st.integers(1, min(2, *shape[1:3])))
    return tgl.layers[kind](kernel_size, stride=draw(st.integers(1, 2)))


def draw_linear(draw: Draw, shape: Shape, features: int | None = None) -> tgl.Layer:
    """A dense layer for vectors, or a convolution that keeps height and width for images."""
    if len(shape) == 4:
        return draw_conv2d(draw, shape, features, stays=True)
    activation = draw(st.sampled_from((None, "relu")))
    return tgl.layers["dense"](shape[-1], features or draw(st.integers(1, 3)), activation=activation)


def draw_residual(draw: Draw, shape: Shape) -> tgl.Layer:
    """A residual block of two linear layers; for images, it may change the number of channels."""
    first = draw_linear(draw, shape)
    shortcut = draw(st.sampled_from(("identity", "padded", "projected"))) if len(shape) == 4 else "identity"
    after = shape[-1] + (draw(st.integers(0, 1)) if shortcut != "identity" else 0)
    second = draw_linear(draw, first.output_shape(shape), after)
    inner = tgl.Sequential(first, draw_layer(draw, ACTIVATIONS, shape), second)
    options = {} if shortcut == "identity" else {"channels": (shape[-1], after)}
    activation = draw(st.sampled_from(("relu", None)))
    return tgl.layers["residual"](inner, shortcut=shortcut, activation=activation, **options)


def draw_sequential(draw: Draw, shape: Shape) -> tgl.Layer:
    """A sequence of layers, sometimes with one of them twice, so that its gradients add up."""
    if draw(st.booleans()):
        shared = draw_linear(draw, shape, shape[-1])
        return tgl.Sequential(shared, draw_layer(draw, ACTIVATIONS, shape), shared)
    return tgl.Sequential(draw_linear(draw, shape), draw_layer(draw, ACTIVATIONS, shape))


def draw_layer(draw: Draw, kinds: tuple[str, ...], shape: Shape) -> tgl.Layer:
    """Return a layer of one of the kinds that takes an input of a shape."""
    kind = draw(st.sampled_from(kinds))
    if kind in ("dense", "conv2d"):
        return draw_conv2d(draw, shape) if kind == "conv2d" else draw_linear(draw, shape)
    if kind in ("avg_pool2d", "max_pool2d"):
        return draw_pool(draw, kind, shape)
    if kind in ("batch_norm", "layer_norm", "prelu"):
        return tgl.layers[kind](shape[-1])
    if kind == "pad2d":
        return tgl.layers[kind](draw(st.integers(0, 1)), mode=draw(st.sampled_from(("zero", "edge"))))
    if kind == "residual":
        return draw_residual(draw, shape)
    if kind == "parallel_concat":
        return tgl.layers[kind]([draw_linear(draw, shape), draw_layer(draw, ACTIVATIONS, shape)])
    return draw_sequential(draw, shape) if kind == "sequential" else tgl.layers[kind]()


@st.composite
def networks(draw: Draw, first: str | None = None) -> tuple[tgl.Layer, Shape]:
    """Draw a network and the shape of its input; `first` is the kind of its first layer, if it is given."""
    if first in IMAGES or (first is None and draw(st.booleans())):
        shape: Shape = (2, draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 2)))
    else:
        shape = (draw(st.integers(2, 3)), draw(st.integers(1, 3)))
    layers: list[tgl.Layer] = []
    at = shape
    for k in range(draw(st.integers(1, 5))):
        kinds = (first,) if first and not k else IMAGES if len(at) == 4 else VECTORS
        layers.append(draw_layer(draw, kinds, at))
        at = layers[-1].output_shape(at)
    return tgl.Sequential(*layers), shape
