"""Default strategies for layers that have no cases."""

from __future__ import annotations

from typing import Any, Literal

import pytest

import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise
from tinygrad_lab.conformance import inspect_layer
from tinygrad_lab.conformance.cases.defaults import arguments_strategy
from tinygrad_lab.conformance.trials.search import Profile, explore
from tinygrad_lab.errors import ConfigError

Square = Literal["add", "multiply"]


class Shifted(Elementwise):
    def __init__(
        self, features: int, *, bias: bool = True, how: Square = "add", width: int | None = None, rng: Any = None
    ):
        self.features, self.how = features, how
        self.shift = tgl.Parameter(tgl.initializers.zeros((features,))) if bias else None

    def forward(self, x):
        if self.shift is None:
            return 2.0 * x
        return x + self.shift if self.how == "add" else x * self.shift

    def output_shape(self, shape):
        if shape[-1] != self.features:
            raise tgl.errors.ShapeError(f"expected {self.features} features, got {shape}")
        return shape


def test_a_strategy_is_made_from_annotations() -> None:
    result = inspect_layer(Shifted, profile=Profile(examples=12))
    assert result.passed
    assert result.properties["gradients"].examples > 8
    assert any("comes from annotations" in note for note in result.notes)


def test_every_annotation_is_drawn() -> None:
    drawn: list[dict[str, Any]] = []

    @_each(arguments_strategy(Shifted))
    def collect(options: dict[str, Any]) -> None:
        drawn.append(options)

    collect()
    assert {o["bias"] for o in drawn} == {True, False}
    assert {o["how"] for o in drawn} == {"add", "multiply"}
    assert {type(o["width"]) for o in drawn} == {int, type(None)}
    assert all(set(o) == {"features", "bias", "how", "width"} for o in drawn)


def _each(strategy: Any) -> Any:
    from hypothesis import given, settings

    return lambda f: settings(max_examples=40, derandomize=True, database=None)(given(strategy)(f))


def test_an_argument_without_an_annotation_needs_cases() -> None:
    class Unknown(Elementwise):
        def __init__(self, kernel):
            self.kernel = kernel

    with pytest.raises(ConfigError, match=r"register cases under tinygrad_lab\.cases"):
        inspect_layer(Unknown)


def test_the_search_depends_only_on_its_seed() -> None:
    from tests.conformance.samples import row_cases

    def structures(seed: int) -> list[Any]:
        return explore(row_cases, Profile(examples=8, seed=seed), lambda case: None).structures

    assert structures(0) == structures(0)
    assert structures(0) != structures(1)
