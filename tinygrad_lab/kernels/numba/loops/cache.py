"""Disk cache of compiled kernels that survives damaged files and a full disk.

Numba loads machine code from its cache without a check. Here each file ends in a digest of its content, which Numba's
reader ignores. A file with a wrong digest counts as missing, and its kernel is compiled again.

Numba compiles a kernel again if the kernel's own file has changed. Its machine code also contains functions of other
files of this folder, so here a change in any of them causes a new compilation.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

from tinygrad_lab.errors import warn_once
from tinygrad_lab.files.writing import refusal
from tinygrad_lab.kernels import winograd

_DIGEST = 32  # bytes


class _SealedFiles(IndexDataCacheFile):
    """The index and the data files of one kernel, each with its digest at the end."""

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + _digest(content.getvalue()))

    def _load_index(self) -> Any:
        return super()._load_index() if _is_whole(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        if not _is_whole(self._data_path(name)):
            raise FileNotFoundError(name)  # Numba then compiles again
        return super()._load_data(name)


class KernelCache(FunctionCache):
    """Numba's cache of one kernel, in sealed files. If it cannot be written, a warning is logged."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp(), _sources()
        self._cache_file = _SealedFiles(self._cache_path, self._impl.filename_base, stamp)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel for the next program."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warn_once(f"compiled kernels cannot be cached in {self._cache_path}: {refusal(error)}")


@functools.cache
def _sources() -> bytes:
    """Return a digest of all sources of the kernels: this folder, and `winograd.py` with the points of the tiles."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return _digest(b"".join(path.read_bytes() for path in (*paths, Path(winograd.__file__))))


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST).digest()


def _is_whole(path: str) -> bool:
    """Return whether a file exists, is readable, and ends in its digest."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return False
    return content[-_DIGEST:] == _digest(content[:-_DIGEST])
