"""Single-threaded BLAS inside the project's own threads.

Two layers of threads would compete for the cores, and the last bits of float32 products depend on the number of BLAS's
threads. The process-wide setting changes only inside a ``with`` block, never on import.
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
    """Return the loaded BLAS libraries; cached, because finding them takes a millisecond."""
    from threadpoolctl import ThreadpoolController

    return [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread. Uses may nest and overlap between threads; the last to end restores the setting."""
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
