"""The blocked NumPy kernels agree with the reference for every division of the batch into blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.kernels import using_tiles
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.numpy import blocks
from tinygrad_lab.kernels.threads import using_threads
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.linear import matmul_matrices
from tinygrad_lab.ops.pooling import max_pool2d, max_pool2d_grad, max_pool2d_values
from tinygrad_lab.ops.windows import places

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    kernel_size, stride, dilation, padding, groups = (
        draw(pairs), draw(pairs), draw(pairs), draw(pads), draw(st.sampled_from([1, 2])),
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.standard_normal((draw(st.integers(0, 5)), 8, 9, 2 * groups))
    w = rng.standard_normal((*kernel_size, 2, 3 * groups))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    g = rng.standard_normal((len(x), *places((8, 9), kernel_size, stride, padding, dilation), 3 * groups))
    return x, w, rng.standard_normal(3 * groups), g, options


def both(op: Any, *arrays: Any, **options: Any) -> tuple[Any, Any]:
    """Return the results of the kernel and of the reference."""
    with using(providers=frozenset({"numpy"})):
        result = op(*arrays, **options)
    return result, op.forward(np, *arrays, **options)


@given(case=convolutions(), block=st.sampled_from([1, 10_000, 1 << 20]), m=st.sampled_from([None, 0]))
def test_convolutions(case: tuple[Any, ...], block: int, m: int | None) -> None:
    x, w, b, g, options = case
    with pytest.MonkeyPatch.context() as patch, using_tiles(m):
        patch.setattr(blocks, "BLOCK_BYTES", block)
        for op, arrays, more in (
            (conv2d, (x, w, b), {}),
            (conv2d_relu, (x, w, None), {}),
            (conv2d_grad_x, (g, w), {"size": (8, 9)}),
            (conv2d_grad_w, (x, g), {"kernel_size": w.shape[:2]}),
        ):
            kernel, reference = both(op, *arrays, **more, **options)
            np.testing.assert_allclose(kernel, reference, rtol=1e-9, atol=1e-9)


@given(
    m=st.integers(2, 4),
    r=st.integers(2, 5),
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    padding=pads,
    count=st.integers(0, 5),
    block=st.sampled_from([1, 10_000, 1 << 20]),
)
def test_the_winograd_algorithm(m: int, r: int, size: Any, padding: Any, count: int, block: int) -> None:
    rng = np.random.default_rng(m + r)
    x, w, b = rng.standard_normal((count, *size, 3)), rng.standard_normal((r, r, 3, 2)), rng.standard_normal(2)
    g = rng.standard_normal((count, *places(size, (r, r), (1, 1), padding), 2))
    with pytest.MonkeyPatch.context() as patch, using_tiles(m):
        patch.setattr(blocks, "BLOCK_BYTES", block)
        for op, arrays, more in (
            (conv2d, (x, w, b), {}),
            (conv2d_relu, (x, w, None), {}),
            (conv2d_grad_x, (g, w), {"size": size}),
            (conv2d_grad_w, (x, g), {"kernel_size": (r, r)}),
        ):
            kernel, reference = both(op, *arrays, **more, padding=padding)
            np.testing.assert_allclose(kernel, reference, rtol=1e-9, atol=1e-9)


@given(kernel_size=pairs, stride=pairs, padding=pads, seed=st.integers(0, 999))
def test_max_pooling_with_ties_and_nan(kernel_size: Any, stride: Any, padding: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (3, 7, 6, 2)).astype(float)
    x[rng.random(x.shape) < 0.05] = np.nan
    padding = tuple(tuple(min(p, k - 1) for p in side) for side, k in zip(padding, kernel_size, strict=True))
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    for kernel, reference in zip(*both(max_pool2d, x, **options), strict=True):
        np.testing.assert_array_equal(kernel, reference)
    index = kernel
    np.testing.assert_array_equal(*both(max_pool2d_values, x, **options))
    g = rng.integers(-9, 9, index.shape).astype(float)
    np.testing.assert_array_equal(*both(max_pool2d_grad, g, index, size=(7, 6), **options))


def test_a_maximum_at_the_last_of_256_elements() -> None:
    x = np.arange(256.0).reshape(1, 16, 16, 1)
    (_, index), _ = both(max_pool2d, x, kernel_size=(16, 16), stride=(1, 1), padding=((0, 0), (0, 0)))
    assert index.item() == 255


def test_the_kernels_run_by_default_and_can_be_switched_off() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 5, 5, 1)), rng.standard_normal((3, 3, 1, 2))
    kernel = next(k for k in conv2d.kernels if k.provider == "numpy")
    before = kernel.calls
    conv2d(x, w, None)
    assert kernel.calls == before + 1  # float64 has no compiled kernel
    with tgl.reference_only():
        conv2d(x, w, None)
    assert kernel.calls == before + 1


def test_a_window_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="conv2d: expected a map of at least 3x3"):
        conv2d(np.zeros((1, 2, 2, 1)), np.zeros((3, 3, 1, 1)), None)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, "float32") for shape in ((9, 12, 12, 3), (3, 3, 3, 4)))
    g = rng.standard_normal((9, 10, 10, 4), "float32")
    results = []
    for threads in (1, 2, 3):
        with pytest.MonkeyPatch.context() as patch, using_threads(threads):
            patch.setattr(blocks, "BLOCK_BYTES", 30_000)
            results.append([both(conv2d, x, w, None)[0], both(conv2d_grad_w, x, g, kernel_size=(3, 3))[0]])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_the_threads_of_blas_are_restored() -> None:
    from threadpoolctl import ThreadpoolController

    before = [c["num_threads"] for c in ThreadpoolController().info() if c["user_api"] == "blas"]
    with one_blas_thread(), one_blas_thread():
        inside = [c["num_threads"] for c in ThreadpoolController().info() if c["user_api"] == "blas"]
    assert set(inside) == {1}
    assert [c["num_threads"] for c in ThreadpoolController().info() if c["user_api"] == "blas"] == before


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_images_of_integers_use_the_reference(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 2, (1, 6, 6, 3)).astype(dtype), rng.standard_normal((3, 3, 3, 2), "float32")
    y = conv2d(x, w, None)
    np.testing.assert_allclose(y, conv2d(x.astype("float32"), w, None), rtol=1e-5, atol=1e-5)
    assert y.dtype.kind == "f"


def test_every_product_runs_with_one_blas_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    seen: list[int] = []

    def matmul(*args: Any, **options: Any) -> Any:
        seen.extend(c["num_threads"] for c in controller.info() if c["user_api"] == "blas")
        return multiply(*args, **options)

    multiply = np.matmul
    monkeypatch.setattr(np, "matmul", matmul)
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s, "float32") for s in ((4, 12, 12, 8), (3, 3, 8, 8), (4, 12, 12, 8)))
    options: Any = {"padding": ((1, 1), (1, 1))}
    with using(providers=frozenset({"numpy"})):
        for m in (0, 4):
            with using_tiles(m):
                conv2d(x, w, None, **options)
                conv2d_grad_x(g, w, size=(12, 12), **options)
                conv2d_grad_w(x, g, kernel_size=(3, 3), **options)
        matmul_matrices(x.reshape(4 * 12, -1), w.reshape(96, -1))
    assert set(seen) == {1}
