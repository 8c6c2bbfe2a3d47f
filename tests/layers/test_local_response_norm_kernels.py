"""Kernels of local response normalization, in NumPy and compiled, compared with the reference in double precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.backend import installed
from tinygrad_lab.kernels import using_threads
from tinygrad_lab_layers import LocalResponseNorm
from tinygrad_lab_layers.local_response_norm import kernels
from tinygrad_lab_layers.local_response_norm.layer import local_response_norm, local_response_norm_grad

compiled = pytest.param("numba", marks=pytest.mark.skipif(not installed("numba"), reason="needs Numba"))
either = pytest.mark.parametrize("provider", ["numpy", compiled])

OPTIONS = {"before": 2, "after": 2, "factor": 0.1, "beta": 0.75, "k": 2.0}
shapes = st.tuples(st.integers(1, 60), st.integers(1, 9), st.sampled_from([1, 2, 5, 16, 33, 96]))
options = st.fixed_dictionaries(
    {
        "before": st.integers(0, 6),
        "after": st.integers(0, 6),
        "factor": st.sampled_from([1e-4, 0.1, 2.0]),
        "beta": st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.6, 0.75, 1.0, 2.0, 3.25, 5.0]),
        "k": st.sampled_from([0.5, 1.0, 2.0]),
    }
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "BLOCK", 1 << 8)
    monkeypatch.setattr(kernels, "BLOCK_IN_NUMPY", 1 << 8)


def by_kernel(provider: str, operation: Any, *arrays: Any, **options: Any) -> Any:
    """Return the result of a provider's kernel, even if the arrays are small."""
    with using(providers=frozenset({provider})):
        (mine,) = operation.kernels.serving(np, list(arrays), options, any_size=True)
    return mine.run(*arrays, **options)


def numbers(shape: Any, seed: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(provider: str, operation: Any, *arrays: Any, **options: Any) -> None:
    got = by_kernel(provider, operation, *arrays, **options)
    exact = operation.forward(np, *(a.astype(np.float64) for a in arrays), **options)
    assert got.dtype == arrays[0].dtype
    scale = np.abs(exact).max() * np.finfo(got.dtype).eps / np.finfo(np.float32).eps
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-5 * scale)


@either
@given(shape=shapes, options=options, seed=st.integers(0, 99))
@example(shape=(3, 5, 2), options={**OPTIONS, "before": 6, "after": 5}, seed=0)
def test_any_shape_and_neighborhood(provider: str, shape: Any, options: Any, seed: int) -> None:
    for dtype in ("float32",) if provider == "numba" else ("float32", "float64"):
        x, g = numbers(shape, seed, dtype), numbers(shape, seed + 1, dtype)
        close(provider, local_response_norm, x, **options)
        close(provider, local_response_norm_grad, g, x, **options)


@either
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 0.0])
@pytest.mark.parametrize(("beta", "k"), [(0.75, 2.0), (0.6, 2.0), (0.75, 0.0), (2.0, 0.0)])
def test_nan_and_infinity_are_where_the_reference_has_them(
    provider: str, value: float, beta: float, k: float
) -> None:
    x, g = numbers((6, 20, 7), 0), numbers((6, 20, 7), 1)
    options = {**OPTIONS, "beta": beta, "k": k}
    x[2, 3, 4], x[4] = value, 0.0
    with np.errstate(all="ignore"):
        for operation, arrays in ((local_response_norm, (x,)), (local_response_norm_grad, (g, x))):
            got, expected = (
                by_kernel(provider, operation, *arrays, **options),
                operation.forward(np, *arrays, **options),
            )
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
        g[1, 2, 3] = value
        got = by_kernel(provider, local_response_norm_grad, g, x, **options)
        np.testing.assert_allclose(got, local_response_norm_grad.forward(np, g, x, **options), rtol=1e-4, atol=1e-6)


@either
def test_results_do_not_depend_on_the_number_of_threads(provider: str) -> None:
    x, g = numbers((50, 40, 7), 0), numbers((50, 40, 7), 1)
    found = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            found.append(
                [
                    by_kernel(provider, local_response_norm, x, **OPTIONS),
                    by_kernel(provider, local_response_norm_grad, g, x, **OPTIONS),
                ]
            )
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_results_do_not_depend_on_the_layout_of_arrays() -> None:
    pytest.importorskip("numba")
    x, g = numbers((50, 40, 7), 0), numbers((50, 40, 7), 1)
    locked = x.copy()
    locked.flags.writeable = False
    expected = by_kernel("numba", local_response_norm_grad, g, x, **OPTIONS)
    for same in (locked, np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2]):
        got = by_kernel("numba", local_response_norm_grad, g, same, **OPTIONS)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("convention", ["paper", "divided", "pytorch", "tensorflow"])
@pytest.mark.parametrize("provider", ["numpy", compiled])
def test_layers_and_their_gradients_use_the_kernels(provider: str, convention: str) -> None:
    layer = LocalResponseNorm(4, alpha=0.3, convention=convention)
    x = numbers((3, 20, 20, 12), 0)

    def loss(x: Any) -> Any:
        return tgl.sum(layer(x) * layer(x))

    operations = (local_response_norm, local_response_norm_grad)
    mine = [k for operation in operations for k in operation.kernels if k.provider == provider]
    before = [k.calls for k in mine]
    with using(providers=frozenset({provider})):
        found = tgl.value_and_grad(loss)(x)
    assert [k.calls - n for k, n in zip(mine, before, strict=True)] == [2, 2]
    with tgl.reference_only():
        for got, expected in zip(found, tgl.value_and_grad(loss)(x), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "x", [np.zeros((0, 9), "float32"), np.zeros((9, 9), "float32"), np.asfortranarray(np.ones((99, 99)))]
)
def test_empty_small_or_strided_arrays_use_the_reference(x: Any) -> None:
    before = [k.calls for k in local_response_norm.kernels]
    np.testing.assert_array_equal(local_response_norm(x, **OPTIONS), local_response_norm.forward(np, x, **OPTIONS))
    assert [k.calls for k in local_response_norm.kernels] == before


BOUNDS = """
import numpy as np
from tinygrad_lab.autograd.settings import using
from tinygrad_lab_layers.local_response_norm import kernels, layer
x = np.ones((2 * kernels.BLOCK, 7), "float32")  # full blocks
for before, after in ((2, 2), (0, 3), (3, 0), (9, 9)):
    options = dict(before=before, after=after, factor=0.1, beta=0.75, k=1.0)
    with using(providers=frozenset({"numba"})):
        layer.local_response_norm(x, **options)
        layer.local_response_norm_grad(x, x, **options)
"""


@pytest.mark.slow
def test_compiled_kernels_do_not_access_memory_outside_their_arrays(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    checked = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", BOUNDS], env=checked, check=True, timeout=300)
