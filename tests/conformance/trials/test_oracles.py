"""Oracles: derivatives by complex steps and by finite differences, with bounds of their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.conformance.trials import oracles
from tinygrad_lab.conformance.trials.verdict import Undecided

seeds = st.integers(0, 2**32 - 1)


def smooth(arrays):
    return [np.sin(arrays[0]) * arrays[1], np.exp(arrays[1]).sum(axis=0)]


def drawn(seed):
    rng = np.random.default_rng(seed)
    xs = [rng.normal(size=(3, 2)), rng.normal(size=(3, 2))]
    us = [rng.uniform(-1, 1, (3, 2)) for _ in xs]
    return xs, us


def exact(xs, us):
    (x, y), (u, v) = xs, us
    return oracles.join([np.cos(x) * y * u + np.sin(x) * v, (np.exp(y) * v).sum(axis=0)])


@given(seeds)
def test_both_oracles_find_the_derivative_within_their_bound(seed):
    xs, us = drawn(seed)
    for oracle, most in ((oracles.complex_step, 1e-14), (oracles.differences, 1e-9)):
        estimate = oracle(smooth, xs, us)
        assert estimate.decided
        assert estimate.error < most * 100
        assert np.abs(estimate.value - exact(xs, us)).max() <= 10 * estimate.error


@pytest.mark.parametrize("offset", [2e-4, 4e-4, 8e-4])
def test_differences_near_a_kink_are_undecided(offset):
    estimate = oracles.differences(lambda a: [np.abs(a[0])], [np.array([offset, 1.0])], [np.ones(2)])
    assert not estimate.decided


def test_differences_are_exact_for_quartics():
    estimate = oracles.differences(lambda a: [a[0] ** 4], [np.array([1.5])], [np.ones(1)], step=0.1)
    np.testing.assert_allclose(estimate.value, 4 * 1.5**3, rtol=1e-12)


def test_one_argument_may_stay_constant():
    xs, us = drawn(0)
    estimate = oracles.complex_step(smooth, xs, [us[0], None])
    np.testing.assert_allclose(estimate.value, exact(xs, [us[0], 0 * us[1]]), atol=1e-14)


@given(st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=4))
def test_split_undoes_join(shapes):
    arrays = [np.random.default_rng(i).normal(size=s) for i, s in enumerate(shapes)]
    again = oracles.split(oracles.join(arrays), arrays)
    assert len(again) == len(arrays)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, again, strict=True))


def test_cotangents_are_random_and_one_hot():
    vectors = [oracles.join(v) for v in oracles.cotangents([np.zeros((3, 2)), np.zeros(4)], np.random.default_rng(0))]
    assert all(len(v) == 10 for v in vectors)
    dense, hot = vectors[:2], vectors[2:]
    assert all((v != 0).all() and len(set(v)) == 10 for v in dense)
    assert all(sorted(v) == [0] * 9 + [1] for v in hot)


def test_a_mismatch_that_another_step_does_not_confirm_is_undecided():
    xs, us = drawn(0)
    with pytest.raises(Undecided):
        oracles.confirmed(smooth, xs, us, lambda estimate: True)
    assert oracles.confirmed(smooth, xs, us, lambda estimate: False)


def test_the_numerical_jacobian_has_a_column_for_each_element():
    xs, _ = drawn(3)
    jacobian = oracles.numerical_jacobian(smooth, xs, 1)
    assert jacobian.shape == (8, 6)
    np.testing.assert_allclose(jacobian[:6], np.diag(np.sin(xs[0]).reshape(-1)), atol=1e-9)


def test_errors_against_step_size_fall_and_rise_again():
    xs, us = drawn(0)
    errors = oracles.errors_by_step(smooth, xs, us, exact(xs, us))
    best = int(np.argmin(errors["forward"]))
    assert errors["step"][0] == 1.0
    assert 0 < best < len(errors["step"]) - 1
    assert min(errors["five-point"]) < min(errors["forward"])
