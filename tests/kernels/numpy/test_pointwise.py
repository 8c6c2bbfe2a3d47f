"""The blocked NumPy kernels of elementwise operations and matrix products agree with the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.autograd.settings import using
from tinygrad_lab.kernels import using_threads
from tinygrad_lab.kernels.numpy import pointwise
from tinygrad_lab.ops.activation import add_relu, relu, relu_grad
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.linear import matmul_matrices
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)
from tinygrad_lab.optim.updates import momentum_update

OPS = (relu, relu_grad, dropout, batch_norm, centered_sums, channel_affine, blend, matmul_matrices)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 9))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "BLOCK", 64)
    monkeypatch.setattr(pointwise, "WIDTH", 16)


def kernel(op: Any, *arrays: Any, **options: Any) -> Any:
    """Return the result of the NumPy kernel, even if the arrays are small."""
    with using(providers=frozenset({"numpy"})):
        (mine,) = op.kernels.serving(np, list(arrays), options, any_size=True)
    return mine.run(*arrays, **options)


def close(op: Any, *arrays: Any, **options: Any) -> None:
    got, expected = kernel(op, *arrays, **options), op.forward(np, *arrays, **options)
    for a, b in zip(got, expected, strict=True) if isinstance(got, tuple) else [(got, expected)]:
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@given(shape=shapes, dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 99))
def test_elementwise_operations(shape: Any, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    x[rng.random(shape) < 0.1], g[rng.random(shape) < 0.1] = np.nan, np.inf
    np.testing.assert_array_equal(kernel(relu, x), relu.forward(np, x))
    np.testing.assert_array_equal(kernel(relu_grad, g, x), relu_grad.forward(np, g, x))
    np.testing.assert_array_equal(kernel(add_relu, g, x), add_relu.forward(np, g, x))
    options = {"key": seed - 50, "rate": 0.3}
    np.testing.assert_array_equal(kernel(dropout, x, **options), dropout.forward(np, x, **options))


@given(shape=shapes, seed=st.integers(0, 99))
def test_normalization(shape: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, g, (scale, shift, mean, a, b, c) = (
        rng.standard_normal(shape),
        rng.standard_normal(shape),
        rng.standard_normal((6, shape[2])),
    )
    close(batch_norm, x, scale, shift, eps=1e-3)
    close(batch_norm_relu, x, scale, shift, eps=1e-3)
    close(centered_sums, g, x, mean)
    close(channel_affine, x, mean, scale, shift)
    close(channel_affine_relu, x, mean, scale, shift)
    close(blend, g, x, mean, a, b, c)


@given(shape=shapes, seed=st.integers(0, 99), nesterov=st.booleans(), weight_decay=st.sampled_from([0.0, 5e-4]))
def test_momentum(shape: Any, seed: int, nesterov: bool, weight_decay: float) -> None:
    p, g, v = np.random.default_rng(seed).standard_normal((3, *shape))
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": weight_decay}
    own, before = v.copy(), p.copy()
    np.testing.assert_allclose(
        kernel(momentum_update, p, g, own, **options), momentum_update.forward(np, p, g, v, **options)
    )
    np.testing.assert_allclose(own, v)
    np.testing.assert_array_equal(p, before)


@pytest.mark.parametrize("shape", [(130, 70, 130), (2, 9000, 100), (9000, 2, 100), (300, 300, 12)])
def test_products_of_large_matrices(shape: Any) -> None:
    rng = np.random.default_rng(0)
    n, k, m = shape
    x, y = rng.standard_normal((n, k)), rng.standard_normal((k, m))
    close(matmul_matrices, x, y)
    close(matmul_matrices, np.asfortranarray(x), y)
    close(matmul_matrices, x, np.asfortranarray(y))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((50, 40, 7), "float32") for _ in range(2))
    (scale, shift), (left, right) = (
        rng.standard_normal((2, 7), "float32"),
        rng.standard_normal((2, 300, 300), "float32"),
    )
    found = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            found.append(
                [
                    *kernel(batch_norm, x, scale, shift, eps=1e-3),
                    *kernel(centered_sums, g, x, scale),
                    kernel(dropout, x, key=5, rate=0.5),
                    kernel(matmul_matrices, left, right),
                ]
            )
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_arrays_that_are_not_contiguous_use_the_reference() -> None:
    x = np.asfortranarray(np.zeros((70, 60, 70)))
    before = [k.calls for op in OPS for k in op.kernels]
    relu(x)
    relu_grad(np.zeros(x.shape), x)
    batch_norm(x, np.zeros(70), np.zeros(70), eps=1.0)
    relu(np.zeros((5, 6), int))
    assert [k.calls for op in OPS for k in op.kernels] == before


def test_arrays_that_are_too_small_for_threads_use_the_reference() -> None:
    x = np.zeros((5, 6, 7))
    before = [k.calls for op in OPS for k in op.kernels]
    relu(x)
    batch_norm(x, np.zeros(7), np.zeros(7), eps=1.0)
    assert [k.calls for op in OPS for k in op.kernels] == before


@pytest.mark.parametrize("provider", ["numpy", "numba"])
def test_a_large_mean_does_not_cancel_the_variance(provider: str) -> None:
    if provider == "numba":
        pytest.importorskip("numba")
    x = (1000 + np.random.default_rng(0).integers(-64, 65, (50, 20, 20, 8)) / 64).astype("float32")
    mean, factor, shift = np.full(8, 1000, "float32"), np.full(8, 3.0, "float32"), np.zeros(8, "float32")
    with using(providers=frozenset({provider})):
        y = channel_affine(x, mean, factor, shift)
    np.testing.assert_array_equal(y, (x.astype("float64") - 1000) * 3)


def test_half_precision_uses_the_reference() -> None:
    """Sums of float16 need a wider type, which NumPy's mean uses by itself."""
    x = (100 + np.random.default_rng(0).standard_normal((64, 32, 32, 4))).astype("float16")
    y, *_ = batch_norm(x, np.ones(4, "float16"), np.zeros(4, "float16"), eps=1e-5)
    exact, *_ = batch_norm.forward(np, x.astype("float64"), np.ones(4), np.zeros(4), eps=1e-5)
    np.testing.assert_allclose(y, exact, atol=0.1)
