"""Registration of NumPy's convolution kernels."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.convolution import Ways, register
from tinygrad_lab.kernels.cost_model import ARRAYS
from tinygrad_lab.kernels.numpy import convolution_direct, convolution_winograd

ERROR = 2e-4  # of Winograd tiles; direct convolution stays within 1e-5


def _takes(x: Array, w: Array, b: Array | None = None, **options: Any) -> bool:
    """Return whether the arrays are floats of one width; the result has the dtype of the first."""
    return bool(x.dtype.kind == "f" and x.dtype == w.dtype and (b is None or b.dtype == x.dtype))


register("numpy", Ways(convolution_direct, convolution_winograd, ARRAYS), when=_takes, error_bound=ERROR)
