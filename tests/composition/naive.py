"""Naive implementations of layers on arrays of `Scalar`s: NumPy applies each operation to single numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tests.composition.scalar import Scalar, scalars

Cells = dict[int, Any]  # id of a parameter -> its array of scalars
Naive = Callable[[Any, Any, Cells], Any]


def forward(layer: tgl.Layer, x: Any, cells: Cells) -> Any:
    """Return a layer's result for an array of scalars."""
    return NAIVE[tgl.layers.name_of(type(layer))](layer, x, cells)


def activation(f: Callable[[Any, Any], Any]) -> Naive:
    """Return the naive form of an elementwise layer: f(layer, scalar)."""
    return lambda layer, x, cells: np.frompyfunc(lambda v: f(layer, v), 1, 1)(x)


def rectified(v: Any) -> Any:
    return v if v.value > 0 else Scalar(0.0)


def logistic(v: Any) -> Any:
    return ((-v).exp() + 1.0) ** -1.0


def dense(layer: Any, x: Any, cells: Cells) -> Any:
    y = x @ cells[id(layer.weight)]
    y = y if layer.bias is None else y + cells[id(layer.bias)]
    return np.frompyfunc(rectified, 1, 1)(y) if layer.activation else y


def pad2d(layer: Any, x: Any, cells: Cells) -> Any:
    return padded(x, layer.padding, edge=layer.mode == "edge")


def padded(x: Any, padding: Any, *, edge: bool = False) -> Any:
    """Return images with a border of zeros or of repeated edges."""
    (top, bottom), (left, right) = padding
    n, height, width, channels = x.shape
    out = scalars(np.zeros((n, height + top + bottom, width + left + right, channels)))
    out[:, top : top + height, left : left + width] = x
    for h, w in np.ndindex(out.shape[1:3]) if edge else ():
        out[:, h, w] = x[:, min(max(h - top, 0), height - 1), min(max(w - left, 0), width - 1)]
    return out


def windows(kernel_size: Any, x: Any) -> Iterator[tuple[int, int, Any]]:
    """Yield each position of the window and its contents, (N, kh, kw, C)."""
    (kh, kw), (down, right), (dh, dw) = kernel_size.size, kernel_size.stride, kernel_size.dilation
    for p, q in np.ndindex(kernel_size.places(x.shape[1:3])):
        rows, columns = p * down + dh * np.arange(kh), q * right + dw * np.arange(kw)
        yield p, q, padded(x, kernel_size.padding_for(x.shape[1:3]))[:, rows][:, :, columns]


def conv2d(layer: Any, x: Any, cells: Cells) -> Any:
    weight = cells[id(layer.weight)]
    out = np.empty(layer.output_shape(x.shape), object)
    inward, outward = weight.shape[2], weight.shape[3] // layer.groups
    for p, q, patch in windows(layer.window, x):
        for o in range(out.shape[3]):
            first = o // outward * inward
            out[:, p, q, o] = (patch[..., first : first + inward] * weight[..., o]).sum(axis=(1, 2, 3))
    return out if layer.bias is None else out + cells[id(layer.bias)]


def max_pool2d(layer: Any, x: Any, cells: Cells) -> Any:
    out = np.empty(layer.output_shape(x.shape), object)
    for p, q, patch in windows(layer.window, x):
        for n, c in np.ndindex(out.shape[0], out.shape[3]):
            out[n, p, q, c] = max(patch[n, :, :, c].flat, key=lambda s: s.value)
    return out


def avg_pool2d(layer: Any, x: Any, cells: Cells) -> Any:
    out = np.empty(layer.output_shape(x.shape), object)
    for p, q, patch in windows(layer.window, x):
        out[:, p, q] = patch.sum(axis=(1, 2)) / float(np.prod(layer.window.size))
    return out


def standardized(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    count = float(np.prod([x.shape[a] for a in axes]))
    centered = x - x.sum(axis=axes, keepdims=True) / count
    return centered * ((centered * centered).sum(axis=axes, keepdims=True) / count + eps) ** -0.5


def batch_norm(layer: Any, x: Any, cells: Cells) -> Any:
    if layer.training:
        y = standardized(x, tuple(range(x.ndim - 1)), layer.eps)
    else:
        y = (x - layer.running_mean.value) * (layer.running_var.value + layer.eps) ** -0.5
    return y * cells[id(layer.scale)] + cells[id(layer.shift)]


def layer_norm(layer: Any, x: Any, cells: Cells) -> Any:
    axes = tuple(range(x.ndim - len(layer.features), x.ndim))
    return standardized(x, axes, layer.eps) * cells[id(layer.scale)] + cells[id(layer.shift)]


def prelu(layer: Any, x: Any, cells: Cells) -> Any:
    return np.frompyfunc(lambda v, slope: v if v.value > 0 else v * slope, 2, 1)(x, cells[id(layer.slope)])


def softmax(layer: Any, x: Any, cells: Cells) -> Any:
    powers = np.exp(x)
    return powers / powers.sum(axis=layer.axis, keepdims=True)


def sequential(layer: Any, x: Any, cells: Cells) -> Any:
    for inner in layer:
        x = forward(inner, x, cells)
    return x


def parallel_concat(layer: Any, x: Any, cells: Cells) -> Any:
    return np.concatenate([forward(branch, x, cells) for branch in layer.children().values()], axis=layer.axis)


def residual(layer: Any, x: Any, cells: Cells) -> Any:
    y = forward(layer.inner, x, cells)
    if layer.shortcut == "projected":
        y = y + forward(layer.norm, forward(layer.projection, x, cells), cells)
    elif layer.shortcut == "padded":
        y[..., : x.shape[3]] += x[:, :: layer.stride, :: layer.stride]
    else:
        y = y + x
    return np.frompyfunc(rectified, 1, 1)(y) if layer.activation else y


NAIVE: dict[str, Naive] = {
    "avg_pool2d": avg_pool2d,
    "batch_norm": batch_norm,
    "conv2d": conv2d,
    "dense": dense,
    "elu": activation(lambda layer, v: v if v.value > 0 else (v.exp() + -1.0) * layer.alpha),
    "flatten": lambda layer, x, cells: x.reshape(len(x), -1),
    "global_avg_pool2d": lambda layer, x, cells: x.sum(axis=(1, 2)) / float(x.shape[1] * x.shape[2]),
    "layer_norm": layer_norm,
    "leaky_relu": activation(lambda layer, v: v if v.value > 0 else v * layer.slope),
    "max_pool2d": max_pool2d,
    "pad2d": pad2d,
    "parallel_concat": parallel_concat,
    "prelu": prelu,
    "relu": activation(lambda layer, v: rectified(v)),
    "residual": residual,
    "sequential": sequential,
    "sigmoid": activation(lambda layer, v: logistic(v)),
    "silu": activation(lambda layer, v: v * logistic(v)),
    "softmax": softmax,
    "softplus": activation(lambda layer, v: ((v * layer.beta).exp() + 1.0).log() / layer.beta),
    "tanh": activation(lambda layer, v: logistic(v * 2.0) * 2.0 + -1.0),
}
