"""Rows of the table: normalization and dropout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.drawing import Draw, Shape, Trial, apart, operation, pytorch, shapes, values
from tinygrad_lab.backend import split_mix

NEAR = 0.01  # so near to a kink that a difference could cross it


def channels(draw: Draw) -> tuple[np.ndarray, Shape]:
    """Draw different numbers, channels last, with more than one for each channel."""
    shape = (*draw(shapes(least=1, dims=(0, 2))), draw(st.integers(2, 4)), draw(st.integers(1, 3)))
    return apart(draw, shape)[0], shape[-1:]


@operation("batch_norm")
def _batch_norm(draw: Draw) -> Trial:
    return normalized(draw, tgl.batch_norm)


@operation("batch_norm_relu")
def _batch_norm_relu(draw: Draw) -> Trial:
    return normalized(draw, tgl.batch_norm_relu, positive)


def positive(y: Any) -> Any:
    """Return ReLU of an array or a PyTorch tensor, and check that no element is near the kink."""
    assume(abs(y).min() > NEAR)
    return y * (y > 0)


def normalized(draw: Draw, f: Any, activation: Any = lambda y: y) -> Trial:
    """Return a trial of batch normalization followed by a function."""
    x, channel = channels(draw)
    eps = draw(st.sampled_from([1e-5, 0.1]))

    def expected(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> list[np.ndarray]:
        rows = x.reshape(-1, x.shape[-1])
        mean, variance = rows.mean(0), rows.var(0)
        return [activation(scale * (x - mean) / np.sqrt(variance + eps) + shift), mean, variance]

    def torch(x: Any, scale: Any, shift: Any) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        y = pytorch().nn.functional.batch_norm(rows, None, None, scale, shift, training=True, eps=eps)
        return [activation(y.reshape(x.shape)), rows.mean(0), rows.var(0, correction=0)]

    scale, shift = values(draw, channel), values(draw, channel)
    expected(x, scale, shift)  # rejects draws near a kink
    return Trial(lambda x, a, b: f(x, a, b, eps=eps), [x, scale, shift], expected, torch)


@operation("channel_affine")
def _channel_affine(draw: Draw) -> Trial:
    x, channel = channels(draw)

    def expected(x: Any, mean: Any, factor: Any, shift: Any) -> Any:
        return (x - mean) * factor + shift

    return Trial(tgl.channel_affine, [x, *(values(draw, channel) for _ in range(3))], expected, expected)


@operation("channel_affine_relu")
def _channel_affine_relu(draw: Draw) -> Trial:
    x, channel = channels(draw)

    def expected(x: Any, mean: Any, factor: Any, shift: Any) -> Any:
        return positive((x - mean) * factor + shift)

    given = [x, *(values(draw, channel) for _ in range(3))]
    expected(*given)  # rejects draws near a kink
    return Trial(tgl.channel_affine_relu, given, expected, expected)


@operation("standardize")
def _standardize(draw: Draw) -> Trial:
    x, _ = channels(draw)
    axes = tuple(sorted({x.ndim - 2, *draw(st.sets(st.integers(0, x.ndim - 1)))}))

    def expected(x: np.ndarray) -> list[np.ndarray]:
        rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + 0.01)
        return [(x - x.mean(axes, keepdims=True)) * rstd, rstd]

    def torch(x: Any) -> Any:
        rstd = (x.var(axes, correction=0, keepdim=True) + 0.01).rsqrt()
        return [(x - x.mean(axes, keepdim=True)) * rstd, rstd]

    return Trial(lambda x: tgl.standardize(x, axes=axes, eps=0.01), [x], expected, torch)


@operation("dropout")
def _dropout(draw: Draw) -> Trial:
    x = values(draw, draw(shapes(dims=(1, 3))))
    key, rate = draw(st.integers(0, 2**64 - 1)), draw(st.sampled_from([0.0, 0.3, 0.5]))
    shared = tuple(draw(st.sets(st.integers(0, x.ndim - 1))))

    shape = tuple(1 if axis in shared else n for axis, n in enumerate(x.shape))
    bits = [split_mix((key + i * 0x9E3779B97F4A7C15) % 2**64) for i in range(math.prod(shape))]
    kept = np.array([b >= int(rate * 2**64) for b in bits], dtype=float).reshape(shape) / (1 - rate)
    return Trial(
        lambda x: tgl.dropout(x, key=key, rate=rate, shared=shared),
        [x],
        lambda x: x * kept,
        lambda x: x * pytorch().as_tensor(kept),
    )
