"""How kernels are compiled: without the interpreter's lock, cached on disk, and honest about NaN and infinity."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numba
from numba.core import event

from tinygrad_lab.errors import warn_once
from tinygrad_lab.kernels.numba.loops.cache import KernelCache

FAST = {"contract", "reassoc", "nsz", "arcp"}  # not "nnan" and "ninf": with them a NaN pixel came out of a ReLU as 0


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


def jit(function: Callable[..., Any], flags: Collection[str] = FAST) -> Any:
    """Compile a function for use on one thread of several."""
    _MODULES.add(function.__module__)
    kernel = numba.njit(nogil=True, fastmath=set(flags), error_model="numpy")(function)
    try:
        kernel._cache = KernelCache(function)  # as cache=True does with Numba's own
    except RuntimeError:
        warn_once(
            "compiled kernels cannot be kept for the next program: no folder can be written; "
            "set NUMBA_CACHE_DIR to one of yours"
        )
    return kernel


def as_written(function: Callable[..., Any]) -> Any:
    """Compile a function whose sums are done in the order in which they are written.

    In 3 + (1e9 - x) the order matters. LLVM hands the permission to change it on from one operation to its neighbours,
    so that all of a function has it or has it not; a sum over many is left to a function that has it.
    """
    return jit(function, ("contract",))
