"""Files that are written whole or not at all, and why one cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import LabError

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EFBIG: "the file is larger than this system allows",
    errno.EACCES: "permission is denied: choose another folder, or ask for access",
    errno.EPERM: "permission is denied: choose another folder, or ask for access",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_KEPT_OF_NAME = 40  # characters of a file's name in that of its temporary file, which must not become too long


def write_atomically(path: Path, *parts: Any) -> None:
    """Write a file, given in parts, so that its name stands for the whole old content or the whole new one.

    The file is written beside its place under a name of its own, synced to the disk, and renamed: neither a kill nor a
    power cut nor a second process that writes the same file leaves a piece of it. What a killed process leaves is
    removed by `remove_leftovers`. A link stays one; to a device or a pipe the parts are written as they come.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.writelines(parts)
        return
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name[:_KEPT_OF_NAME]}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of `write_atomically` from a folder that nobody else writes into."""
    for leftover in folder.glob(".*.tmp"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(kind: type[LabError], what: str, *, more: str = "") -> Iterator[None]:
    """Raise an error of this project where the system refuses to write.

    Parameters
    ----------
    kind : type
        The error to raise.
    what : str
        Who complains, and what was expected; the system's reason and an advice are put behind it.
    more : str
        What comes last.

    Examples
    --------
    >>> from tinygrad_lab.errors import ConfigError
    >>> with writing(ConfigError, "draw: expected to write net.svg"):
    ...     raise OSError(errno.EIO, "Input/output error")
    Traceback (most recent call last):
    tinygrad_lab.errors.ConfigError: draw: expected to write net.svg, got Input/output error; look at the folder
    """
    try:
        yield
    except LabError:  # some are OSErrors too
        raise
    except OSError as error:
        raise kind(f"{what}, got {refusal(error)}{more}") from error


def refusal(error: OSError) -> str:
    """Return why the system refused, and what to do."""
    return f"{error.strerror or error}; {_ADVICE.get(error.errno or 0, 'look at the folder')}"


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the system lets folders be synced."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
