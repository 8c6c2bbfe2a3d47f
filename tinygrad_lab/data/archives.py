"""Unpacking archives that may be hostile: named members only, into named files only."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tinygrad_lab.data.files import CHUNK, DataFile, cannot_write, matches, new_hash
from tinygrad_lab.errors import DataError

_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


def extract_tar(archive: Path, root: Path, wanted: tuple[DataFile, ...]) -> None:
    """Unpack the wanted files of a tar archive, compressed or not.

    An archive is refused as a whole when a member's path leaves the folder, when it unpacks to more than twice the size
    of what is wanted, or when a wanted member is a link, a device, or has not the published size. Members that are not
    wanted are left alone. Each file is written under a temporary name, compared with its checksum and then renamed.

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
        with tarfile.open(archive, "r:*") as tar:
            everything = _bounded(tar, limit=2 * sum(file.size for file in wanted))
            members = [member for member in everything if _is_wanted(member, by_path, archive)]
            missing = sorted(set(by_path) - {member.name for member in members})
            if missing:
                raise DataError(f"{archive}: expected the files {', '.join(missing)} in it, found none")
            for member in members:
                _write(tar, member, by_path[member.name], root)
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{archive}: damaged archive: {error}; delete it and fetch again") from error
    except OSError as error:
        raise cannot_write(root, sum(file.size for file in wanted), error) from error


def _bounded(tar: tarfile.TarFile, limit: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members until they are too many or too large: a small archive can unpack to fill any disk."""
    total = 0
    for member in tar:
        total += max(member.size, 512)  # 512: a header, so that endless empty members end too
        if total > limit + (1 << 20):
            raise DataError(f"{tar.name!s}: refused, for it unpacks to more than {limit} bytes")
        yield member


def _is_wanted(member: tarfile.TarInfo, by_path: dict[str, DataFile], archive: Path) -> bool:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise DataError(f"{archive}: refused, for its member {member.name!r} would be written outside of the folder")
    file = by_path.get(member.name)
    if file is None:
        return False
    if not member.isreg() or member.size != file.size:
        raise DataError(
            f"{archive}: refused, for its member {member.name!r} is not a plain file of {file.size} bytes, "
            f"but of type {member.type!r} with {member.size}"
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
    with source, part.open("wb") as stream:
        while block := source.read(CHUNK):
            digest.update(block)
            stream.write(block)
    if not matches(digest, file.checksum):
        part.unlink()
        raise DataError(f"{tar.name!r}: expected {member.name} with {file.checksum}, got {digest.hexdigest()}")
    part.replace(target)
