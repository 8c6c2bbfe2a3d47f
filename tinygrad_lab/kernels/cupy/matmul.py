"""Matrix products on a GPU by cuBLAS, with the factors rounded according to `GpuOptions`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.kernels.cupy.launch import takes
from tinygrad_lab.kernels.cupy.options import OPTIONS, rounding_of_products
from tinygrad_lab.ops.linear import matmul_matrices


def _rounds(x: Array, y: Array) -> bool:
    """Return whether the options ask for rounded factors."""
    return OPTIONS.get().products != "float32" and takes(x, y) and x.dtype == np.float32


@contextmanager
def _tensor_cores() -> Iterator[None]:
    """Let CuPy round the factors of float32 products; its process-wide setting is restored afterwards."""
    from cupy._core import _routines_linalg as linalg

    before = linalg.get_compute_type(np.dtype(np.float32))
    types = {"tf32": linalg.COMPUTE_TYPE_TF32, "bf16": linalg.COMPUTE_TYPE_BF16}
    linalg.set_compute_type(np.dtype(np.float32), types[OPTIONS.get().products])
    try:
        yield
    finally:
        linalg.set_compute_type(np.dtype(np.float32), before)


@matmul_matrices.kernel("cupy", when=_rounds, error_bound=rounding_of_products)
def _matmul_matrices(x: Array, y: Array) -> Any:
    """Return x @ y on tensor cores."""
    with _tensor_cores():
        return namespace(x).matmul(x, y)
