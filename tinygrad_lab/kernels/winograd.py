r"""Toom-Cook (Winograd) tiles: m outputs of a correlation with r taps from m + r - 1 products instead of m * r.

Formula, in two dimensions, for a tile d of n x n inputs, n = m + r - 1, and a filter g of r x r taps:

    Y = A' [ (G g G') * (B' d B) ] A          (' transposes a matrix, * multiplies element by element)

A correlation is the transpose of a polynomial product, and two polynomials are multiplied by evaluating them at n
points, multiplying values, and interpolating: A' (m, n) and G (n, r) hold the powers of the points, B' (n, n) is the
inverse of their Vandermonde matrix, transposed. One of the points is infinity (the leading coefficient).

The gradient with respect to the filter follows from the same identity: dg = G' [ (B' d B) * (A dY A') ] G.

The points determine the rounding error. Those below were chosen by `rounding_error` among 0, +-1/4, +-1/3, ..., +-4.
Most points come in pairs p, -p, whose even and odd parts are shared. The customary points 0, +-1, +-2 of F(4, 3) have
twice the error of 0, +-2/3, +-3/2.

References
----------
Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
Barabasz, Anderson, Soodhalter and Gregg 2018, "Error analysis and improving the accuracy of Winograd convolution for
deep neural networks", arXiv:1803.10986.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

POINTS: dict[int, tuple[str, ...]] = {  # tile size n -> its n - 1 finite points
    2: ("0",),
    3: ("0", "1"),
    4: ("0", "1", "-1"),
    5: ("0", "3/4", "-3/4", "2"),
    6: ("0", "2/3", "-2/3", "3/2", "-3/2"),
    7: ("0", "1", "-1", "1/2", "-1/2", "-3"),
    8: ("0", "1", "-1", "1/2", "-1/2", "2", "-2"),
}
LARGEST_TILE = max(POINTS)


class Matrices(NamedTuple):
    """The three matrices of F(m, r): A' (m, n), G (n, r), B' (n, n)."""

    output: Matrix
    filter: Matrix
    input: Matrix


def _inverse(rows: list[list[Fraction]]) -> list[list[Fraction]]:
    """Invert a matrix exactly, by Gauss-Jordan elimination."""
    size = len(rows)
    work = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(rows)]
    for i in range(size):
        pivot = next(r for r in range(i, size) if work[r][i])
        work[i], work[pivot] = work[pivot], work[i]
        work[i] = [v / work[i][i] for v in work[i]]
        for r in range(size):
            if r != i:
                work[r] = [a - work[r][i] * b for a, b in zip(work[r], work[i], strict=True)]
    return [row[size:] for row in work]


def _powers(points: list[Fraction], count: int) -> list[list[Fraction]]:
    """Return p**0 ... p**(count - 1) for each finite point, and the row of the point at infinity."""
    return [[p**k for k in range(count)] for p in points] + [[Fraction(0)] * (count - 1) + [Fraction(1)]]


@functools.cache
def matrices(m: int, r: int, points: tuple[str, ...] | None = None) -> Matrices:
    """Return the matrices of F(m, r), by default at the points of `POINTS`.

    Examples
    --------
    Two outputs of a correlation with three taps, from four products:

    >>> output, taps, tile = matrices(2, 3)
    >>> d, g = np.array([1.0, 2.0, 3.0, 5.0]), np.array([1.0, 0.0, 2.0])
    >>> output @ ((taps @ g) * (tile @ d))
    array([ 7., 12.])
    """
    finite = [Fraction(p) for p in points or POINTS[m + r - 1]]
    output, taps, square = _powers(finite, m), _powers(finite, r), _inverse(_powers(finite, m + r - 1))
    floats = [np.array([[float(v) for v in row] for row in rows]) for rows in (output, taps, square)]
    return Matrices(floats[0].T.copy(), floats[1], floats[2].T.copy())


def rounding_error(
    m: int, r: int, points: tuple[str, ...] | None = None, *, channels: int = 64, tiles: int = 256
) -> float:
    """Return the root mean square error of F(m, r) in float32, relative to the standard deviation of its result."""
    random = np.random.default_rng(0)
    n = m + r - 1
    d = random.standard_normal((tiles, channels, n, n)).astype(np.float32)
    g = random.standard_normal((channels, r, r)).astype(np.float32)

    def tile_outputs(dtype: Any) -> Any:
        output, taps, tile = (matrix.astype(dtype) for matrix in matrices(m, r, points))
        products = (tile @ d.astype(dtype) @ tile.T) * (taps @ g.astype(dtype) @ taps.T)
        return output @ products.sum(axis=1) @ output.T

    exact = tile_outputs(np.float64)
    return float(np.sqrt(np.mean((tile_outputs(np.float32) - exact) ** 2)) / exact.std())
