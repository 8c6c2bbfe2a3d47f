"""Clipping of gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.errors import OptionError
from tinygrad_lab.optim import clip_by_norm, clip_by_value, gradient_norm


def with_gradients(*gradients: np.ndarray) -> dict[str, tgl.Parameter]:
    parameters = {str(i): tgl.Parameter(np.ones_like(g)) for i, g in enumerate(gradients)}
    for p, g in zip(parameters.values(), gradients, strict=True):
        (p * g).sum().backward()
    return parameters


@given(seed=st.integers(0, 2**32 - 1), max_norm=st.floats(0.01, 100), dtype=st.sampled_from(["float32", "float64"]))
def test_the_global_norm_is_bounded_and_the_direction_kept(seed: int, max_norm: float, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    gradients = [rng.normal(size=shape).astype(dtype) for shape in ((3, 2), (4,), (), (0, 2))]
    parameters = with_gradients(*gradients)
    norm = clip_by_norm(parameters, max_norm)
    assert norm == pytest.approx(np.linalg.norm(np.concatenate([g.ravel() for g in gradients])), rel=1e-6)
    assert gradient_norm(parameters) == pytest.approx(min(norm, max_norm), rel=1e-6)
    for p, g in zip(parameters.values(), gradients, strict=True):
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad.numpy(), g * min(1.0, max_norm / norm), rtol=1e-5)


def test_a_small_norm_changes_no_bit() -> None:
    gradient = np.array([0.1, 0.2], "float32")
    parameters = with_gradients(gradient)
    clip_by_norm(parameters, 1.0)
    np.testing.assert_array_equal(parameters["0"].grad.numpy(), gradient)


def test_the_norm_of_gradients_whose_squares_overflow_float32() -> None:
    parameters = with_gradients(np.array([3e30, 4e30], "float32"))
    assert clip_by_norm(parameters, 1.0) == pytest.approx(5e30)
    np.testing.assert_allclose(parameters["0"].grad.numpy(), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_returned_and_nothing_is_scaled(bad: float) -> None:
    gradient = np.array([1.0, bad])
    parameters = with_gradients(gradient)
    assert not math.isfinite(clip_by_norm(parameters, 1.0))
    np.testing.assert_array_equal(parameters["0"].grad.numpy(), gradient)


def test_values_are_clipped_and_nan_stays() -> None:
    parameters = with_gradients(np.array([-3.0, 0.5, np.nan, np.inf], "float32"))
    clip_by_value(parameters, 1.0)
    np.testing.assert_array_equal(parameters["0"].grad.numpy(), np.array([-1.0, 0.5, np.nan, 1.0], "float32"))


def test_clipping_does_not_write_into_arrays_of_others() -> None:
    parameters = with_gradients(np.array([3.0, 4.0]), np.array([3.0]))
    held = parameters["0"].node.grad
    held.flags.writeable = False
    clip_by_norm(parameters, 1.0)
    clip_by_value(parameters, 0.1)
    np.testing.assert_array_equal(held, [3.0, 4.0])


def test_parameters_that_are_frozen_or_without_gradient_do_not_count() -> None:
    parameters = with_gradients(np.array([3.0, 4.0]))
    frozen = tgl.Parameter(np.ones(2))
    frozen.freeze()
    parameters |= {"frozen": frozen, "unused": tgl.Parameter(np.ones(2))}
    assert clip_by_norm(parameters, 1.0) == 5.0
    clip_by_value(parameters, 0.5)
    assert parameters["unused"].grad is None
    assert clip_by_norm({"frozen": frozen}, 1.0) == 0.0


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_bounds_must_be_positive(bound: float) -> None:
    with pytest.raises(OptionError, match="above 0"):
        clip_by_norm({}, bound)
    with pytest.raises(OptionError, match="above 0"):
        clip_by_value({}, bound)
