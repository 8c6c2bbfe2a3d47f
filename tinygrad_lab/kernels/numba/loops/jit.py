"""Compilation of kernels with Numba: without the interpreter's lock, cached on disk, with exact NaN and infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from tinygrad_lab.errors import warn_once
from tinygrad_lab.kernels.numba.loops.cache import KernelCache

_MODULES: set[str] = set()  # modules that define kernels


class _Announcer(event.Listener):
    """Listener that announces the compilation of the project's kernels, so that a program does not seem to hang."""

    def on_start(self, happening: Any) -> None:
        """Log a message when the first kernel is compiled; loading from disk logs nothing."""
        if getattr(happening.data["dispatcher"].py_func, "__module__", None) in _MODULES:
            warn_once("compiling kernels for this machine: half a minute at most, and only once if they can be cached")

    def on_end(self, happening: Any) -> None:
        """Do nothing."""


event.register("numba:compile", _Announcer())


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function that runs without the interpreter's lock and computes in the order written.

    No fast-math flag is set, not even those that keep NaN and infinity. A flag permits the compiler to choose between
    results, and it chooses separately for every copy of a function. There are several copies: a kernel's machine code
    contains one of each function that the kernel calls, optimized once more than the function's own code. All copies
    have one name, and the first one that the process loads is used by every caller. A process that compiles has loaded
    the function's own code first. A process that finds the kernel on disk loads only the kernel's copy. If the compiler
    might reorder sums, the bits of a result would depend on what is on disk and on which kernel runs first.

    The vectorized sums and fused products that the flags would allow are written out in `sums`.
    """
    _MODULES.add(function.__module__)
    kernel = numba.njit(nogil=True, error_model="numpy")(function)
    try:
        kernel._cache = KernelCache(function)  # as cache=True does with Numba's own cache
    except RuntimeError:
        warn_once(
            "compiled kernels cannot be cached for the next program: no cache folder is writable; "
            "set NUMBA_CACHE_DIR to a writable folder"
        )
    return kernel
