"""The valid uses of `Residual`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import (
    BadInput,
    Case,
    Inner,
    Input,
    Law,
    LayerCases,
    kink_distance_of,
    reference_of,
    strategies,
)


@st.composite
def draw_vectors(draw: Any) -> Case:
    """Draw an identity shortcut over layers of vectors."""
    features, hidden = draw(strategies.features(1, 4)), draw(strategies.features(1, 4))
    inner = Inner("sequential", args=(Inner("dense", args=(features, hidden)), Inner("dense", args=(hidden, features))))
    options = {"activation": draw(st.sampled_from(("relu", None)))}
    return Case(args=(inner,), options=options, inputs=(Input((draw(strategies.batch_sizes()), features)),))


@st.composite
def draw_images(draw: Any) -> Case:
    """Draw a shortcut that changes the shape of images along with the inner layer.

    Batch normalization removes a filter's scale. A filter with a single weight, or a map with two pixels, then has a
    gradient that is 0 up to rounding. Cases therefore have at least two channels and a few pixels.
    """
    before, more = 2, draw(st.integers(0, 2))
    stride, shortcut = draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from(("padded", "padded_around", "projected")))
    options = {
        "shortcut": shortcut,
        "channels": (before, before + more),
        "stride": stride,
        "activation": draw(st.sampled_from(("relu", None))),
    }
    kernel_size = {"kernel_size": 3, "stride": stride, "padding": 1, "bias": draw(st.booleans())}
    inner = Inner("conv2d", args=options["channels"], options=kernel_size)
    if draw(st.booleans()):
        inner = Inner("sequential", args=(inner, Inner("batch_norm", args=(before + more,))))
    shape = (2, *draw(strategies.image_sizes(stride + 1, stride + 2)), before)
    return Case(args=(inner,), options=options, inputs=(Input(shape),))


def shortcut(layer: Any, x: Any) -> Any:
    """Return the output of the shortcut."""
    if layer.shortcut == "projected":
        return reference_of(layer.norm, reference_of(layer.projection, x))
    if layer.shortcut == "identity":
        return x
    stride, out = layer.stride, np.zeros(layer.output_shape(x.shape))
    first = (out.shape[3] - x.shape[3]) // 2 if layer.shortcut == "padded_around" else 0
    for n, h, w, c in np.ndindex(*out.shape[:3], x.shape[3]):
        out[n, h, w, first + c] = x[n, stride * h, stride * w, c]
    return out


def added(layer: Any, x: Any) -> Any:
    """Return the sum before the activation."""
    return reference_of(layer.inner, x) + shortcut(layer, x)


def reference(layer: Any, x: Any) -> Any:
    """Return phi(F(x) + S(x))."""
    return np.maximum(added(layer, x), 0.0) if layer.activation else added(layer, x)


def kink_distance(layer: Any, x: Any) -> float:
    """Return the smallest distance of the inner layer or the sum to a kink."""
    near = kink_distance_of(layer.inner, x)
    return min(near, float(np.abs(added(layer, x)).min(initial=np.inf))) if layer.activation else near


def shortcut_at_zero_weights(layer: Any, x: Any) -> float:
    """Return the distance of the block's result from phi(S(x)), its value if the parameters of F are 0."""
    for parameter in layer.inner.parameters().values():
        parameter.assign(np.zeros(parameter.shape))
    expected = shortcut(layer, x)
    expected = np.maximum(expected, 0.0) if layer.activation else expected
    return float(np.abs(layer(x).numpy() - expected).max(initial=0.0))


def bad_option(match: str, **options: Any) -> BadInput:
    """Return a block with a valid inner layer and a wrong option."""
    return BadInput(args=(Inner("tanh"),), options=options, error=tgl.errors.OptionError, match=match)


cases = LayerCases(
    st.one_of(draw_vectors(), draw_images()),
    reference=reference,
    kink_distance=kink_distance,
    margin=0.002,
    examples=(  # channels of zeros are added on both sides, a case that is rarely drawn
        Case(
            args=(Inner("conv2d", args=(1, 4), options={"kernel_size": 1}),),
            options={"shortcut": "padded_around", "channels": (1, 4), "activation": None},
            inputs=(Input((2, 2, 2, 1)),),
        ),
    ),
    laws=(Law("shortcut_at_zero_weights", shortcut_at_zero_weights, formula="F = 0: y = phi(S(x))"),),
    bad_inputs=(
        BadInput(
            args=(Inner("dense", args=(3, 2)),),
            inputs=((4, 3),),
            error=tgl.errors.ShapeError,
            match=r"shortcut to return the same shape, got \(4, 2\) and \(4, 3\)",
        ),
        BadInput(
            args=(Inner("tanh"),),
            options={"shortcut": "padded", "channels": (2, 3)},
            inputs=((1, 2, 2, 3),),
            error=tgl.errors.ShapeError,
            match=r"expected images \(N, H, W, 2\)",
        ),
        bad_option("shortcut to be one of", shortcut="gated"),
        bad_option("'relu' or None", activation="tanh"),
        bad_option("neither channels nor a stride", stride=2),
        bad_option("neither channels nor a stride", channels=(2, 2)),
        bad_option(r"expected channels=\(before, after\)", shortcut="projected"),
        bad_option("stride >= 1", shortcut="projected", channels=(1, 2), stride=0),
        bad_option("at least as many channels after", shortcut="padded", channels=(3, 2)),
    ),
)
