"""Files of data sets: their folders, and reading them after a check of their checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tinygrad_lab.errors import DataError

VARIABLE = "TINYGRAD_LAB_DATA"
CHUNK = 1 << 20  # bytes read at a time

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the number of bytes so far, and the total."""


def no_progress(name: str, done: int, total: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set, as its publisher made it.

    Parameters
    ----------
    path : str
        Relative to the data folder, with slashes, and below it.
    size : int
        Bytes.
    checksum : str
        Algorithm and digest: ``"sha256:..."`` or ``"md5:..."``.
    content_size, content_checksum : int, str, optional
        Size and checksum of the unpacked content of a ``.gz`` file, which may replace the file.

    Raises
    ------
    DataError
        The path leads out of the data folder.
    """

    path: str
    size: int
    checksum: str
    content_size: int | None = None
    content_checksum: str | None = None

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        if not parts or ".." in parts or parts[0] == "/" or set(self.path) & set("\\:\0"):
            raise DataError(
                f"DataFile: expected a path below the data folder, such as 'set/images.gz', got {self.path!r}"
            )

    def forms(self) -> tuple[tuple[str, int, str], ...]:
        """Return (path, size, checksum) of the file and, if that may replace it, of its unpacked content."""
        packed = (self.path, self.size, self.checksum)
        if self.content_size is None or self.content_checksum is None:
            return (packed,)
        return packed, (self.path.removesuffix(".gz"), self.content_size, self.content_checksum)

    def find(self, root: Path) -> Path | None:
        """Return the file's path below a folder, or None if it is not there."""
        return next((root / path for path, _, _ in self.forms() if (root / path).is_file()), None)

    def expected(self, found: Path) -> tuple[int, str]:
        """Return the published size and checksum of a file found by `find`."""
        return next((size, sum_) for path, size, sum_ in self.forms() if Path(path).name == found.name)


@dataclass(frozen=True)
class Download:
    """File to fetch, with its addresses.

    Parameters
    ----------
    addresses : tuple of str
        The addresses of the file, the official one first.
    file : DataFile
        The file, with its path, size and checksum.
    delivers : tuple of DataFile
        The files of the data set that it contains: itself, or an archive's members.
    """

    addresses: tuple[str, ...]
    file: DataFile
    delivers: tuple[DataFile, ...]


@dataclass(frozen=True)
class FileStatus:
    """Result of `check_file`: ``state`` is ``"ok"`` or names the problem."""

    path: str
    state: str

    @property
    def ok(self) -> bool:
        """Whether the file exists and is the published one."""
        return self.state == "ok"


def new_hash(checksum: str) -> Any:
    """Return an empty hash of the algorithm that a checksum names."""
    return hashlib.new(checksum.partition(":")[0], usedforsecurity=False)


def matches(digest: Any, checksum: str) -> bool:
    """Return whether a hash has a checksum's digest."""
    return bool(digest.hexdigest() == checksum.partition(":")[2])


def check_file(file: DataFile, root: Path) -> FileStatus:
    """Compare a file's size and checksum with the published ones."""
    found = file.find(root)
    if found is None:
        return FileStatus(file.path, "missing")
    size, checksum = file.expected(found)
    path = found.relative_to(root).as_posix()
    try:
        actual = found.stat().st_size
        if actual != size:
            return FileStatus(path, f"wrong size: expected {size} bytes, got {actual}")
        digest = new_hash(checksum)
        with found.open("rb") as stream:
            while block := stream.read(CHUNK):
                digest.update(block)
    except OSError as error:
        return FileStatus(path, f"unreadable: {error.strerror or error}")
    return FileStatus(path, "ok" if matches(digest, checksum) else f"wrong checksum: expected {checksum}")


def read_file(file: DataFile, root: Path) -> bytes:
    """Return the unpacked content of a file after a check of its size and checksum.

    Raises
    ------
    DataError
        The file is missing, cannot be read, or is not the published one.
    """
    found = file.find(root)
    if found is None:
        raise DataError(f"{root / file.path}: expected this file, found none; fetch the data set again")
    size, checksum = file.expected(found)
    try:
        with found.open("rb") as stream:
            content = stream.read(size + 1)
    except OSError as error:
        raise DataError(f"{found}: cannot be read: {error.strerror or error}") from error
    digest = new_hash(checksum)
    digest.update(content)
    if not matches(digest, checksum):
        actual = f"{len(content)} bytes" if len(content) <= size else f"more than {size} bytes"
        raise DataError(
            f"{found}: expected {size} bytes with {checksum}, got {actual} with {digest.name}:{digest.hexdigest()}; "
            "delete the file and fetch the data set again"
        )
    if found.suffix == ".gz" and file.content_size is not None:
        return gunzip(content, file.content_size, name=str(found))
    return content


def gunzip(content: bytes, size: int, *, name: str) -> bytes:
    """Unpack gzip-compressed bytes of one member into at most `size` bytes.

    Parameters
    ----------
    content : bytes
        The compressed bytes.
    size : int
        The unpacked size.
    name : str
        The name in errors.

    Raises
    ------
    DataError
        The content is damaged or unpacks to another size.

    Examples
    --------
    >>> import gzip
    >>> gunzip(gzip.compress(b"1234"), 4, name="digits.gz")
    b'1234'
    """
    reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = reader.decompress(content, size + 1)
    except zlib.error as error:
        raise DataError(f"{name}: damaged gzip file: {error}") from error
    if len(plain) != size or not reader.eof:
        actual = f"more than {size}" if len(plain) > size else f"{len(plain)} of a file that breaks off"
        raise DataError(f"{name}: expected {size} bytes when unpacked, got {actual if not reader.eof else len(plain)}")
    return plain


def cannot_write(target: Path, size: int, error: OSError) -> DataError:
    """Return an error with the reason why a file of this size cannot be written."""
    if error.errno == errno.ENOSPC:
        return DataError(f"{target}: the disk is full; {size} bytes are needed there. Free some space and fetch again")
    return DataError(f"{target}: cannot be written: {error.strerror or error}; choose another folder with --data")


def with_home(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` or ``~user`` replaced by the home folder.

    Raises
    ------
    DataError
        The user is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"{path}: expected a folder, got the home of an unknown user; give the full path") from error


def data_roots(root: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Return the folders that are searched for data sets, in order, by the setting that names each.

    Parameters
    ----------
    root : path, optional
        The folder that the user named (the option ``--data``).

    Returns
    -------
    dict
        From ``"--data"`` (when given), ``"TINYGRAD_LAB_DATA"`` (when set) and ``"cache"`` to a folder.

    Examples
    --------
    >>> list(data_roots("photos"))[0], list(data_roots("photos"))[-1]
    ('--data', 'cache')
    """
    from platformdirs import user_cache_path  # imported only here, to keep the import of the package light

    named = {"--data": root, VARIABLE: os.environ.get(VARIABLE)}
    chosen = {origin: with_home(path) for origin, path in named.items() if path}
    return {**chosen, "cache": user_cache_path("tinygrad_lab") / "data"}
