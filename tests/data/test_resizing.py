"""Bilinear resizing, against PyTorch and against its own laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.data import load
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


def test_the_same_size_is_not_touched() -> None:
    images = np.zeros((1, 3, 4, 1), np.uint8)
    assert resize_bilinear(images, (3, 4)) is images


@pytest.mark.parametrize("size", [(0, 4), [0, 3], [16], [16.5, 3], [16, 16, 3], [], 16, "ab", [True, 4]])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(OptionError) as told:
        resize_bilinear(np.zeros((1, 3, 4, 1)), size)
    assert str(told.value) == f"size: expected two whole numbers from 1 on, (height, width), got {size!r}"
    with pytest.raises(OptionError, match="size: expected two whole numbers from 1 on"):
        load("digits", size=size)
    with pytest.raises(OptionError, match="size: expected two whole numbers from 1 on"):
        load("image_folder", root="nowhere", size=size)


def test_numbers_of_numpy_are_a_size() -> None:
    assert load("digits", size=np.array([16, 8])).shape == (16, 8, 1)  # type: ignore[arg-type]  # that is the point
