"""Raw kernels, compiled for the processor, compared with the reference forwards: indices, edges and NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.gpu.simulated import THEMES, fake, needs_a_compiler, simulated_gpu, to_device, to_host
from tests.house.source import package_files
from tests.strict_device import everywhere
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.trees import flatten
from tinygrad_lab.backend import random_bits, random_number
from tinygrad_lab.conformance.properties.kernels import compare_kernel
from tinygrad_lab.data.augment.warp import FILLS, warp
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.kernels.cupy import launch, normalization, pointwise, pooling
from tinygrad_lab.losses.classification import cross_entropy, cross_entropy_grad
from tinygrad_lab.ops.activation import log_softmax, relu, relu_grad, softmax
from tinygrad_lab.ops.dropping import dropout, keys_in_step
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)
from tinygrad_lab.ops.pooling import max_pool2d, max_pool2d_grad, max_pool2d_take, sum_pool2d, sum_pool2d_grad
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.ops.shaping import concatenate_parts
from tinygrad_lab.ops.windows import places
from tinygrad_lab.optim import updates
from tinygrad_lab_layers.local_response_norm.layer import channel_sum, local_response_norm, local_response_norm_grad

pytestmark = needs_a_compiler
DTYPES = st.sampled_from(["float16", "float32", "float64"])
SEEDS = st.integers(0, 2**32 - 1)


def agrees(primitive: Primitive, *values: Any, **options: Any) -> list[np.ndarray]:
    """Compare the kernel for CuPy with the reference in float64 and in the arrays' own width; return its results."""
    with simulated_gpu():
        there = [to_device(v) if isinstance(v, np.ndarray) else v for v in values]
        (kernel,) = [k for k in primitive.kernels.serving(fake, there, options, any_size=True) if k.provider == "cupy"]
        found = [to_host(out) for out in flatten(kernel.run(*there, **options))[0]]
    with np.errstate(all="ignore"):
        own = primitive.forward(np, *values, **options)
        wide = [v.astype("float64") if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for v in values]
        exact = primitive.forward(np, *wide, **options)
        sizes = [abs(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for v in wide]
        size = primitive.forward(np, *sizes, **options)
    for got, *expected in zip(found, *(flatten(t)[0] for t in (exact, own, size)), strict=True):
        compare_kernel(str(primitive), kernel, got, *(np.asarray(e) for e in expected))
        if got.dtype.kind == "f":
            lost = np.isfinite(got) & np.isnan(np.asarray(expected[1]))
            assert not lost.any(), "NaN is lost"
    return found


def drawn(seed: int, shape: tuple[int, ...], dtype: str, *, spoil: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.uniform(-2, 2, shape).astype(dtype)
    if spoil and values.size:
        values.reshape(-1)[rng.integers(values.size)] = rng.choice([np.nan, np.inf, -np.inf])
    return values


@given(DTYPES, SEEDS, st.integers(1, 40), st.booleans())
def test_relu_and_its_gradient(dtype: str, seed: int, n: int, spoil: bool) -> None:
    x, g = drawn(seed, (n, 3), dtype, spoil=spoil), drawn(seed + 1, (n, 3), dtype)
    agrees(relu, x)
    agrees(relu_grad, g, np.maximum(x, 0))


@given(SEEDS, st.integers(1, 6), st.integers(1, 5), st.booleans(), st.booleans())
def test_a_bias_and_relu(seed: int, rows: int, channels: int, clip: bool, with_bias: bool) -> None:
    y, bias = drawn(seed, (rows, 2, channels), "float32", spoil=True), drawn(seed + 1, (channels,), "float32")
    with simulated_gpu(), np.errstate(invalid="ignore"):
        there = fake.array(to_device(y))
        pointwise.bias_relu(there, to_device(bias) if with_bias else None, clip=clip)
        expected = y + bias if with_bias else y
        np.testing.assert_array_equal(to_host(there), np.maximum(expected, 0) if clip else expected)


@given(
    DTYPES, SEEDS, st.integers(1, 4), st.sampled_from([(), (1,), (1, 2), (0,), (2, 3), (0, 1, 2, 3)]), st.floats(0, 0.9)
)
def test_dropout_draws_the_same_mask_as_the_reference(
    dtype: str, seed: int, n: int, shared: tuple[int, ...], rate: float
) -> None:
    x = drawn(seed, (n, 2, 3, 2), dtype)
    (got,) = agrees(dropout, x, key=seed * 2**31 - 7, rate=rate, shared=shared)
    np.testing.assert_array_equal(got == 0, dropout.forward(np, x, key=seed * 2**31 - 7, rate=rate, shared=shared) == 0)


def test_dropout_accepts_a_key_on_the_device() -> None:
    x, key = np.ones((50, 3), "float32"), np.uint64(2**63 + 5)
    with simulated_gpu():
        there = to_device(np.array(key))
        kernel = next(k for k in dropout.kernels if k.provider == "cupy")
        got = to_host(kernel.run(to_device(x), key=there, rate=0.5))
    np.testing.assert_array_equal(got, dropout.forward(np, x, key=int(key), rate=0.5))
    np.testing.assert_array_equal(got, to_host(dropout.forward(fake, to_device(x), key=there, rate=0.5)))


@st.composite
def windows(draw: st.DrawFn, *, most_padding: bool = False) -> dict[str, Any]:
    """Options of a pooling that fits its image, with a different padding on each side."""
    size = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    kernel_size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    most = [k - 1 + (k if most_padding else 0) for k in kernel_size]
    padding = tuple((draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most)
    for axis in (0, 1):
        if size[axis] + sum(padding[axis]) < kernel_size[axis]:
            size = tuple(kernel_size[a] if a == axis else size[a] for a in (0, 1))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return {"size": size, "kernel_size": kernel_size, "stride": stride, "padding": padding}


def maps_of(how: dict[str, Any]) -> tuple[int, int]:
    return places(how["size"], how["kernel_size"], how["stride"], how["padding"])


def without_size(how: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in how.items() if key != "size"}


@given(DTYPES, SEEDS, st.integers(1, 3), st.integers(1, 3), windows(), st.booleans())
@example(
    "float32", 0, 1, 1, {"size": (5, 5), "kernel_size": (3, 3), "stride": (2, 2), "padding": ((0, 0), (0, 0))}, True
)
def test_max_pooling(dtype: str, seed: int, n: int, c: int, how: dict[str, Any], spoil: bool) -> None:
    x = drawn(seed, (n, *how["size"], c), dtype, spoil=spoil)
    x = np.round(x) if seed % 2 else x  # ties
    _, index = agrees(max_pool2d, x, **without_size(how))
    agrees(max_pool2d_grad, drawn(seed, index.shape, dtype), index, **how)
    agrees(max_pool2d_take, drawn(seed, x.shape, dtype), index, **without_size(how))


@given(DTYPES, SEEDS, st.integers(1, 3), st.integers(1, 3), windows(most_padding=True))
def test_sum_pooling(dtype: str, seed: int, n: int, c: int, how: dict[str, Any]) -> None:
    agrees(sum_pool2d, drawn(seed, (n, *how["size"], c), dtype), **without_size(how))
    agrees(sum_pool2d_grad, drawn(seed, (n, *maps_of(how), c), dtype), **how)


@given(
    st.sampled_from(["float32", "float64"]), SEEDS, st.integers(1, 300), st.integers(1, 5), st.sampled_from([2, 3, 64])
)
def test_sums_for_each_channel(dtype: str, seed: int, rows: int, channels: int, per: int) -> None:
    """With few rows a step, many rows take several steps."""
    x, g = (drawn(seed + i, (rows, 1, channels), dtype) + 3 * i for i in range(2))
    a, b, c, mean = (drawn(seed + 2 + i, (channels,), dtype) for i in range(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalization, "PER", per)
        agrees(batch_norm, x, a, b, eps=1e-3)
        agrees(batch_norm_relu, x, a, b, eps=1e-3)
        agrees(centered_sums, g, x, mean)
        agrees(sum_axes, x, axes=(0, 1))
        agrees(sum_axes, x, axes=(0, 1), keepdims=True)
    agrees(channel_affine, x, mean, a, b)
    agrees(channel_affine_relu, x, mean, a, b)
    agrees(blend, g, x, mean, a, b, c)


@given(DTYPES, SEEDS, st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 2))
def test_concatenation(dtype: str, seed: int, lengths: list[int], axis: int) -> None:
    shapes = [tuple(n if i == axis else 2 for i in range(3)) for n in lengths]
    agrees(concatenate_parts, *(drawn(seed + i, shape, dtype) for i, shape in enumerate(shapes)), axis=axis)


def test_a_small_variance_beside_a_large_mean_is_exact() -> None:
    x = (1000 + np.random.default_rng(0).normal(0, 0.1, (10_000, 2))).astype("float32")
    with simulated_gpu():
        kernel = next(k for k in batch_norm.kernels if k.provider == "cupy")
        ones = to_device(np.ones(2, "float32"))
        variance = to_host(kernel.run(to_device(x), ones, ones, eps=1e-5)[2])
    np.testing.assert_allclose(variance, x.astype("float64").var(axis=0), rtol=1e-4)


@given(DTYPES, SEEDS, st.integers(1, 5), st.integers(1, 40))
def test_softmax_and_cross_entropy_of_rows(dtype: str, seed: int, rows: int, classes: int) -> None:
    x = drawn(seed, (rows, classes), dtype)
    agrees(softmax, x, axis=-1)
    agrees(log_softmax, x, axis=1)
    target = np.abs(drawn(seed + 1, (rows, classes), dtype)) * (drawn(seed + 2, (rows, classes), dtype) > 0)
    g, labels = drawn(seed + 3, (rows,), dtype), np.random.default_rng(seed).integers(0, classes, rows)
    for wanted in (target.astype(dtype), labels, labels.astype("uint8")):
        for smoothing in (0.0, 0.25, 1.0):
            agrees(cross_entropy, x, wanted, smoothing=smoothing)
            agrees(cross_entropy_grad, g, x, wanted, smoothing=smoothing)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("primitive", [softmax, log_softmax, cross_entropy])
def test_rows_that_are_not_finite(primitive: Primitive, value: float) -> None:
    x, target = drawn(0, (3, 5), "float64"), np.eye(3, 5)
    x[1, 3] = value
    arrays = (x, target) if primitive is cross_entropy else (x,)
    with simulated_gpu(), np.errstate(invalid="ignore"):
        kernel = next(k for k in primitive.kernels if k.provider == "cupy")
        got = to_host(kernel.run(*everywhere(arrays, to_device)))
        np.testing.assert_allclose(got, primitive.forward(np, *arrays), rtol=1e-12)


@given(DTYPES, SEEDS, st.integers(1, 4), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_local_response_norm(dtype: str, seed: int, pixels: int, channels: int, before: int, after: int) -> None:
    x, g = drawn(seed, (pixels, channels), dtype), drawn(seed + 1, (pixels, channels), dtype)
    options = {"before": before, "after": after, "factor": 0.1, "beta": 0.75, "k": 2.0}
    agrees(channel_sum, x, before=before, after=after)
    agrees(local_response_norm, x, **options)
    agrees(local_response_norm_grad, g, x, **options)


@given(SEEDS, st.sampled_from(FILLS), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.booleans())
def test_the_warp(seed: int, fill: Any, height: int, width: int, channels: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 1, (2, height, width, channels)).astype("float32")
    maps = rng.normal(0, 1, (2, 2, 3)) * (1, 1, 3) + np.eye(2, 3)
    maps = np.round(maps) if whole else maps
    with tgl.reference_only():
        expected = warp(images, maps, fill=fill, size=(3, 5))
    with simulated_gpu():
        got = to_host(warp(to_device(images), maps, fill=fill, size=(3, 5)))
    np.testing.assert_allclose(got, expected, atol=2e-5)


UPDATES: dict[str, tuple[Primitive, int, dict[str, Any]]] = {
    "sgd": (updates.sgd_update, 0, {"lr": 0.1, "weight_decay": 0.01}),
    "momentum": (updates.momentum_update, 1, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": (updates.momentum_update, 1, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adagrad": (updates.adagrad_update, 1, {"lr": 0.1, "eps": 1e-10, "weight_decay": 0.01}),
    "rmsprop": (updates.rmsprop_update, 2, {"lr": 0.1, "rho": 0.99, "eps": 1e-8, "momentum": 0.9}),
    "rmsprop without velocity": (
        updates.rmsprop_update,
        -1,
        {"lr": 0.1, "rho": 0.99, "eps": 1e-8, "weight_decay": 0.01},
    ),
    "adadelta": (updates.adadelta_update, 2, {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.01}),
    "adam": (updates.adam_update, 2, {"rate": 0.01, "root": 31.6, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    "adamw": (
        updates.adam_update,
        2,
        {"rate": 0.01, "root": 31.6, "kept": 0.99, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    ),
}


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", UPDATES)
def test_updates_of_optimizers(name: str, dtype: str, placed: bool) -> None:
    """Rates are numbers, or arrays on the device."""
    primitive, slots, options = UPDATES[name]
    p, g = drawn(0, (7, 3), dtype), drawn(1, (7, 3), dtype)
    state: list[Any] = [np.abs(drawn(2 + i, (7, 3), dtype)) for i in range(abs(slots))] + [None] * (slots < 0)
    own = [None if s is None else s.copy() for s in state]
    expected = primitive.forward(np, p, g, *own, **options)
    with simulated_gpu():
        kernel = next(k for k in primitive.kernels if k.provider == "cupy")
        there = [None if s is None else fake.array(to_device(s)) for s in state]
        rates = {k: v for k, v in options.items() if k in ("lr", "rate", "root", "kept")} if placed else {}
        on_device = {k: to_device(np.array(v, dtype)) for k, v in rates.items()}
        got = to_host(kernel.run(to_device(p), to_device(g), *there, **{**options, **on_device}))
        reference = primitive.forward(fake, to_device(p), to_device(g), *_copies(state), **{**options, **on_device})
    tolerance = 2e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(to_host(reference), expected, rtol=1e-6)
    for mine, theirs in zip(there, own, strict=True):
        if theirs is not None:
            np.testing.assert_allclose(to_host(mine), theirs, rtol=tolerance)


def _copies(state: list[Any]) -> list[Any]:
    return [None if s is None else fake.array(to_device(s)) for s in state]


def test_update_of_an_average() -> None:
    average, p = drawn(0, (9,), "float32"), drawn(1, (9,), "float32")
    with simulated_gpu():
        kernel = next(k for k in updates.average_update.kernels if k.provider == "cupy")
        got = to_host(kernel.run(fake.array(to_device(average)), to_device(p), weight=0.25))
    np.testing.assert_allclose(got, average + 0.25 * (p - average), rtol=1e-6)


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
@example([1.0, 1.00390625, 1.01171875, math.inf, -math.inf, math.nan, 0.0, -0.0, 3.3895314e38, 1e-45])
def test_rounding_to_bfloat16(values: list[float]) -> None:
    x = np.array(values, "float32")
    with simulated_gpu():
        out = fake.empty(x.shape, "uint16")
        launch.run("pointwise", "round_to_bfloat16", to_device(x), x.size, to_device(x), out, x.size)
    got = (to_host(out).astype(np.uint32) << 16).view(np.float32)
    with np.errstate(all="ignore"):
        step = np.abs(x.astype("float64")) * 2.0**-8
        near = np.abs(got.astype("float64") - x) <= np.maximum(step, 2.0**-134)
    assert (near | (np.isnan(x) & np.isnan(got)) | (got == x) | (np.isinf(got) & (np.abs(x) > 3.38e38))).all()


def test_random_bits_accept_a_key_on_the_device() -> None:
    np.testing.assert_array_equal(
        random_bits(np, 2**63 + 1, 5), to_host(random_bits(fake, to_device(np.array(2**63 + 1, np.uint64)), 5))
    )


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 40))
def test_keys_of_a_step(seed: int, step: int, count: int) -> None:
    """Keys from the kernel, from array code and from Python's integers agree."""
    bases = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)
    (found,) = agrees(keys_in_step, bases, np.array([step], np.uint64))
    assert found.tolist() == [random_number(int(base), step) for base in bases]


def test_arrays_too_large_for_32_bit_counts_use_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels count items in 32 bits; the items of a result may be more than those of the arguments."""
    x, how = drawn(0, (1, 9, 9, 1), "float32"), {"kernel_size": (1, 1), "stride": (3, 3), "padding": ((0, 0), (0, 0))}
    y, bias = drawn(1, (5, 20), "float32"), drawn(2, (20,), "float32")
    for module in (launch, pooling, pointwise):
        monkeypatch.setattr(module, "MOST_ITEMS", 80)
    with simulated_gpu():
        g = to_device(drawn(3, (1, 3, 3, 1), "float32"))
        taken = [k.provider for k in sum_pool2d_grad.kernels.serving(fake, [g], {"size": (9, 9), **how}, any_size=True)]
        assert "cupy" not in taken
        there = fake.array(to_device(y))
        pointwise.bias_relu(there, to_device(bias), clip=True)
        np.testing.assert_array_equal(to_host(there), np.maximum(y + bias, 0))
        with pytest.raises(ShapeError, match="relu: expected fewer than 80 numbers, got 81; use smaller batches"):
            launch.run("pointwise", "relu", to_device(x), x.size, to_device(x), fake.empty(x.shape), x.size)


def test_every_kernel_of_the_sources_is_used() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in package_files())
    for theme in THEMES:
        lines = [line for line in launch.source(theme, "float32").splitlines() if "__global__" in line]
        names = [line.split("void ")[1].split("(")[0] for line in lines]
        assert names
        assert not [name for name in names if f'"{name}"' not in text]
