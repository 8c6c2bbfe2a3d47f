"""Bilinear resizing, compared with PyTorch, and its properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab import limits
from tinygrad_lab.data import load, resizing
from tinygrad_lab.data.resizing import resize_bilinear
from tinygrad_lab.errors import OptionError

SIDES = st.integers(1, 9)


@pytest.mark.peers
@given(SIDES, SIDES, SIDES, SIDES)
def test_agrees_with_pytorch(height: int, width: int, new_height: int, new_width: int) -> None:
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).random((2, height, width, 3))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images.transpose(0, 3, 1, 2)), (new_height, new_width), mode="bilinear", align_corners=False
    )
    found = resize_bilinear(images, (new_height, new_width))
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-12)


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_uniform_image_stays_uniform(height: int, width: int, new_height: int, new_width: int) -> None:
    images = np.full((1, height, width, 2), 200, np.uint8)
    found = resize_bilinear(images, (new_height, new_width))
    assert found.shape == (1, new_height, new_width, 2)
    assert found.dtype == np.uint8
    assert (found == 200).all()


def test_a_ramp_is_interpolated_and_rounded() -> None:
    images = np.array([0, 10], np.uint8).reshape(1, 1, 2, 1)
    assert resize_bilinear(images, (1, 4)).ravel().tolist() == [0, 2, 8, 10]


def test_images_of_the_same_size_are_returned_as_they_are() -> None:
    images = np.zeros((1, 3, 4, 1), np.uint8)
    assert resize_bilinear(images, (3, 4)) is images


@pytest.mark.parametrize("size", [(0, 4), [0, 3], [16], [16.5, 3], [16, 16, 3], [], 16, "ab", [True, 4]])
def test_a_wrong_size_is_refused(size: Any) -> None:
    with pytest.raises(OptionError) as told:
        resize_bilinear(np.zeros((1, 3, 4, 1)), size)
    assert str(told.value) == f"size: expected two whole numbers of at least 1, (height, width), got {size!r}"
    with pytest.raises(OptionError, match="size: expected two whole numbers of at least 1"):
        load("digits", size=size)
    with pytest.raises(OptionError, match="size: expected two whole numbers of at least 1"):
        load("image_folder", root="nowhere", size=size)


def at_once(images: Any, size: tuple[int, int]) -> Any:
    """Resize all images in one piece."""
    for axis, (source, target) in enumerate(zip(images.shape[1:3], size, strict=True), start=1):
        place = ((np.arange(target) + 0.5) * (source / target) - 0.5).clip(0, source - 1)
        low = np.floor(place).astype(int)
        weight = (place - low).reshape([-1 if i == axis else 1 for i in range(4)])
        images = images.take(low, axis) * (1 - weight) + images.take(np.minimum(low + 1, source - 1), axis) * weight
    return images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("size", [(3, 5), (16, 16), (40, 20)])
def test_resizing_in_parts_is_exact(dtype: type, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "_VALUES", 5000)
    images = (np.random.default_rng(0).random((23, 9, 7, 3)) * 255).astype(dtype)
    expected = at_once(images, size)
    expected = np.rint(expected) if dtype is np.uint8 else expected
    np.testing.assert_array_equal(resize_bilinear(images, size), expected.astype(dtype))


def test_results_larger_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 1 << 30)
    images = np.zeros((2000, 1, 1, 3), np.uint8)
    with pytest.raises(OptionError) as told:
        resize_bilinear(images, (512, 512))
    expected = "resize to 512x512: expected to need at most the 1.0 GiB of memory available, got 1.5 GiB; "
    assert str(told.value) == expected + "take a smaller size, or fewer images"
    with pytest.raises(OptionError, match=r"size: expected at most 67,108,864 pixels, got 10,000 x 10,000"):
        resize_bilinear(images, (10_000, 10_000))


def test_a_size_may_be_numpy_integers() -> None:
    assert load("digits", size=np.array([16, 8])).shape == (16, 8, 1)  # type: ignore[arg-type]  # that is the point
