"""What authors of kernels use, in plugins too: how arrays are taken and blocks shared among threads.

`gpu` launches raw kernels. `jit`, which imports Numba, is in `tinygrad_lab.kernels.compiled.jit`, for modules of
compiled loops alone.
"""

from __future__ import annotations

from tinygrad_lab.kernels.arrays import holds_float32, plain
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.blocked_pointwise import alike, by_blocks
from tinygrad_lab.kernels.gpu import launch as gpu
from tinygrad_lab.kernels.threads import aligned, run

__all__ = ["aligned", "alike", "by_blocks", "gpu", "holds_float32", "one_blas_thread", "plain", "run"]
