"""Tools for kernel authors, in plugins too: array conversion and loops over blocks in threads.

`gpu` launches raw kernels. `jit` compiles loops with Numba. Importing `jit` imports Numba, so only modules of compiled
loops should import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_lab.kernels.arrays import are_numbers, contiguous, holds_float32
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.kernels.cupy import launch as gpu
from tinygrad_lab.kernels.numpy.pointwise import alike, by_blocks
from tinygrad_lab.kernels.threads import aligned, parallel_for

if TYPE_CHECKING:
    from tinygrad_lab.kernels.numba.loops.jit import jit

__all__ = [
    "aligned",
    "alike",
    "are_numbers",
    "by_blocks",
    "contiguous",
    "gpu",
    "holds_float32",
    "jit",
    "one_blas_thread",
    "parallel_for",
]


def __getattr__(name: str) -> Any:
    if name == "jit":
        from tinygrad_lab.kernels.numba.loops.jit import jit

        return jit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
