"""Registration of Numba's convolution kernels."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.arrays import holds_float32
from tinygrad_lab.kernels.convolution import Ways, register
from tinygrad_lab.kernels.cost_model import COMPILED
from tinygrad_lab.kernels.numba import convolution_direct, convolution_winograd

ERROR = 2e-4  # of 8 x 8 Winograd tiles with a few hundred channels; the error of direct convolution is below 1e-5


def _takes(x: Array, w: Array, b: Array | None = None, **options: Any) -> bool:
    return holds_float32(x, w) and (b is None or holds_float32(b))


register("numba", Ways(convolution_direct, convolution_winograd, COMPILED), when=_takes, error_bound=ERROR)
