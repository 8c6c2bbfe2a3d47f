"""Kernels of softmax cross entropy, in NumPy and compiled, compared with the reference in double precision."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.backend import installed
from tinygrad_lab.kernels import using_threads
from tinygrad_lab.losses import kernels, softmax_cross_entropy
from tinygrad_lab.losses.classification import cross_entropy, cross_entropy_grad

compiled = pytest.param("numba", marks=pytest.mark.skipif(not installed("numba"), reason="needs Numba"))
either = pytest.mark.parametrize("provider", ["numpy", compiled])

batches = st.sampled_from([(), (1,), (2, 3), (150,)])
classes = st.sampled_from([1, 2, 3, 10, 31, 100])
smoothings = st.sampled_from([0.0, 0.1, 0.75])
seeds = st.integers(0, 99)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "BLOCK", 1 << 7)


def by_kernel(provider: str, operation: Any, *arrays: Any, **options: Any) -> Any:
    """Return the result of a provider's kernel, even if the arrays are small."""
    with using(providers=frozenset({provider})):
        (mine,) = operation.kernels.serving(np, list(arrays), options, any_size=True)
    return mine.run(*arrays, **options)


def drawn(shape: tuple[int, ...], k: int, seed: int, dtype: str = "float32") -> tuple[Any, Any, Any, Any]:
    """Draw cotangents, logits, labels, and probabilities, some of which are 0."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(k, 0.5), shape) * (rng.random((*shape, k)) < 0.7)
    g, x = rng.normal(size=shape), 3 * rng.normal(size=(*shape, k))
    return np.asarray(g, dtype), x.astype(dtype), np.asarray(rng.integers(0, k, shape)), shares.astype(dtype)


def wide(array: Any) -> Any:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def close(provider: str, operation: Any, *arrays: Any, **options: Any) -> None:
    """Compare a kernel with its reference in double precision, with more tolerance if the reference itself cancels."""
    got, own = by_kernel(provider, operation, *arrays, **options), operation.forward(np, *arrays, **options)
    exact = operation.forward(np, *map(wide, arrays), **options)
    assert got.dtype == arrays[0].dtype
    assert got.shape == exact.shape
    declared = 1e-5 * np.finfo(got.dtype).eps / np.finfo(np.float32).eps
    tolerance = declared * np.abs(exact).max() + 3 * np.abs(own - exact).max() + np.finfo(got.dtype).eps
    np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance)


@either
@given(shape=batches, k=classes, smoothing=smoothings, seed=seeds, kind=st.sampled_from(["uint8", "int32", "int64"]))
def test_kernels_for_labels(provider: str, shape: Any, k: int, smoothing: float, seed: int, kind: str) -> None:
    for dtype in ("float32",) if provider == "numba" else ("float32", "float64"):
        g, x, labels, _ = drawn(shape, k, seed, dtype)
        close(provider, cross_entropy, x, labels.astype(kind), smoothing=smoothing)
        close(provider, cross_entropy_grad, g, x, labels.astype(kind), smoothing=smoothing)


@given(shape=batches, k=classes, smoothing=smoothings, seed=seeds)
def test_kernels_for_probabilities(shape: Any, k: int, smoothing: float, seed: int) -> None:
    pytest.importorskip("numba")
    g, x, _, shares = drawn(shape, k, seed)
    close("numba", cross_entropy, x, shares, smoothing=smoothing)
    close("numba", cross_entropy_grad, g, x, shares, smoothing=smoothing)


@either
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nan_and_infinity_are_where_the_reference_has_them(provider: str, value: float, smoothing: float) -> None:
    g, x, labels, shares = drawn((6,), 20, 0)
    x[1, 7] = x[2, labels[2]] = x[3] = value
    g[4] = value
    with np.errstate(all="ignore"):
        for target in (labels, shares) if provider == "numba" else (labels,):
            for operation, arrays in ((cross_entropy, (x, target)), (cross_entropy_grad, (g, x, target))):
                expected = operation.forward(np, *arrays, smoothing=smoothing)
                got = by_kernel(provider, operation, *arrays, smoothing=smoothing)
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@either
def test_a_constant_added_to_all_logits_costs_no_digits(provider: str) -> None:
    g, x, labels, _ = drawn((40,), 33, 0)
    x = np.round(x * 16) / 16
    for operation, arrays in ((cross_entropy, ()), (cross_entropy_grad, (g,))):
        for smoothing in (0.0, 0.1):
            near, far = (
                by_kernel(provider, operation, *arrays, at, labels, smoothing=smoothing) for at in (x, x + 65536)
            )
            np.testing.assert_array_equal(near, far)


def test_nan_in_probabilities_reaches_the_result() -> None:
    pytest.importorskip("numba")
    g, x, _, shares = drawn((3,), 5, 0)
    shares[1, 2] = np.nan
    assert np.isnan(by_kernel("numba", cross_entropy, x, shares)).tolist() == [False, True, False]
    assert np.isnan(by_kernel("numba", cross_entropy_grad, g, x, shares)).any(axis=1).tolist() == [False, True, False]


@functools.cache
def stored_powers() -> Any:
    """Return a compiled function (x, out, peak) that stores powers and returns their sum."""
    numba = pytest.importorskip("numba")
    from tinygrad_lab.kernels.numba.loops.memory import address
    from tinygrad_lab.kernels.numba.loops.sums import store_powers

    @numba.njit
    def stored(x: Any, out: Any, peak: Any) -> Any:
        return store_powers(x.size, address(x), address(out), peak)

    return stored


def test_powers_are_exact_to_2e_6_and_zero_far_below() -> None:
    stored = stored_powers()
    x = np.linspace(-86, 0, 999, dtype=np.float32)
    out = np.empty_like(x)
    stored(x, out, np.float32(0))
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=2e-6)
    special, out = np.array([0.0, -88.0, -np.inf, np.nan], np.float32), np.empty(4, np.float32)
    assert np.isnan(stored(special, out, np.float32(0)))
    np.testing.assert_array_equal(out, [1.0, 0.0, 0.0, np.nan])


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 1000])
def test_sums_are_added_in_32_lanes_that_are_folded_in_halves(count: int) -> None:
    stored = stored_powers()
    x, room = np.random.default_rng(0).standard_normal(count, np.float32), np.full(count + 1, 7, np.float32)
    total = stored(x, room[:count], np.float32(5))
    lanes = np.zeros(32, np.float32)
    for k in range(count):
        lanes[k % 32] += room[k]
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    assert total == lanes[0]
    assert room[count] == 7


@either
def test_results_do_not_depend_on_layouts_and_threads(provider: str) -> None:
    g, x, labels, _ = drawn((150,), 37, 0)
    locked = x.copy()
    locked.flags.writeable = False

    def results(x: Any) -> list[Any]:
        return [by_kernel(provider, cross_entropy, x, labels), by_kernel(provider, cross_entropy_grad, g, x, labels)]

    expected = results(x)
    others = [locked, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]]
    for threads in (1, 2, 3):
        for same in others if provider == "numba" else others[:1]:
            with using_threads(threads):
                for got, wanted in zip(results(same), expected, strict=True):
                    np.testing.assert_array_equal(got, wanted)


@either
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_and_its_gradient_use_the_kernels(provider: str, smoothing: float) -> None:
    _, x, labels, _ = drawn((150,), 100, 0)
    mine = [k for op in (cross_entropy, cross_entropy_grad) for k in op.kernels if k.provider == provider]
    before = [k.calls for k in mine]
    take = tgl.value_and_grad(lambda x: softmax_cross_entropy(x, labels, label_smoothing=smoothing))
    with using(providers=frozenset({provider})):
        found = take(x)
    assert [k.calls - n for k, n in zip(mine, before, strict=True)] == [1, 1]
    with tgl.reference_only():
        for got, expected in zip(found, take(x), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_empty_arrays_and_other_cases_use_the_reference() -> None:
    before = [k.calls for op in (cross_entropy, cross_entropy_grad) for k in op.kernels]
    x, labels = np.zeros((0, 3), "float32"), np.zeros(0, int)
    assert softmax_cross_entropy(x, labels, reduction="none").shape == (0,)
    _, x, labels, shares = drawn((9,), 100, 0, "float64")
    softmax_cross_entropy(np.asfortranarray(x), labels)
    softmax_cross_entropy(x, shares)
    softmax_cross_entropy(x.astype("float32"), labels, label_smoothing=1.0)
    assert [k.calls for op in (cross_entropy, cross_entropy_grad) for k in op.kernels] == before
