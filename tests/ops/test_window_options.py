"""Options of windows: accepted values, rejected values, and window positions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.ops.windows import Window, expect_images, pair


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("valid", ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 0), (2, 3)), ((1, 0), (2, 3))),
        ([[1, 0], [2, 3]], ((1, 0), (2, 3))),  # as read from JSON
    ],
)
def test_valid_paddings(padding: Any, expected: Any) -> None:
    assert Window(3, padding=padding).padding_for((8, 8)) == expected


@pytest.mark.parametrize("padding", [-1, "full", 1.5, (1, 2, 3), ((1, 2), 3), ((1, 2), (3, -4)), None, True])
def test_wrong_paddings_are_refused(padding: Any) -> None:
    with pytest.raises(OptionError, match="padding"):
        Window(3, padding=padding)


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", (1, 2, 3), (1, 0), (), None, True])
def test_wrong_pairs_are_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="size: expected a whole number of at least 1, or a pair of them, got"):
        pair(value, minimum=1, what="size")


@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3))
def test_same_padding_gives_one_window_a_stride(length: int, kernel_size: int, stride: int, dilation: int) -> None:
    same = Window(kernel_size, stride=stride, padding="same", dilation=dilation)
    (top, bottom), _ = same.padding_for((length, length))
    assert same.places((length, length)) == (-(-length // stride),) * 2
    assert 0 <= top <= bottom <= top + 1
    assert top + bottom < same.span[0]  # no window lies only in the padding


def test_the_error_of_a_window_that_does_not_fit_names_both_sizes() -> None:
    text = r"Net: expected a map of at least 5x5 for the window, got 2x9, 4x11 with padding; use more padding"
    with pytest.raises(ShapeError, match=text):
        Window(3, dilation=2, padding=1, who="Net").places((2, 9))


def test_wrong_shapes_of_images_are_refused() -> None:
    expect_images((0, 0, 2, 3), "Net", channels=3)
    with pytest.raises(ShapeError, match=r"Net: expected images \(N, H, W, C\), got x.shape == \(2, 3\); channels"):
        expect_images((2, 3), "Net")
    with pytest.raises(ShapeError, match="Net: expected a map with at least one pixel"):
        expect_images((2, 0, 3, 3), "Net", empty=False)
