"""Usage maps, computed by adjoints of windows, compared with counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import Sequential
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect import usage_map
from tinygrad_lab.registry import models
from tinygrad_lab.zoo.googlenet import WithAuxiliary
from tinygrad_lab_layers import (
    AvgPool2d,
    Conv2d,
    Conv2dTranspose,
    Dense,
    Flatten,
    Inception,
    MaxPool2d,
    Pad2d,
    ParallelConcat,
    ReLU,
    Residual,
)


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(3, 1, 0), (3, 2, 1), (5, 1, 2), (2, 2, 0)])
def test_one_convolution_counts_windows(kernel_size: int, stride: int, padding: int) -> None:
    counts = np.zeros((9, 8))
    for top in range(-padding, 9 + padding - kernel_size + 1, stride):
        for left in range(-padding, 8 + padding - kernel_size + 1, stride):
            counts[max(0, top) : top + kernel_size, max(0, left) : left + kernel_size] += 1
    conv = Conv2d(2, 3, kernel_size=kernel_size, stride=stride, padding=padding, rng=0)
    np.testing.assert_array_equal(usage_map(conv, (9, 8, 2)), counts)


def test_repeated_edges_count_for_the_border_pixels() -> None:
    edge = usage_map(Conv2d(1, 1, kernel_size=3, padding=1, padding_mode="edge", rng=0), (4, 4, 1))
    np.testing.assert_array_equal(edge[0], [9, 9, 9, 9])
    assert edge.sum() == 9 * 16


def test_consecutive_layers_multiply_paths_and_other_layers_are_skipped() -> None:
    plain = Sequential(Conv2d(1, 2, kernel_size=3, rng=0), MaxPool2d(2))
    whole = Sequential(Conv2d(1, 2, kernel_size=3, rng=0), ReLU(), MaxPool2d(2), Flatten(), Dense(8, 2, rng=0))
    counts = usage_map(whole, (6, 6, 1))
    np.testing.assert_array_equal(counts, usage_map(plain, (6, 6, 1)))
    assert counts.sum() == 2 * 2 * 4 * 9  # windows of the pool, elements of its window, elements of the filter
    assert usage_map(models["cnn7"](rng=0), (32, 32, 3)).shape == (32, 32)


def conv(kernel_size: int, **options: Any) -> Conv2d:
    return Conv2d(1, 1, kernel_size=kernel_size, padding=kernel_size // 2, rng=0, **options)


def test_a_shortcut_is_one_more_path() -> None:
    counts = usage_map(Residual(conv(3)), (5, 5, 1))
    np.testing.assert_array_equal(counts, usage_map(conv(3), (5, 5, 1)) + 1)
    assert counts[2, 2] == 10
    halved = usage_map(Residual(conv(3, stride=2), shortcut="projected", channels=(1, 1), stride=2, rng=0), (6, 6, 1))
    expected = usage_map(conv(3, stride=2), (6, 6, 1))
    expected[::2, ::2] += 1
    np.testing.assert_array_equal(halved, expected)


def test_the_paths_of_branches_add_up() -> None:
    block = ParallelConcat([conv(1), Sequential(conv(1), conv(3)), conv(5)])
    parts = [usage_map(conv(kernel_size), (9, 9, 1)) for kernel_size in (1, 3, 5)]
    np.testing.assert_array_equal(usage_map(block, (9, 9, 1)), sum(parts))
    pooled = Sequential(block, MaxPool2d(9))  # one window of the whole map
    np.testing.assert_array_equal(usage_map(pooled, (9, 9, 1)), sum(parts))
    module = Inception(1, conv1x1=1, reduce3x3=1, conv3x3=1, reduce5x5=1, conv5x5=1, pool_proj=1, rng=0)
    np.testing.assert_array_equal(usage_map(module, (9, 9, 1)), sum(parts) + parts[1])


def test_the_number_of_paths_is_the_gradient_of_a_network_of_ones() -> None:
    block = Residual(Sequential(conv(3, bias=False), conv(3, bias=False)), activation=None)
    model = Sequential(conv(3, bias=False), block, AvgPool2d(2), conv(3, bias=False))
    for parameter in model.parameters().values():
        parameter.assign(np.ones(parameter.shape, "float64"))
    gradient = tgl.grad(lambda x: model(x).sum())(np.ones((1, 8, 8, 1)))
    np.testing.assert_allclose(usage_map(model, (8, 8, 1)), 4 * gradient.numpy()[0, :, :, 0])  # the pool divides by 4


def test_other_connections_are_refused() -> None:
    model = WithAuxiliary({"a": conv(3), "b": conv(3)}, {"a": conv(5)})
    with pytest.raises(OptionError, match="another connection before 'b'"):
        usage_map(model, (8, 8, 1))
    np.testing.assert_array_equal(
        usage_map(model.eval(), (8, 8, 1)), usage_map(Sequential(conv(3), conv(3)), (8, 8, 1))
    )
    with pytest.raises(OptionError, match="whose size only windows change"):
        usage_map(Sequential(Pad2d(1), conv(3)), (8, 8, 1))
    with pytest.raises(OptionError, match="whose size only windows change"):
        usage_map(Conv2dTranspose(1, 1, kernel_size=2, stride=2, rng=0), (8, 8, 1))


def test_layers_without_a_usage_map_are_refused() -> None:
    with pytest.raises(OptionError, match="a layer with a window"):
        usage_map(Dense(3, 2, rng=0), (3,))
    with pytest.raises(OptionError, match="without dilation"):
        usage_map(Conv2d(1, 1, kernel_size=3, dilation=2, rng=0), (8, 8, 1))
