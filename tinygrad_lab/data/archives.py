"""Safe unpacking of archives: only the named members, only into the named files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tinygrad_lab.data.files import CHUNK, DataFile, cannot_write, matches, new_hash
from tinygrad_lab.errors import DataError

_DAMAGE = (
    tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError, OverflowError, RecursionError
)  # fmt: skip  # tarfile recurses into headers that extend headers
_UNPACKERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""The functions that open an archive for reading, by its first bytes."""
_MARGIN = 1 << 20  # bytes of headers and padding, in addition to the contents
_MOST_MEMBERS = 100_000


class _Bounded(io.BufferedIOBase):
    """Stream of an archive's unpacked bytes with an upper bound, because a small file could fill memory and disk."""

    def __init__(self, stream: IO[bytes], limit: int, archive: Path) -> None:
        self._stream, self._limit, self._archive = stream, limit, archive

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes; a read without a size is refused."""
        size = self._limit + 1 if size is None or size < 0 else size
        self._check(self.tell() + size)
        return self._stream.read(size)

    def tell(self) -> int:
        """Return the position in the unpacked bytes."""
        return self._stream.tell()

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        """Seek to a position, which unpacks all bytes before it."""
        self._check(position)
        return self._stream.seek(position, whence)

    def _check(self, end: int) -> None:
        if end > self._limit:
            raise DataError(f"{self._archive}: refused, because it unpacks to more than {self._limit} bytes")


def extract_tar(archive: Path, root: Path, wanted: tuple[DataFile, ...]) -> None:
    """Unpack the wanted files of a tar archive, compressed or not.

    An archive is refused as a whole when a member's path leaves the folder, when it unpacks to more than twice the size
    of the wanted files (and a mebibyte), or when a wanted member is a link, a device, or not of the published size.
    Other members are skipped. Each file is written under a temporary name, compared with its checksum and then renamed.

    Parameters
    ----------
    archive : Path
        The archive.
    root : Path
        The data folder.
    wanted : tuple of DataFile
        The members to unpack, by their paths.

    Raises
    ------
    DataError
        The archive is damaged or hostile, lacks a wanted file, or cannot be unpacked there.
    """
    by_path = {file.path: file for file in wanted}
    try:
        with _unpacked(archive) as stream:
            bounded = _Bounded(stream, 2 * sum(file.size for file in wanted) + _MARGIN, archive)
            with tarfile.open(archive, "r:", fileobj=bounded) as tar:
                members = [member for member in _few(tar, archive) if _is_wanted(member, by_path, archive)]
                missing = sorted(set(by_path) - {member.name for member in members})
                if missing:
                    raise DataError(f"{archive}: expected the files {', '.join(missing)} in it, did not find them")
                for member in members:
                    _write(tar, member, by_path[member.name], root)
    except DataError:
        raise
    except _DAMAGE as error:
        cure = "delete it and run `tinygrad-lab data fetch` again"
        raise DataError(f"{archive}: expected a whole archive, got a damaged archive: {error}; {cure}") from error
    except OSError as error:
        raise cannot_write(root, sum(file.size for file in wanted), error) from error


def _unpacked(archive: Path) -> IO[bytes]:
    """Return a stream of the bytes in a compressed or plain archive."""
    with archive.open("rb") as file:
        first = file.read(max(map(len, _UNPACKERS)))
    unpack = next((unpack for magic, unpack in _UNPACKERS.items() if first.startswith(magic)), None)
    stream: IO[bytes] = unpack(archive) if unpack else archive.open("rb")
    return stream


def _few(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members; raise if there are too many."""
    for number, member in enumerate(tar):
        if number == _MOST_MEMBERS:
            raise DataError(f"{archive}: refused, because it has more than {_MOST_MEMBERS} members")
        yield member


def _is_wanted(member: tarfile.TarInfo, by_path: dict[str, DataFile], archive: Path) -> bool:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise DataError(f"{archive}: refused, because its member {member.name!r} would be outside of the folder")
    file = by_path.get(member.name)
    if file is None:
        return False
    if not member.isreg() or member.size != file.size:
        raise DataError(
            f"{archive}: refused, because its member {member.name!r} is not a plain file of {file.size} bytes, but "
            f"{f'one of {member.size}' if member.isreg() else 'a link, folder or device'}; delete the archive and run "
            "`tinygrad-lab data fetch` again"
        )
    return True


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, file: DataFile, root: Path) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise DataError(f"{tar.name!r}: cannot read {member.name!r}")
    target = root / file.path
    part = target.with_name(target.name + ".part")
    digest = new_hash(file.checksum)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source, part.open("wb") as stream:
            while block := source.read(CHUNK):
                digest.update(block)
                stream.write(block)
        if not matches(digest, file.checksum):
            raise DataError(f"{tar.name!r}: expected {member.name} with {file.checksum}, got {digest.hexdigest()}")
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
