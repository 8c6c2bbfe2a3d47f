"""How arrays are handed to compiled code: contiguous, in one of the types that it was compiled for."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.backend import Array


class _Opened:
    """A read-only array's memory as writable: Numba would compile once more for a read-only one.

    The compiled kernels write to nothing that they are given to read.
    """

    def __init__(self, array: Array) -> None:
        self.owner = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def plain(array: Array) -> Array:
    """Return a contiguous array of the same contents that is not marked read-only; a copy only if need be."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else np.asarray(_Opened(array))


def holds_float32(*arrays: Any) -> bool:
    """Tell whether all arrays hold float32 and are not empty; None is passed over."""
    return all(a is None or (a.dtype == np.float32 and a.size > 0) for a in arrays)


def round_up(number: int, unit: int) -> int:
    """Return the least multiple of `unit` that is no less than a number."""
    return -(-number // unit) * unit


def padded_bias(b: Array | None, outputs: int, slack: int) -> Array:
    """Return the bias (or zeros) with room for vector loads behind it."""
    bias = np.zeros(outputs + slack, np.float32)
    if b is not None:
        bias[:outputs] = b
    return bias
