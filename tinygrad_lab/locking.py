"""Locks on folders, so that one process at a time works in one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # another system than Unix
    fcntl = None  # type: ignore[assignment]  # the module is asked for before it is used


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes, and other threads, out of a folder inside the ``with`` block.

    The lock is the system's, on the folder itself: it leaves no file and ends with the process, however that ends.
    Where the system or the disk has no such locks, there is none.

    Parameters
    ----------
    folder : Path
        What is locked, for those who ask for this lock.
    wait : bool
        Whether to wait for a folder that is locked.

    Raises
    ------
    BlockingIOError
        It is locked, and not waited for.
    OSError
        There is no such folder.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # network disks without locks
            pass
        yield
    finally:
        os.close(descriptor)
