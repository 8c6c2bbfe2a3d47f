"""The affine warp in NumPy and compiled, compared with SciPy and NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tinygrad_lab.autograd.dispatch import provider_serves
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.data.augment.warp import FILLS, _compiled, about_center, affine_maps, compose_maps, warp
from tinygrad_lab.errors import OptionError, ShapeError

SCIPY_MODES = {"zero": "grid-constant", "edge": "nearest", "reflect": "mirror"}
NUMPY_MODES = {"zero": "constant", "edge": "edge", "reflect": "reflect"}
SIDES = st.integers(1, 7)
SEEDS = st.integers(0, 2**32)

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", params=["numpy", "numba"], autouse=True)
def provider(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run every test with the reference in NumPy and with the compiled kernel."""
    if request.param == "numba":
        if not provider_serves("numba", np):
            pytest.skip("Numba is not installed")
        yield request.param
    else:
        with reference_only():
            yield request.param


def test_the_right_code_runs(provider: str) -> None:
    assert _compiled() == (provider == "numba")


def made_images(seed: int, count: int, height: int, width: int, channels: int = 3) -> Array:
    return np.random.default_rng(seed).random((count, height, width, channels), np.float32)


def by_scipy(images: Array, maps: Array, fill: str, size: tuple[int, int]) -> Array:
    out = np.empty((len(images), *size, images.shape[3]), np.float32)
    for n, (image, m) in enumerate(zip(images, maps, strict=True)):
        places = np.tensordot(m[:, :2], np.indices(size), axes=1) + m[:, 2, None, None]
        for c in range(image.shape[2]):
            out[n, :, :, c] = ndimage.map_coordinates(image[:, :, c], places, order=1, mode=SCIPY_MODES[fill])
    return out


@given(SEEDS, SIDES, SIDES, SIDES, SIDES, st.sampled_from(FILLS), st.floats(0, 20))
def test_agrees_with_scipy(seed: int, height: int, width: int, rows: int, columns: int, fill: Any, far: float) -> None:
    images = made_images(seed, 3, height, width)
    maps = np.random.default_rng(seed).normal(0, 1, (3, 2, 3)) * (1, 1, far)
    if fill == "reflect" and min(height, width) == 1:
        return  # SciPy mirrors an axis of one pixel differently
    found = warp(images, maps, fill=fill, size=(rows, columns))
    np.testing.assert_allclose(found, by_scipy(images, maps, fill, (rows, columns)), atol=1e-5)


@given(SEEDS, SIDES, SIDES, st.integers(0, 5), st.sampled_from(FILLS))
def test_whole_shifts_agree_with_numpy_padding(seed: int, height: int, width: int, margin: int, fill: Any) -> None:
    images = made_images(seed, 2, height, width)
    maps = affine_maps(2)
    maps[:, :, 2] = -margin
    expected = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode=NUMPY_MODES[fill])
    found = warp(images, maps, fill=fill, size=(height + 2 * margin, width + 2 * margin))
    np.testing.assert_array_equal(found, expected)


@given(SEEDS, SIDES, SIDES)
def test_the_identity_and_mirrors_keep_every_bit(seed: int, height: int, width: int) -> None:
    images = made_images(seed, 4, height, width)
    maps = affine_maps(4)
    maps[1] = [[-1, 0, height - 1], [0, 1, 0]]
    maps[2] = [[1, 0, 0], [0, -1, width - 1]]
    found = warp(images, maps, fill="zero")
    expected = np.stack([images[0], images[1, ::-1], images[2, :, ::-1], images[3]])
    np.testing.assert_array_equal(found, expected)


def test_whole_shifts_agree_with_interpolation() -> None:
    """A map very close to a whole shift gives nearly the same result."""
    images = made_images(0, 1, 6, 6)
    whole, nearly = affine_maps(1), affine_maps(1)
    whole[:, :, 2] = (2, -1)
    nearly[:, :, 2] = (2 + 1e-7, -1 - 1e-7)
    for fill in FILLS:
        np.testing.assert_allclose(warp(images, whole, fill=fill), warp(images, nearly, fill=fill), atol=1e-6)


def test_each_image_of_a_batch_has_its_own_map() -> None:
    images = made_images(0, 40, 32, 32)
    maps = np.random.default_rng(1).normal(0, 1, (40, 2, 3)) + affine_maps(40)
    together = warp(images, maps)
    for n in range(40):
        np.testing.assert_array_equal(warp(images[n : n + 1], maps[n : n + 1]), together[n : n + 1])


def test_nan_stays_nan() -> None:
    images = made_images(0, 1, 6, 6)
    images[0, 2, 3] = np.nan
    shifted = affine_maps(1)
    shifted[:, :, 2] = 0.25
    assert np.isnan(warp(images, affine_maps(1))).sum() == 3
    assert np.isnan(warp(images, shifted)).sum() == 4 * 3, "the four pixels that are interpolated from it"


def test_any_layout_is_read_and_nothing_is_written() -> None:
    images = made_images(0, 3, 6, 5)
    maps = np.random.default_rng(1).normal(0, 1, (3, 2, 3))
    expected = warp(images, maps)
    strided = images.transpose(3, 1, 2, 0).copy().transpose(3, 1, 2, 0)
    reversed_twice = images[::-1].copy()[::-1]
    for same in (strided, reversed_twice):
        before = same.copy()
        same.flags.writeable = False
        np.testing.assert_array_equal(warp(same, maps), expected)
        np.testing.assert_array_equal(same, before)


def test_an_empty_batch() -> None:
    assert warp(made_images(0, 0, 4, 4), affine_maps(0), size=(2, 3)).shape == (0, 2, 3, 3)


@given(SEEDS)
def test_maps_compose_as_warps_do(seed: int) -> None:
    """Interpolation of a linear image is exact, so two warps equal the warp of the composed map."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((9, 9)) / 9
    images = (0.5 * rows + 0.25 * columns)[None, :, :, None].astype(np.float32)
    small = [affine_maps(1) + rng.normal(0, 0.03, (1, 2, 3)) for _ in range(2)]
    twice = warp(warp(images, small[0]), small[1])
    once = warp(images, compose_maps(*small))
    np.testing.assert_allclose(once[:, 2:7, 2:7], twice[:, 2:7, 2:7], atol=1e-5)


def test_maps_about_the_center_keep_the_center() -> None:
    linear = np.random.default_rng(0).normal(size=(5, 2, 2))
    center = np.array([2.0, 3.5])
    maps = about_center(linear, (5, 8))
    np.testing.assert_allclose(maps[:, :, :2] @ center + maps[:, :, 2], np.tile(center, (5, 1)))


def test_bad_arguments_are_refused() -> None:
    images = made_images(0, 2, 4, 4)
    with pytest.raises(OptionError, match=r"warp: expected a fill out of .* got 'wrap'"):
        warp(images, affine_maps(2), fill="wrap")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ShapeError, match=r"maps \(N, 2, 3\), got \(2, 4, 4, 3\) and \(3, 2, 3\)"):
        warp(images, affine_maps(3))
    with pytest.raises(ShapeError, match=r"at least one pixel for 4x4, got \(2, 0, 4, 3\)"):
        warp(images[:, :0], affine_maps(2), size=(4, 4))
    assert warp(images[:, :0], affine_maps(2)).shape == (2, 0, 4, 3)
