"""Neighboring outputs computed together: a convolution of few channels becomes a wider one with a larger stride.

The windows of m neighboring outputs are kw columns wide each and cover kw + (m - 1) s columns together. Filters of that
width compute the m outputs at once: there is one filter for each of the m positions, with zeros outside its own window.
The result has the same memory layout as with the narrow filters. This needs more multiplications, but the matrix is
wider and fewer numbers are copied.
"""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array


def widen(w: Array, m: int, stride: int) -> Array:
    """Return the wide filters of m outputs whose windows are `stride` columns apart: (kh, kw + (m - 1) s, C, m * O)."""
    rows, columns, inputs, outputs = w.shape
    wide = np.zeros((rows, columns + (m - 1) * stride, inputs, m, outputs), w.dtype)
    for i in range(m):
        wide[:, i * stride : i * stride + columns, :, i] = w
    return wide.reshape(rows, -1, inputs, m * outputs)  # (kh, kw', C, m, O) -> (kh, kw', C, m*O)


def gather(wide: Array, m: int, stride: int, columns: int) -> Array:
    """Apply the adjoint of `widen`: the sum of the m filters, each `columns` wide."""
    rows, width, inputs, outputs = wide.shape
    parts = wide.reshape(rows, width, inputs, m, outputs // m)  # (kh, kw', C, m*O) -> (kh, kw', C, m, O)
    total = np.zeros((rows, columns, inputs, outputs // m), wide.dtype)
    with np.errstate(invalid="ignore"):  # as in other convolutions: infinities of opposite signs add to NaN
        for i in range(m):
            total += parts[:, i * stride : i * stride + columns, :, i]
    return total


def beside(g: Array, m: int) -> Array:
    """Return maps with m neighbors as channels of one pixel."""
    return g.reshape(*g.shape[:2], g.shape[2] // m, m * g.shape[3])  # (N, H, W, O) -> (N, H, W/m, m*O)
