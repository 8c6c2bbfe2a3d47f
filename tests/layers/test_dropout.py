"""Dropout: when masks are drawn, and that the gradient has the same mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab_layers import Dropout, SpatialDropout2d

ONES = np.ones((3, 4, 5, 8), "float32")


def mask(layer: tgl.Layer, x: Any = ONES) -> Any:
    """Return where a call keeps its input."""
    return np.asarray(layer(x)) > 0


def test_every_step_draws_a_new_mask_and_a_seed_repeats_it() -> None:
    first, second = Dropout(0.5), Dropout(0.5)
    drawn = [mask(first) for _ in range(3)]
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[1] != drawn[2]).any()
    assert all((mask(second) == d).all() for d in drawn)
    second.seed, second.steps = 1, 0
    assert (mask(second) != drawn[0]).any()


def test_layers_of_one_network_draw_different_masks() -> None:
    net = tgl.Sequential(Dropout(0.5), Dropout(0.5))
    assert 0.2 < mask(net).mean() < 0.3


def test_masks_do_not_depend_on_the_float_width() -> None:
    assert (mask(Dropout(0.3), ONES.astype("float64")) == mask(Dropout(0.3))).all()


@pytest.mark.parametrize("make", [Dropout, SpatialDropout2d])
def test_the_gradient_has_the_mask_of_the_value(make: Any) -> None:
    x = tgl.tensor(ONES, requires_grad=True)
    y = make(0.25)(x)
    y.backward(ONES)
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    assert set(np.unique(y.numpy())) == {np.float32(0), np.float32(1 / 0.75)}


def test_recomputation_draws_the_same_mask() -> None:
    x, layer = tgl.tensor(ONES, requires_grad=True), Dropout(0.5)
    y = tgl.checkpoint(layer, x)
    y.backward(ONES)
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_spatial_dropout_drops_whole_planes() -> None:
    y = SpatialDropout2d(0.5)(ONES)
    assert (y == y[:, :1, :1]).all()
    assert 0 < y[:, 0, 0].mean() < 2
    assert (y[0, 0, 0] != y[1, 0, 0]).any()


@pytest.mark.parametrize("make", [Dropout, SpatialDropout2d])
def test_evaluation_and_rate_zero_are_the_identity(make: Any) -> None:
    assert make(0.9).eval()(ONES) is ONES
    assert make(0.0)(ONES) is ONES


def test_dropout_of_an_empty_array() -> None:
    assert Dropout()(np.zeros((0, 3), "float32")).shape == (0, 3)


def test_nan_is_not_hidden() -> None:
    assert np.isnan(Dropout(0.5)(np.full(50, np.nan, "float32"))).all()


def test_the_tape_keeps_no_mask() -> None:
    """The mask is drawn again from its key in the backward pass."""
    y = Dropout(0.5)(tgl.tensor(ONES, requires_grad=True))
    assert not [v for v in y.node.saved if hasattr(v, "nbytes")]


def test_the_step_number_may_be_a_numpy_integer() -> None:
    usual, other = Dropout(0.5), Dropout(0.5)
    usual.steps, other.steps = 3, np.int64(3)  # type: ignore[assignment]
    assert (mask(usual) == mask(other)).all()
