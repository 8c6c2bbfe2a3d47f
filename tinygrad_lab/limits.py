"""The memory of this machine, and refusing what takes more before it is asked for."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from tinygrad_lab.errors import LabError

_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of the container that the process runs in; "max" without one


def machine_memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's where that has fewer.

    Where the system does not say, the largest number.
    """
    limits = [sys.maxsize]
    if hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(_GROUP_LIMIT.read_text(encoding="ascii")))
    return min(limit for limit in limits if limit > 0)


def check_memory(kind: type[LabError], what: str, needed: int, *, cure: str) -> None:
    """Refuse what needs more memory than there is.

    Parameters
    ----------
    kind : type
        The error to raise.
    what : str
        Who complains.
    needed : int
        Bytes.
    cure : str
        What to do about it.

    Examples
    --------
    >>> from tinygrad_lab.errors import DataError
    >>> check_memory(DataError, "photos", 10**6, cure="take fewer")
    """
    if needed > (most := machine_memory()):
        raise kind(
            f"{what}: expected to need at most the {most / 2**30:,.1f} GiB of memory that there are, "
            f"got {needed / 2**30:,.1f} GiB; {cure}"
        )
