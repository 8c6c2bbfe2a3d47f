"""How often pixels are used: the adjoint of windows against counting."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_lab import Sequential
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect import usage_map
from tinygrad_lab.registry import models
from tinygrad_lab_layers import Conv2d, Dense, Flatten, MaxPool2d, ReLU


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 1, 0), (3, 2, 1), (5, 1, 2), (2, 2, 0)])
def test_one_convolution_counts_windows(window: int, stride: int, padding: int) -> None:
    counts = np.zeros((9, 8))
    for top in range(-padding, 9 + padding - window + 1, stride):
        for left in range(-padding, 8 + padding - window + 1, stride):
            counts[max(0, top) : top + window, max(0, left) : left + window] += 1
    conv = Conv2d(2, 3, window=window, stride=stride, padding=padding, rng=0)
    np.testing.assert_array_equal(usage_map(conv, (9, 8, 2)), counts)


def test_a_repeated_edge_counts_for_the_border() -> None:
    edge = usage_map(Conv2d(1, 1, window=3, padding=1, padding_mode="edge", rng=0), (4, 4, 1))
    np.testing.assert_array_equal(edge[0], [9, 9, 9, 9])
    assert edge.sum() == 9 * 16


def test_layers_in_a_row_multiply_their_ways_and_others_are_passed_over() -> None:
    plain = Sequential(Conv2d(1, 2, window=3, rng=0), MaxPool2d(2))
    whole = Sequential(Conv2d(1, 2, window=3, rng=0), ReLU(), MaxPool2d(2), Flatten(), Dense(8, 2, rng=0))
    counts = usage_map(whole, (6, 6, 1))
    np.testing.assert_array_equal(counts, usage_map(plain, (6, 6, 1)))
    assert counts.sum() == 2 * 2 * 4 * 9  # places of the pool, elements of its window, elements of the filter
    assert usage_map(models["cnn7"](rng=0), (32, 32, 3)).shape == (32, 32)


def test_what_has_no_usage_is_refused() -> None:
    with pytest.raises(OptionError, match="a layer with a window"):
        usage_map(Dense(3, 2, rng=0), (3,))
    with pytest.raises(OptionError, match="without dilation"):
        usage_map(Conv2d(1, 1, window=3, dilation=2, rng=0), (8, 8, 1))
