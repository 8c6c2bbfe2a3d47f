"""How kernels are compiled: without the interpreter's lock, cached on disk, and honest about NaN and infinity."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numba

FAST = {"contract", "reassoc", "nsz", "arcp"}  # not "nnan" and "ninf": with them a NaN pixel came out of a ReLU as 0


@functools.cache
def _say_once(text: str) -> None:
    sys.stderr.write(f"tinygrad_lab: {text}\n")


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function for use on one thread of several."""
    try:
        return numba.njit(nogil=True, fastmath=FAST, error_model="numpy", cache=True)(function)
    except RuntimeError as error:  # nowhere to put the cache
        _say_once(
            f"compiled kernels cannot be kept for the next program ({error}); set NUMBA_CACHE_DIR to a folder of yours"
        )
        return numba.njit(nogil=True, fastmath=FAST, error_model="numpy")(function)
