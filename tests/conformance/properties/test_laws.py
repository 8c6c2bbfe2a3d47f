"""Each law holds for a layer that satisfies it, and fails for one that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise
from tinygrad_lab.conformance.properties.laws import LAWS, find_law, in_evaluation, in_training
from tinygrad_lab.errors import ConfigError


class Of(Elementwise):
    """A layer that applies a function."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class Pool(tgl.Layer):
    """Every second pixel."""

    def forward(self, x: Any) -> Any:
        return x[:, ::2, ::2]

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], -(-shape[1] // 2), -(-shape[2] // 2), shape[3])


class Corner(Pool):
    """Every second pixel, with weights that grow to the right."""

    def forward(self, x: Any) -> Any:
        y = x[:, ::2, ::2]
        return y * np.arange(y.shape[2])[:, None]


class Residual(Elementwise):
    """A share of x plus a product of x and a weight."""

    def __init__(self, share: float) -> None:
        self.share, self.weight = share, tgl.Parameter(np.ones((3, 3)))

    def forward(self, x: Any) -> Any:
        return self.share * x + tgl.matmul(x, self.weight)


x = np.random.default_rng(0).normal(size=(4, 3))
image = np.random.default_rng(0).normal(size=(2, 5, 6, 3))

KEEPS: dict[str, tuple[Any, Any, Any]] = {
    "affine": (Of(lambda x: 2 * x + 1), Of(lambda x: x * x), x),
    "batch_independent": (Of(lambda x: x - x.mean(axis=1, keepdims=True)), Of(lambda x: x - x.mean(axis=0)), x),
    "channel_independent": (Of(lambda x: x - x.mean(axis=0)), Of(lambda x: x - x.mean(axis=1, keepdims=True)), x),
    "elementwise": (Of(tgl.exp), Of(lambda x: x - x.mean()), x),
    "identity_at_zero_weights": (Residual(1.0), Residual(0.5), x),
    "linear": (Of(lambda x: 2 * x), Of(lambda x: 2 * x + 1), x),
    "monotone": (Of(tgl.exp), Of(lambda x: -x), x),
    "permutation_equivariant": (
        Of(lambda x: x - x.mean(axis=1, keepdims=True)),
        Of(lambda x: tgl.cumsum(x, axis=1)),
        x,
    ),
    "positively_homogeneous": (Of(tgl.relu), Of(lambda x: x * x), x),
    "scale_invariant": (Of(lambda x: x / tgl.norm(x)), Of(tgl.exp), x),
    "shift_equivariant": (Pool(), Corner(), image),
    "translation_invariant": (Of(lambda x: x - x.mean(axis=-1, keepdims=True)), Of(tgl.exp), x),
    "unit_sum": (Of(tgl.softmax), Of(tgl.sigmoid), x),
}


def test_every_law_has_a_test() -> None:
    assert set(KEEPS) == set(LAWS)


@pytest.mark.parametrize("name", KEEPS)
def test_a_law_distinguishes_layers_that_satisfy_it(name: str) -> None:
    keeps, breaks, value = KEEPS[name]
    law = find_law(name)
    assert law.check(keeps, value) < law.tolerance
    assert law.check(breaks, value) > 1e-3
    assert law.formula


def test_unknown_laws_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        find_law("murphy")


def test_laws_may_apply_to_one_mode() -> None:
    assert in_evaluation("linear").training is False
    assert in_training("linear").training is True
    assert find_law("linear").training is None


def test_shift_equivariance_of_registered_layers() -> None:
    law = find_law("shift_equivariant")
    for name, args, options in (
        ("conv2d", (3, 2), {"kernel_size": 3, "stride": 2, "padding": "same"}),
        ("max_pool2d", (3,), {"stride": 2, "padding": 1}),
        ("upsample2d", (2,), {}),
    ):
        layer = tgl.layers[name](*args, **options).astype("float64")
        assert law.check(layer, image) < 1e-9
