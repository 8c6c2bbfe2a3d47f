"""Atomic writing of files, and errors that say why a file cannot be written."""

from __future__ import annotations

import contextlib
import errno
import json
import math
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
_KEPT_OF_NAME = 40  # characters; the name of a temporary file must not become too long


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON, in which a number that is infinite or NaN is null: JSON has no such numbers.

    Examples
    --------
    >>> json_text({"loss": float("nan"), "curve": [0.5, float("inf")]})
    '{"loss": null, "curve": [0.5, null]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_atomically(path: Path, *parts: Any) -> None:
    """Write a file from its parts, so that a reader finds the whole old content or the whole new one.

    The parts go into a temporary file in the same folder, which is synced to the disk and renamed. Neither a kill, nor
    a power cut, nor a second process that writes the same file leaves an incomplete file. `remove_leftovers` removes
    the temporary files of killed processes. A symbolic link stays, and the
    file that it points to is replaced. Devices and pipes are written to directly.
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
    """Remove the temporary files of `write_atomically` from a folder that no other process writes into."""
    for leftover in folder.glob(".*.tmp"):
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(kind: type[LabError], what: str, *, more: str = "") -> Iterator[None]:
    """Turn an OSError inside the ``with`` block into an error of this project.

    Parameters
    ----------
    kind : type
        The error to raise.
    what : str
        The beginning of the message: the subject and the expectation. The system's reason and advice follow it.
    more : str
        The end of the message.

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
    except LabError:  # may be an OSError too
        raise
    except OSError as error:
        raise kind(f"{what}, got {refusal(error)}{more}") from error


def refusal(error: OSError) -> str:
    """Return the system's reason and advice for the user."""
    return f"{error.strerror or error}; {_ADVICE.get(error.errno or 0, 'look at the folder')}"


def _sync_folder(folder: Path) -> None:
    """Sync a rename to the disk, on systems that can sync folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
