"""Correct layers that the kit once rejected, and wrong layers that it must still reject."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise
from tinygrad_lab.conformance import Case, Inner, Input, check_layer, inspect_layer
from tinygrad_lab.conformance.properties.agreement import UNSEEN
from tinygrad_lab.conformance.trials.verdict import Violation

ONCE_BLAMED = {
    # A group of two channels that are nearly alike: in its gradient, terms of size 32 cancel to 0.02.
    "rounding of what cancels inside": (
        "group_norm",
        "float32",
        Case(args=(3, 6), options={"eps": 1e-05}, inputs=(Input((2, 6)),), training=False, seed=3),
    ),
    # NumPy adds 16,384 products of a strided array one by one, where BLAS adds them in blocks.
    "a sum over a strided array": (
        "sequential",
        "kernels",
        Case(
            args=(Inner("dense", args=(1, 1)), Inner("leaky_relu"), Inner("dense", args=(1, 4)), Inner("leaky_relu")),
            inputs=(Input((1, 1)),),
            training=False,
            seed=3,
        ),
    ),
    # In a large normalized batch, single pixels are as large as eight standard deviations, and so are their errors.
    "entries far larger than their root mean square": (
        "bottleneck",
        "kernels",
        Case(
            args=(2, 2),
            options={"expansion": 1, "stride": 1, "shortcut": "identity"},
            inputs=(Input((2, 2, 3, 2)),),
            training=True,
            seed=3,
        ),
    ),
}


@pytest.mark.parametrize("what", ONCE_BLAMED)
def test_the_correct_layer_passes(what: str) -> None:
    name, prop, case = ONCE_BLAMED[what]
    check_layer(name, case=case, properties=[prop])


@tgl.primitive
def third(xp: Any, x: Any) -> Any:
    return x / 3.0


third.defvjp(x=lambda g: g * (0.3334 if g.dtype == "float32" else 1.0 / 3.0))


class Third(Elementwise):
    def forward(self, x: Any) -> Any:
        return third(x)


def test_a_constant_that_is_rounded_in_one_width_still_fails() -> None:
    """The error is only a few times the tolerance, so rounding might explain it."""
    cases = st.integers(1, 4).map(lambda n: Case(inputs=(Input((n,), low=-1.0, high=1.0),)))
    found = inspect_layer(Third, cases, examples=5, properties=["float32"]).properties["float32"]
    assert found.failure is not None
    assert isinstance(found.failure.error, Violation)
    assert found.failure.error.measure.ratio < UNSEEN
