"""Compiled pooling compared with the reference: ties, NaN, infinities, padding, layouts, numbers of threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.kernels import using_threads
from tinygrad_lab.ops.pooling import (
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_take,
    max_pool2d_values,
    sum_pool2d,
    sum_pool2d_grad,
)
from tinygrad_lab.ops.windows import places

pytest.importorskip("numba")

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
pads = st.tuples(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * 2)
channels = st.sampled_from([1, 3, 16, 21, 70])


def compiled(op: Any, *arrays: Any, **options: Any) -> Any:
    before = op.kernels[0].calls
    with using(providers=frozenset({"numba"})):
        result = op(*arrays, **options)
    assert op.kernels[0].calls == before + 1
    return result


def images(size: Any, count: int, seed: int) -> Any:
    """Return small whole numbers with many ties; some are replaced with NaN or minus infinity."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (3, *size, count)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.05] = -np.inf
    return x


@given(size=pairs, kernel_size=pairs, stride=pairs, padding=pads, count=channels, seed=st.integers(0, 99))
@example(
    size=(1, 1), kernel_size=(1, 1), stride=(1, 1), padding=((4, 0), (0, 4)), count=3, seed=0
)  # windows in the padding alone
@example(size=(16, 16), kernel_size=(16, 16), stride=(1, 1), padding=((0, 1), (0, 1)), count=1, seed=0)  # 256 elements
def test_max_pooling_and_its_adjoints(
    size: Any, kernel_size: Any, stride: Any, padding: Any, count: int, seed: int
) -> None:
    size = tuple(max(n, k - sum(p)) for n, k, p in zip(size, kernel_size, padding, strict=True))
    x, options = images(size, count, seed), {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    out, index = compiled(max_pool2d, x, **options)
    expected, places_of_it = max_pool2d.forward(np, x, **options)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(index, places_of_it)
    np.testing.assert_array_equal(compiled(max_pool2d_values, x, **options), expected)
    inside = out > -math.inf  # the maximum of a window in the padding alone belongs to no pixel
    g = np.where(inside, np.random.default_rng(seed).integers(-9, 9, out.shape), 0).astype(np.float32)
    index = np.where(inside, index, places_in(size, kernel_size, stride, padding)[None, :, :, None]).astype(np.uint8)
    np.testing.assert_array_equal(
        compiled(max_pool2d_grad, g, index, size=size, **options),
        max_pool2d_grad.forward(np, g, index, size=size, **options),
    )
    np.testing.assert_array_equal(
        compiled(max_pool2d_take, x, index, **options), max_pool2d_take.forward(np, x, index, **options)
    )


def places_in(size: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    """Return an index in each window, of an element inside of the image if there is one."""
    rows, columns = (
        np.maximum(0, before - np.arange(many) * step)
        for many, step, (before, _) in zip(places(size, kernel_size, stride, padding), stride, padding, strict=True)
    )
    rows, columns = np.minimum(rows, kernel_size[0] - 1), np.minimum(columns, kernel_size[1] - 1)
    return rows[:, None] * kernel_size[1] + columns


def test_a_gradient_into_the_padding_is_dropped() -> None:
    options: Any = {"kernel_size": (2, 2), "stride": (1, 1), "padding": ((1, 1), (1, 1))}
    g, index = np.ones((1, 3, 3, 2), np.float32), np.zeros((1, 3, 3, 2), np.uint8)
    expected = max_pool2d_grad.forward(np, g, index, size=(2, 2), **options)
    np.testing.assert_array_equal(compiled(max_pool2d_grad, g, index, size=(2, 2), **options), expected)


@given(size=pairs, kernel_size=pairs, stride=pairs, padding=pads, count=channels, seed=st.integers(0, 99))
def test_sum_pooling_and_its_adjoint(
    size: Any, kernel_size: Any, stride: Any, padding: Any, count: int, seed: int
) -> None:
    size = tuple(max(n, k - sum(p)) for n, k, p in zip(size, kernel_size, padding, strict=True))
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    x = np.random.default_rng(seed).integers(-9, 9, (3, *size, count)).astype(np.float32)
    out = compiled(sum_pool2d, x, **options)
    np.testing.assert_array_equal(out, sum_pool2d.forward(np, x, **options))
    np.testing.assert_array_equal(
        compiled(sum_pool2d_grad, out, size=size, **options), sum_pool2d_grad.forward(np, out, size=size, **options)
    )


def test_results_do_not_depend_on_layouts_and_threads() -> None:
    options: Any = {"kernel_size": (3, 3), "stride": (2, 2), "padding": ((0, 1), (1, 0))}
    x = images((9, 8), 20, 0)
    expected = compiled(max_pool2d, x, **options)
    locked = x.copy()
    locked.flags.writeable = False
    for threads in (1, 2, 3):
        for same in (locked, np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2]):
            with using_threads(threads):
                for got, wanted in zip(compiled(max_pool2d, same, **options), expected, strict=True):
                    np.testing.assert_array_equal(got, wanted)


def test_double_precision_and_empty_arrays_do_not_use_the_compiled_kernel() -> None:
    options: Any = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    before = max_pool2d.kernels[0].calls
    assert max_pool2d(np.zeros((1, 4, 4, 1)), **options)[0].dtype == np.float64
    assert max_pool2d(np.zeros((0, 4, 4, 1), np.float32), **options)[0].shape == (0, 2, 2, 1)
    assert max_pool2d.kernels[0].calls == before


def test_the_largest_window_that_an_8_bit_index_allows() -> None:
    x = np.arange(512, dtype=np.float32).reshape(1, 1, 512, 1)
    options = {"kernel_size": (1, 256), "stride": (1, 256), "padding": ((0, 0), (0, 0))}
    with using(providers=frozenset({"numpy"})):
        out, index = max_pool2d(x, **options)
    assert out.ravel().tolist() == [255.0, 511.0]
    assert index.ravel().tolist() == [255, 255]
