"""Compiled sums, normalization, activations, dropout and updates, compared with their references."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.kernels import using_threads
from tinygrad_lab.ops.activation import add_relu, relu, relu_grad
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.optim.updates import momentum_update

pytest.importorskip("numba")

shapes = st.tuples(st.integers(1, 40), st.integers(250, 400), st.sampled_from([1, 3, 16, 37, 64, 150]))
seeds = st.integers(0, 99)


def compiled(op: Any, *arrays: Any, **options: Any) -> Any:
    before = op.kernels[0].calls
    with using(providers=frozenset({"numba"})):
        result = op(*arrays, **options)
    assert op.kernels[0].calls == before + 1
    return result


def close(op: Any, *arrays: Any, least_scale: float = 0.0, **options: Any) -> None:
    """Compare a kernel with its reference in double precision; errors are relative to the size of the result."""
    result, reference = (
        compiled(op, *arrays, **options),
        op.forward(np, *(a.astype(np.float64) for a in arrays), **options),
    )
    pairs = [(result, reference)] if len(op.outputs) == 1 else zip(result, reference, strict=True)
    for got, expected in pairs:
        assert got.dtype == np.float32
        scale = max(expected.std(), np.abs(expected).max() / 10, least_scale)
        assert np.abs(got - expected).max() <= op.kernels[0].error_bound * scale


def numbers(shape: Any, seed: int, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape, np.float32) + np.float32(shift)


def large(shape: Any) -> Any:
    return (1 << 13, *shape[1:]) if shape[2] == 1 else (max(shape[0], 33), *shape[1:])


@given(shape=shapes, seed=seeds, keepdims=st.booleans())
def test_sums(shape: Any, seed: int, keepdims: bool) -> None:
    x = np.abs(numbers(large(shape), seed))
    close(sum_axes, x, axes=(0, 1), keepdims=keepdims)
    close(sum_axes, x[:, :200].copy(), axes=(1,), keepdims=keepdims)


@given(shape=shapes, seed=seeds, shift=st.sampled_from([0.0, 3.0]))
def test_batch_normalization(shape: Any, seed: int, shift: float) -> None:
    shape = large(shape)
    x, g = numbers(shape, seed, shift), numbers(shape, seed + 1)
    scale, offset, mean, a, b, c = numbers((6, shape[-1]), seed + 2)
    close(batch_norm, x, scale, offset, eps=1e-5, least_scale=1.0)  # a mean may be nearly 0
    close(batch_norm_relu, x, scale, offset, eps=1e-5, least_scale=1.0)
    close(centered_sums, g, x, mean + np.float32(shift), least_scale=math.sqrt(g.size / len(mean)))  # they may cancel
    close(channel_affine, x, mean, scale, offset)
    close(channel_affine_relu, x, mean, scale, offset)
    close(blend, g, x, mean, a, b, c)


def test_a_large_mean_does_not_cancel_the_variance() -> None:
    x = numbers((100, 100, 16), 0, 1000.0)
    variance = compiled(batch_norm, x, np.ones(16, np.float32), np.zeros(16, np.float32), eps=1e-5)[2]
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=(0, 1)), rtol=1e-4)


@given(shape=shapes, seed=seeds)
def test_activations(shape: Any, seed: int) -> None:
    x, g = numbers(large(shape), seed), numbers(large(shape), seed + 1)
    x[0, 0], x[0, 1] = np.nan, np.inf
    np.testing.assert_array_equal(compiled(relu, x), relu.forward(np, x))
    np.testing.assert_array_equal(compiled(relu_grad, g, x), relu_grad.forward(np, g, x))
    np.testing.assert_array_equal(compiled(add_relu, g, x), add_relu.forward(np, g, x))


@given(shape=shapes, key=st.integers(-(2**70), 2**70), rate=st.floats(0, 0.99))
def test_dropout_draws_the_same_numbers(shape: Any, key: int, rate: float) -> None:
    x = numbers(large(shape), 0)
    x[0, 0, 0] = np.nan
    np.testing.assert_array_equal(compiled(dropout, x, key=key, rate=rate), dropout.forward(np, x, key=key, rate=rate))


@given(seed=seeds, nesterov=st.booleans(), weight_decay=st.sampled_from([0.0, 5e-4]))
def test_momentum(seed: int, nesterov: bool, weight_decay: float) -> None:
    p, g, v = numbers((3, 40_000), seed)
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": weight_decay}
    own, before = v.copy(), p.copy()
    exact = v.astype(np.float64)
    expected = momentum_update.forward(np, p.astype(np.float64), g.astype(np.float64), exact, **options)
    np.testing.assert_allclose(compiled(momentum_update, p, g, own, **options), expected, atol=1e-6)
    np.testing.assert_allclose(own, exact, atol=1e-6)
    np.testing.assert_array_equal(p, before)


def test_results_do_not_depend_on_layouts_and_threads() -> None:
    x, g = numbers((50, 300, 20), 0), numbers((50, 300, 20), 1)
    channels = numbers((2, 20), 2)
    locked = x.copy()
    locked.flags.writeable = False

    def results(x: Any) -> list[Any]:
        return [
            *compiled(batch_norm, x, *channels, eps=1e-5),
            *compiled(centered_sums, g, x, channels[0]),
            compiled(sum_axes, x, axes=(0, 1)),
            compiled(relu_grad, g, x),
            compiled(dropout, x, key=7, rate=0.5),
        ]

    expected = results(x)
    for threads in (1, 2, 3):
        for same in (locked, np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2]):
            with using_threads(threads):
                for got, wanted in zip(results(same), expected, strict=True):
                    np.testing.assert_array_equal(got, wanted)


def test_a_vector_uses_the_reference() -> None:
    """The only axis of a vector must not be taken for one before the last."""
    options = {"axes": (-1,), "keepdims": True}
    assert list(sum_axes.kernels.serving(np, [np.ones(4, "float32")], options, any_size=True)) == []


@pytest.mark.parametrize("x", [np.zeros((99, 99, 9)), np.zeros((0, 9), np.float32), np.zeros((2, 2), np.float32)])
def test_double_precision_and_small_arrays_do_not_use_the_compiled_kernels(x: Any) -> None:
    before = [op.kernels[0].calls for op in (relu, sum_axes, batch_norm)]
    assert relu(x).dtype == x.dtype
    assert sum_axes(x, axes=(0,)).shape == x.shape[1:]
    if x.size:
        batch_norm(x, x[0].reshape(-1)[: x.shape[-1]], x[0].reshape(-1)[: x.shape[-1]], eps=1.0)
    assert [op.kernels[0].calls for op in (relu, sum_axes, batch_norm)] == before
