"""What becomes of memory that large arrays leave behind.

The C library of Linux gives blocks above a threshold (128 KiB at first, 32 MiB at most) back to the system as soon as
they are freed, and the system clears each page of the next one before the program sees it: filling 40 MiB that way
takes four times as long as filling memory that the program kept.
"""

from __future__ import annotations

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # mallopt's names for them, from malloc.h
_KEPT_BYTES = 1 << 30


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for the next array, and tell whether it understood.

    It changes the whole process, so programs do it (the trainer and the command line), never an import. Where the C
    library is another one, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
