"""The Winograd (Toom-Cook) matrices are exact, and their points give small rounding errors."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_lab.kernels.winograd import LARGEST_TILE, POINTS, matrices, rounding_error

ALL = [(m, r) for r in range(2, LARGEST_TILE) for m in range(2, LARGEST_TILE - r + 2)]


@pytest.mark.parametrize(("m", "r"), ALL)
def test_the_matrices_compute_correlations(m: int, r: int) -> None:
    output, taps, tile = matrices(m, r)
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(m + r - 1), rng.standard_normal(r)
    np.testing.assert_allclose(output @ ((taps @ g) * (tile @ d)), np.correlate(d, g), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("m", "r"), ALL)
def test_the_transposed_matrices_compute_the_gradient_of_the_filter(m: int, r: int) -> None:
    output, taps, tile = matrices(m, r)
    rng = np.random.default_rng(0)
    d, dy = rng.standard_normal(m + r - 1), rng.standard_normal(m)
    np.testing.assert_allclose(taps.T @ ((tile @ d) * (output.T @ dy)), np.correlate(d, dy), rtol=1e-9, atol=1e-9)


def test_all_points_are_different() -> None:
    for size, points in POINTS.items():
        assert len(set(points)) == len(points) == size - 1


def test_the_points_round_less_than_the_customary_ones() -> None:
    assert rounding_error(4, 3) < 0.7 * rounding_error(4, 3, ("0", "1", "-1", "2", "-2"))
    assert rounding_error(2, 5) < 0.7 * rounding_error(2, 5, ("0", "1", "-1", "2", "-2"))


@pytest.mark.parametrize(("m", "r"), [(m, r) for m, r in ALL if m <= 4])
def test_rounding_stays_small(m: int, r: int) -> None:
    assert rounding_error(m, r) < 1e-5
