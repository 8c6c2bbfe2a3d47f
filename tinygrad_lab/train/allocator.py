"""Setting of the C library's allocator that keeps freed memory, so that large arrays reuse it.

On Linux the C library returns freed blocks above a threshold (128 KiB at first, 32 MiB at most) to the system at once.
The system then clears each page of the next block before the program sees it: filling 40 MiB takes four times as long
as filling memory that the program kept.
"""

from __future__ import annotations

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
_KEPT_BYTES = 1 << 30


@functools.cache
def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for the next array, and return whether that succeeded.

    This changes the whole process, so programs do it (the trainer and the benchmark), never an import. With a C library
    other than glibc, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
