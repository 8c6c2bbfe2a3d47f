"""The valid uses of `BatchNorm`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, LayerCases, in_evaluation, strategies
from tinygrad_lab_layers.activation_reference import activated


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw rows or images, and every option."""
    channels = draw(strategies.channels())
    rows = draw(st.sampled_from(((4,), (2, 3), (1, 2, 2), (3, 1, 2))))
    options = {
        "momentum": draw(st.sampled_from((0.0, 0.9, 0.99, 1.0))),
        "eps": draw(st.sampled_from((1e-5, 1e-3, 0.1))),
        "activation": draw(st.sampled_from((None, "relu"))),
    }
    return Case(args=(channels,), options=options, inputs=(Input((*rows, channels)),))


def _moments(x: Any) -> Iterator[tuple[int, float, float, int]]:
    """Yield the index, mean, variance and number of elements of each channel."""
    for c in range(x.shape[-1]):
        values = [float(v) for v in x[..., c].reshape(-1)]
        mean = sum(values) / len(values)
        yield c, mean, sum((v - mean) ** 2 for v in values) / len(values), len(values)


def _normalized(layer: Any, x: Any) -> Any:
    """Return the normalized, scaled and shifted channels; evaluation uses the running mean and variance."""
    state, out = layer.state(), np.empty_like(x)
    for c, mean, variance, _ in _moments(x):
        if not layer.training:
            mean, variance = layer.running_mean.value[c], layer.running_var.value[c]
        scores = (x[..., c] - mean) / (variance + layer.config()["eps"]) ** 0.5
        out[..., c] = state["scale"][c] * scores + state["shift"][c]
    return out


reference, kink_distance = activated(_normalized)


def updated_buffers(layer: Any, x: Any) -> dict[str, Any]:
    """Return the running statistics after one training call; the variance is the unbiased one."""
    state, kept = layer.state(), layer.config()["momentum"]
    mean, variance = np.array(state["running_mean"]), np.array(state["running_var"])
    for c, new, biased, count in _moments(x):
        mean[c] = kept * mean[c] + (1 - kept) * new
        if count > 1:
            variance[c] = kept * variance[c] + (1 - kept) * biased * (count / (count - 1))
    return {"running_mean": mean, "running_var": variance}


cases = LayerCases(
    draw_case(),
    reference=reference,
    kink_distance=kink_distance,
    updated_buffers=updated_buffers,
    laws=(in_evaluation("batch_independent"),),
    bad_inputs=(
        BadInput(args=(3,), inputs=((2, 4),), error=tgl.errors.ShapeError, match=r"expected shape \(N, ..., 3\)"),
        BadInput(args=(3,), inputs=((3,),), error=tgl.errors.ShapeError, match=r"expected shape \(N, ..., 3\)"),
        BadInput(
            args=(3,), inputs=((0, 3),), error=tgl.errors.ShapeError, match="at least one element of each channel"
        ),
        BadInput(args=(3,), options={"eps": 0.0}, error=tgl.errors.OptionError, match="eps > 0"),
        BadInput(args=(3,), options={"momentum": 1.5}, error=tgl.errors.OptionError, match="momentum <= 1"),
        BadInput(args=(3,), options={"activation": "tanh"}, error=tgl.errors.OptionError, match="'relu' or None"),
        BadInput(args=(-1,), error=tgl.errors.OptionError, match="expected channels >= 0, got -1"),
    ),
)
