"""Locks on folders, so that one process at a time writes into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix system
    fcntl = None  # type: ignore[assignment]  # checked before use


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes, and other threads, out of a folder inside the ``with`` block.

    The operating system locks the folder itself. The lock leaves no file, and ends with the process even if the process
    is killed. It keeps out only code that uses this function. Systems and disks without such locks are not protected.

    Parameters
    ----------
    folder : Path
        The folder to lock.
    wait : bool
        Whether to wait until a locked folder is free.

    Raises
    ------
    BlockingIOError
        The folder is locked, and `wait` is False.
    OSError
        The folder does not exist.
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
