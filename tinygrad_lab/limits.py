"""Memory limits of this machine. The module is at the root because networks, data and weights use it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from tinygrad_lab.errors import LabError

_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # the limit of the process's container; "max" outside of one


def machine_memory() -> int:
    """Return the bytes of memory that this process may use: those of the machine, or of its container if fewer.

    If the system reports neither, the result is `sys.maxsize`.
    """
    limits = [sys.maxsize]
    if hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(_GROUP_LIMIT.read_text(encoding="ascii")))
    return min(limit for limit in limits if limit > 0)


def peak_memory() -> int:
    """Return the peak of this process's memory in bytes; where /proc is missing, it may be the peak of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def check_memory(kind: type[LabError], what: str, needed: int, *, cure: str) -> None:
    """Raise an error if something needs more memory than this process may use.

    Parameters
    ----------
    kind : type
        The error to raise.
    what : str
        The subject of the message.
    needed : int
        The number of bytes.
    cure : str
        Advice for the user.

    Examples
    --------
    >>> from tinygrad_lab.errors import DataError
    >>> check_memory(DataError, "photos", 10**6, cure="take fewer")
    """
    if needed > (most := machine_memory()):
        raise kind(
            f"{what}: expected to need at most the {most / 2**30:,.1f} GiB of memory available, "
            f"got {needed / 2**30:,.1f} GiB; {cure}"
        )
