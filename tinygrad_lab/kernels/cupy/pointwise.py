"""Elementwise kernels on a GPU: activations, dropout; and softmax along rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.kernels.cupy.launch import MOST_ITEMS, contiguous, either, number, room, run, takes
from tinygrad_lab.ops.activation import log_softmax, relu, relu_grad, softmax
from tinygrad_lab.ops.dropping import dropout, keys_in_step

LANES = 32  # threads that share a row


@relu.kernel("cupy", when=takes)
def _relu(x: Array) -> Array:
    out = room(x.shape, x)
    run("pointwise", "relu", x, x.size, contiguous(x), out, x.size)
    return out


@relu_grad.kernel("cupy", when=lambda g, y: takes(g, y) and g.shape == y.shape)
def _relu_grad(g: Array, y: Array) -> Array:
    out = room(g.shape, g)
    run("pointwise", "relu_grad", g, g.size, contiguous(g), contiguous(y), out, g.size)
    return out


def bias_relu(y: Array, bias: Array | None, *, clip: bool) -> None:
    """Add a per-channel bias to a batch in place, and apply ReLU if `clip`."""
    if y.size >= MOST_ITEMS:
        if bias is not None:
            y += bias
        if clip:
            namespace(y).maximum(y, 0, out=y)
    elif bias is not None or clip:
        there = None if bias is None else contiguous(bias)
        run("pointwise", "bias_relu", y, y.size, y, there, y.shape[-1], clip, y.size)


def _neighbors(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[0] + len(axes))) if axes else True


@dropout.kernel("cupy", when=lambda x, *, key, rate, shared=(): takes(x) and _neighbors(shared), error_bound=1e-6)
def _dropout(x: Array, *, key: Any, rate: float, shared: tuple[int, ...] = ()) -> Array:
    """Drop elements of x viewed as (outer, shared, inner); all elements along the middle axis share a draw."""
    out = room(x.shape, x)
    middle = math.prod(x.shape[axis] for axis in shared)
    inner = math.prod(x.shape[shared[-1] + 1 :]) if shared else 1
    threshold = np.uint64(int(rate * 2**64))
    place = either(key if not isinstance(key, int) else key & (1 << 64) - 1, np.uint64)
    scale, _ = number(1.0 / (1.0 - rate), x)
    run("pointwise", "dropout", x, x.size, contiguous(x), out, *place, threshold, scale, middle, inner, x.size)
    return out


@keys_in_step.kernel("cupy")
def _keys_in_step(bases: Array, step: Array) -> Array:
    keys = room(bases.shape, bases)
    run("pointwise", "keys_in_step", bases, bases.size, contiguous(bases), step, keys, bases.size)
    return keys


def rows_of(x: Array, axis: int) -> bool:
    """Return whether an axis is the last one and the kernels take the array."""
    return takes(x) and axis % x.ndim == x.ndim - 1 and x.size // x.shape[-1] * LANES < 1 << 30


def _along_rows(name: str, x: Array) -> Array:
    out, classes = room(x.shape, x), x.shape[-1]
    rows = x.size // classes
    run("rows", name, x, rows * LANES, contiguous(x), out, classes, rows)
    return out


@softmax.kernel("cupy", when=lambda x, *, axis=-1: x.ndim > 0 and rows_of(x, axis), error_bound=1e-5)
def _softmax(x: Array, *, axis: int = -1) -> Array:
    return _along_rows("softmax", x)


@log_softmax.kernel("cupy", when=lambda x, *, axis=-1: x.ndim > 0 and rows_of(x, axis), error_bound=1e-5)
def _log_softmax(x: Array, *, axis: int = -1) -> Array:
    return _along_rows("log_softmax", x)
