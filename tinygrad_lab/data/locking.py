"""Locks between processes, so that one at a time works on a file."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # what file systems without locks answer
_PAUSE = 0.1  # seconds between two attempts, where the system does not wait itself


@contextlib.contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Let one process, and one thread of it, at a time work on a file; the others wait.

    The lock is a file ``.NAME.lock`` beside the file, which the holder removes at the end. The system releases the lock
    of a process that ends, however it ends. Where the file system has no locks, nobody waits.

    Raises
    ------
    OSError
        The lock cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    held = _acquire(lock)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes nothing that is open
            lock.unlink()
        held.close()


def _acquire(lock: Path) -> IO[bytes]:
    """Return the open lock file, locked; one that its last holder has removed meanwhile locks nothing."""
    while True:
        file = lock.open("ab")
        try:
            _wait(file)
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


if sys.platform == "win32":

    def _wait(file: IO[bytes]) -> None:
        while True:
            with contextlib.suppress(PermissionError):
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return
            time.sleep(_PAUSE)

else:

    def _wait(file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
