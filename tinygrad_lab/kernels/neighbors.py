"""Several neighboring outputs at once: a convolution of few channels as one of more channels and a larger stride.

m outputs side by side, each seeing kw columns of the image, together see kw + (m - 1) s columns. Filters of that width,
one for each of the m places with zeros where it does not look, make them in one go; the result lies in memory just as
that of the m narrow ones. It takes more multiplications, but of a matrix that is not so narrow, and it copies less.
"""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array


def widen(w: Array, m: int, stride: int) -> Array:
    """Return the filters of m outputs, `stride` columns apart: (kh, kw + (m - 1) s, C, m * O)."""
    rows, columns, inputs, outputs = w.shape
    wide = np.zeros((rows, columns + (m - 1) * stride, inputs, m, outputs), w.dtype)
    for i in range(m):
        wide[:, i * stride : i * stride + columns, :, i] = w
    return wide.reshape(rows, -1, inputs, m * outputs)  # (kh, kw', C, m, O) -> (kh, kw', C, m*O)


def gather(wide: Array, m: int, stride: int, columns: int) -> Array:
    """Return the adjoint of `widen`: the sum of the m filters, `columns` wide each."""
    rows, width, inputs, outputs = wide.shape
    parts = wide.reshape(rows, width, inputs, m, outputs // m)  # (kh, kw', C, m*O) -> (kh, kw', C, m, O)
    total = np.zeros((rows, columns, inputs, outputs // m), wide.dtype)
    with np.errstate(invalid="ignore"):  # as other convolutions do: infinities of two signs make a NaN
        for i in range(m):
            total += parts[:, i * stride : i * stride + columns, :, i]
    return total


def beside(g: Array, m: int) -> Array:
    """Return maps with m neighbors as channels of one pixel."""
    return g.reshape(*g.shape[:2], g.shape[2] // m, m * g.shape[3])  # (N, H, W, O) -> (N, H, W/m, m*O)
