"""Matrix products in NumPy: blocks of rows or columns of the result, each by single-threaded BLAS.

BLAS's own threads spin while they wait for one another. On cores that other programs use too, a product of a few
microseconds then takes milliseconds.
"""

from __future__ import annotations

import numpy as np

from tinygrad_lab.backend import Array, is_array
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.threads import parallel_for
from tinygrad_lab.ops.linear import matmul_matrices

LEAST = 1 << 11  # elements of the larger matrix from which limiting BLAS to one thread pays off
BLOCK = 1 << 21  # multiply-adds from which another thread pays off
MOST_BLOCKS, LEAST_LENGTH = 16, 64


def _are_floats(x: Array, y: Array) -> bool:
    return is_array(x) and is_array(y) and bool(x.ndim == 2 == y.ndim and x.dtype == y.dtype and x.dtype.kind == "f")


@matmul_matrices.kernel("numpy", min_size=LEAST, when=_are_floats, error_bound=1e-5)
def _matmul_matrices(x: Array, y: Array) -> Array:
    """Return x @ y by blocks of columns, or by blocks of rows if there are more rows."""
    out = np.empty((x.shape[0], y.shape[1]), x.dtype)
    wide = out.shape[1] >= out.shape[0]
    length = max(out.shape)
    blocks = max(1, min(MOST_BLOCKS, length // LEAST_LENGTH, x.size * y.shape[1] // BLOCK))

    def multiply(first: int, last: int) -> None:
        for block in range(first, last):
            part = slice(length * block // blocks, length * (block + 1) // blocks)
            if wide:
                np.matmul(x, y[:, part], out=out[:, part])
            else:
                np.matmul(x[part], y, out=out[part])

    with one_blas_thread():
        parallel_for(multiply, (), blocks)
    return out
