"""How kernels are compiled: without the interpreter's lock, cached on disk, and honest about NaN and infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from tinygrad_lab.errors import warn_once
from tinygrad_lab.kernels.numba.loops.cache import KernelCache

_MODULES: set[str] = set()  # of kernels


class _Announcer(event.Listener):
    """Says that kernels are being compiled, lest a program seem to hang; others' functions are their own affair."""

    def on_start(self, happening: Any) -> None:
        """Say so when the first kernel is compiled; those on disk are just loaded."""
        if getattr(happening.data["dispatcher"].py_func, "__module__", None) in _MODULES:
            warn_once("compiling kernels for this machine: half a minute at most, and only once if they can be kept")

    def on_end(self, happening: Any) -> None:
        """Say nothing."""


event.register("numba:compile", _Announcer())


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function for use on one thread of several; it computes what is written, in the order written.

    No fast-math flag is set, not even those that keep NaN and infinity. A flag permits the compiler to choose between
    results, and it chooses anew for every copy of a function. There are several copies: a kernel's machine code holds
    one of each function that the kernel calls, optimized once more than the function's own code. All copies bear one
    name, and the first that the process loads serves every caller. A process that compiles has loaded the function's
    own code first. A process that finds the kernel on disk loads the kernel's copy alone. So with the permission to
    reorder sums, the bits of a result depended on what was on disk, and on which kernel ran first.

    What the flags would speed up is written out instead: sums in vectors and fused products are in `sums`.
    """
    _MODULES.add(function.__module__)
    kernel = numba.njit(nogil=True, error_model="numpy")(function)
    try:
        kernel._cache = KernelCache(function)  # as cache=True does with Numba's own
    except RuntimeError:
        warn_once(
            "compiled kernels cannot be kept for the next program: no folder can be written; "
            "set NUMBA_CACHE_DIR to one of yours"
        )
    return kernel
