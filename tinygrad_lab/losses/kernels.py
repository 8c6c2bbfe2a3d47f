"""Kernels of losses: on a GPU, in NumPy, and compiled. The last one that fits is used.

Each reads the logits once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array, is_array
from tinygrad_lab.kernels.cupy.pointwise import LANES, rows_of
from tinygrad_lab.kernels.tools import (
    aligned,
    alike,
    are_numbers,
    by_blocks,
    contiguous,
    gpu,
    holds_float32,
    parallel_for,
)
from tinygrad_lab.losses.classification import cross_entropy, cross_entropy_grad

BLOCK = 1 << 17  # elements; with smaller blocks, starting them costs more than their work
LEAST = 1 << 8  # elements from which compiled code pays off


def _fit(x: Array, target: Array) -> bool:
    """Return whether x has rows of logits and target has labels or probabilities for them."""
    return is_array(x) and is_array(target) and x.ndim > 0 and target.shape in (x.shape, x.shape[:-1])


def _are_labels(x: Array, target: Array) -> bool:
    return bool(target.ndim < x.ndim)


def _are_classes(x: Array, target: Array) -> bool:
    """Return whether target has labels that are all valid; an invalid one would be used as an address."""
    whole = _are_labels(x, target) and target.dtype.kind in "iu" and target.size > 0
    return bool(whole and target.min() >= 0 and target.max() < x.shape[-1])


def _slopes_fit(g: Array, x: Array) -> bool:
    """Return whether g has one cotangent per row."""
    return is_array(g) and is_array(x) and g.dtype == x.dtype and g.shape == x.shape[:-1]


# ----------------------------------------------------------------------------------------------------- on a GPU


def _takes_raw(x: Array, target: Array, *, smoothing: float = 0.0) -> bool:
    if not _fit(x, target) or not rows_of(x, -1):
        return False
    return target.dtype.kind in "iu" if _are_labels(x, target) else gpu.takes(x, target)


def _takes_raw_slopes(g: Array, x: Array, target: Array, *, smoothing: float = 0.0) -> bool:
    return _slopes_fit(g, x) and _takes_raw(x, target, smoothing=smoothing)


def _launch_raw(name: str, x: Array, target: Array, smoothing: float, out: Array, *slopes: Array) -> Array:
    """Launch a raw kernel with labels or probabilities."""
    classes, labeled = x.shape[-1], _are_labels(x, target)
    labels = gpu.contiguous(target).astype(np.int64, copy=False) if labeled else None
    shares = None if labeled else gpu.contiguous(target)
    rows = x.size // classes
    given = (*map(gpu.contiguous, slopes), gpu.contiguous(x), shares, labels, float(smoothing))
    gpu.run("rows", name, x, rows * LANES, *given, out, classes, rows)
    return out


@cross_entropy.kernel("cupy", when=_takes_raw, error_bound=1e-5)
def _raw_cross_entropy(x: Array, target: Array, *, smoothing: float = 0.0) -> Array:
    return _launch_raw("cross_entropy", x, target, smoothing, gpu.room(x.shape[:-1], x))


@cross_entropy_grad.kernel("cupy", when=_takes_raw_slopes, error_bound=1e-5)
def _raw_cross_entropy_grad(g: Array, x: Array, target: Array, *, smoothing: float = 0.0) -> Array:
    return _launch_raw("cross_entropy_grad", x, target, smoothing, gpu.room(x.shape, x), g)


# ----------------------------------------------------------------------------------------------------- in NumPy


def _labeled(x: Array, target: Array, *, smoothing: float = 0.0) -> bool:
    return are_numbers(smoothing) and smoothing < 1.0 and _fit(x, target) and alike(x) and _are_classes(x, target)


def _labeled_slopes(g: Array, x: Array, target: Array, *, smoothing: float = 0.0) -> bool:
    return _slopes_fit(g, x) and _labeled(x, target, smoothing=smoothing)


def _rows(x: Array) -> tuple[Array, int]:
    return x.reshape(-1, x.shape[-1]), max(1, BLOCK // x.shape[-1])


@cross_entropy.kernel("numpy", when=_labeled, error_bound=1e-5)
def _cross_entropy_in_numpy(x: Array, target: Array, *, smoothing: float = 0.0) -> Array:
    (rows, block), labels = _rows(x), target.reshape(-1)
    out = np.empty(len(rows), x.dtype)

    def work(part: slice) -> None:
        shifted = rows[part] - rows[part].max(axis=1, keepdims=True)
        level = np.log(np.exp(shifted).sum(axis=1))
        np.subtract(level, shifted[np.arange(len(shifted)), labels[part]], out=out[part])
        if smoothing:
            out[part] *= 1.0 - smoothing
            out[part] += smoothing * (level - shifted.mean(axis=1))

    by_blocks(work, len(rows), block)
    return out.reshape(x.shape[:-1])


@cross_entropy_grad.kernel("numpy", when=_labeled_slopes, error_bound=1e-5)
def _cross_entropy_grad_in_numpy(g: Array, x: Array, target: Array, *, smoothing: float = 0.0) -> Array:
    (rows, block), labels, slopes = _rows(x), target.reshape(-1), g.reshape(-1, 1)
    out = np.empty(rows.shape, x.dtype)

    def work(part: slice) -> None:
        result = np.subtract(rows[part], rows[part].max(axis=1, keepdims=True), out=out[part])
        np.exp(result, out=result)
        result /= result.sum(axis=1, keepdims=True)
        result -= smoothing / x.shape[-1]
        result[np.arange(len(result)), labels[part]] -= 1.0 - smoothing
        result *= slopes[part]

    by_blocks(work, len(rows), block)
    return out.reshape(x.shape)


# ----------------------------------------------------------------------------------------------------- compiled


def _takes(x: Array, target: Array, *, smoothing: float = 0.0) -> bool:
    if not are_numbers(smoothing) or smoothing >= 1.0 or not _fit(x, target) or not holds_float32(x):
        return False
    return _are_classes(x, target) if _are_labels(x, target) else holds_float32(target)


def _takes_slopes(g: Array, x: Array, target: Array, *, smoothing: float = 0.0) -> bool:
    return _slopes_fit(g, x) and _takes(x, target, smoothing=smoothing)


def _launch(of_labels: Any, of_shares: Any, slopes: Array | None, x: Array, target: Array, smoothing: float) -> Array:
    """Run the compiled kernel for labels or probabilities on blocks of rows; with slopes it computes a gradient."""
    (rows, block), labeled = _rows(contiguous(x)), _are_labels(x, target)
    wanted = target.reshape(-1).astype(np.int64) if labeled else contiguous(target).reshape(rows.shape)
    out = aligned(x.shape[:-1] if slopes is None else x.shape)
    given = () if slopes is None else (contiguous(slopes).reshape(-1),)
    result = out.reshape(len(rows), -1) if given else out.reshape(-1)
    arguments = (*given, rows, wanted, np.float32(smoothing), block, result)
    parallel_for(of_labels if labeled else of_shares, arguments, -(-len(rows) // block))
    return out


@cross_entropy.kernel("numba", min_size=LEAST, when=_takes, error_bound=1e-5)
def _compiled_cross_entropy(x: Array, target: Array, *, smoothing: float = 0.0) -> Array:
    from tinygrad_lab.kernels.numba.loops import rows

    return _launch(rows.cross_entropy_of_labels, rows.cross_entropy_of_shares, None, x, target, smoothing)


@cross_entropy_grad.kernel("numba", min_size=LEAST, when=_takes_slopes, error_bound=1e-5)
def _compiled_cross_entropy_grad(g: Array, x: Array, target: Array, *, smoothing: float = 0.0) -> Array:
    from tinygrad_lab.kernels.numba.loops import rows

    return _launch(rows.gradient_of_labels, rows.gradient_of_shares, g, x, target, smoothing)
