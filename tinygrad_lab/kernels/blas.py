"""BLAS on one thread while blocks of the project's own run on several.

Two layers of threads fight for the cores, and products of float32 differ in their last bits with the number of BLAS's
threads. The process's setting is changed inside a ``with`` block alone, and never by importing.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_users = 0
_before: list[int] = []


@functools.cache
def _libraries() -> list[Any]:
    """The BLAS libraries that are loaded, found once: looking for them takes a millisecond."""
    from threadpoolctl import ThreadpoolController

    return [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread; uses may nest and overlap between threads, and the last to end restores the setting."""
    global _users
    libraries = _libraries()
    with _lock:
        _users += 1
        if _users == 1:
            _before[:] = [library.get_num_threads() for library in libraries]
            for library in libraries:
                library.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for library, threads in zip(libraries, _before, strict=True):
                    library.set_num_threads(threads)
