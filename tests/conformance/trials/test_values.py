"""The drawing of a case's inputs and layer, away from kinks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.conformance.samples import Matrix, Square
from tinygrad_lab.conformance import Case, Inner, Input, LayerCases, strategies
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.conformance.trials.trial import Effort, clear_of_kinks, layer_trial
from tinygrad_lab.conformance.trials.values import build_layer, draw_input, draw_tied
from tinygrad_lab.conformance.trials.verdict import Undecided

seeds = st.integers(0, 2**32 - 1)
shapes = strategies.shapes()


@given(shapes, seeds)
def test_values_lie_in_their_range_and_are_read_only(shape, seed):
    x = draw_input(Input(shape, low=0.5, high=0.75), np.random.default_rng(seed))
    assert x.shape == shape
    assert ((x >= 0.5) & (x < 0.75)).all()
    assert not x.flags.writeable


def test_default_ranges_include_rare_large_values():
    x = draw_input(Input((4000,)), np.random.default_rng(0))
    assert 0.05 < (abs(x) > 2).mean() < 0.15
    assert abs(x).max() < 10


@given(shapes, seeds)
def test_distinct_values_are_apart(shape, seed):
    x = np.sort(draw_input(Input(shape, distinct=True), np.random.default_rng(seed)), axis=None)
    assert x.size < 2 or np.diff(x).min() > 0.5 * 4 / x.size


def test_integers_constants_and_chosen_values():
    rng = np.random.default_rng(0)
    assert set(draw_input(Input((500,), kind="integer", below=3), rng)) == {0, 1, 2}
    assert set(draw_input(Input((500,), kind="constant", values=(-1.0, 1.0)), rng)) == {-1.0, 1.0}


def test_tied_values_repeat():
    x = draw_tied(Input((100,)), np.random.default_rng(0))
    assert set(x) == {-2.0, -1.0, 0.0, 1.0, 2.0}


def test_the_repr_of_a_case_evaluates_to_the_case():
    case = Case(
        args=(3, Inner("dense", args=(2, 3))),
        options={"bias": False, "layers": [Inner("relu")]},
        inputs=(Input((2, 3), low=0.5), Input((2,), kind="integer", below=3)),
        training=True,
        seed=7,
    )
    names = {"Case": Case, "Inner": Inner, "Input": Input}
    assert eval(repr(case), names) == case
    assert repr(Case(inputs=(Input((1,)),))) == "Case(inputs=(Input((1,)),))"


@given(seeds)
def test_the_same_case_makes_the_same_layer(seed):
    case = Case(args=(2, 3), inputs=(Input((2, 2)),), seed=seed)
    (one, xs), (two, ys) = (build_layer(Matrix, case, training=True) for _ in range(2))
    assert np.array_equal(one.state()["weight"], two.state()["weight"])
    assert np.array_equal(xs[0], ys[0])
    assert one.state()["weight"].dtype == "float64"


def test_inner_layers_are_built_from_the_seed():
    layers = [construct(tgl.Sequential, (Inner("dense", args=(2, 3)),), {}, np.random.default_rng(4)) for _ in range(2)]
    assert np.array_equal(layers[0].state()["0.weight"], layers[1].state()["0.weight"])


def test_parameters_and_buffers_differ_from_their_initial_values():
    norm = tgl.layers["batch_norm"]
    layer, _ = build_layer(norm, Case(args=(3,), inputs=(Input((4, 3)),)), training=False)
    assert all((value != 0).all() and (value != 1).all() for value in layer.state().values())
    assert layer.steps == 0
    assert not layer.training


def test_values_are_drawn_again_until_kinks_are_far():
    cases = LayerCases(None, kink_distance=lambda layer, x: abs(x).min(), margin=0.5)
    case, _, (x,) = clear_of_kinks(Square, Case(inputs=(Input((2, 2)),), seed=3), cases)
    assert abs(x).min() >= 0.5
    assert np.array_equal(build_layer(Square, case, training=False)[1][0], x)  # the case has the final seed


def test_a_case_with_every_draw_near_a_kink_is_undecided():
    with pytest.raises(Undecided, match="nearer to a kink"):
        clear_of_kinks(Square, Case(inputs=(Input((2,)),)), LayerCases(None, kink_distance=lambda layer, x: 0.0))


def test_a_twin_is_a_copy_of_the_layer():
    case = Case(args=(2, 3), inputs=(Input((2, 2)),), training=True, seed=5)
    trial = layer_trial(Matrix, case, LayerCases(None), Effort())
    assert trial.twin() is not trial.layer
    assert np.array_equal(trial.twin().state()["weight"], trial.layer.state()["weight"])
    assert trial.names == ["x", "weight"]


def test_the_error_scale_takes_cancellation_into_account():
    case = Case(inputs=(Input((2, 2), low=100.0, high=101.0),), training=True)

    class Difference(Square):
        def forward(self, x):
            return (x * x - 10_000.0) * 1e-2

    trial = layer_trial(Difference, case, LayerCases(None), Effort())
    assert trial.scale.outputs[0] > 50 * abs(trial.outputs[0]).max()
