"""Downloads with mirrors, progress, resuming and checksums; incomplete files never get their final name."""

from __future__ import annotations

import http.client
import io
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tinygrad_lab.data.files import CHUNK, DataFile, Download, Progress, cannot_write, matches, new_hash, no_progress
from tinygrad_lab.errors import DataError

_TIMEOUT = 30.0  # seconds without a byte
_ATTEMPTS = 5  # per address; each continues where the last one stopped
_MARGIN = 1 << 20  # bytes of headers, in addition to twice the size of the file
_PAUSE = 1.0  # seconds before the second attempt; doubled before each further one
_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)
_NO_ADDRESS = (http.client.InvalidURL, OverflowError, ValueError)  # an invalid port, bracket or letter


class _WrongAnswerError(Exception):
    """An address delivered something other than the file; the next address is tried."""


class _Bounded(io.RawIOBase):
    """Stream of a server's answer with an upper bound, headers included: some answers are read as a whole."""

    def __init__(self, stream: io.RawIOBase, most: int) -> None:
        self._stream, self._left, self._most = stream, most, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        count = self._stream.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise _WrongAnswerError(f"the wrong content: an answer of more than {self._most} bytes")
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Web(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Connection whose answers have a bounded number of bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        def bounded(*arguments: Any, **others: Any) -> http.client.HTTPResponse:
            response = http.client.HTTPResponse(*arguments, **others)
            response.fp = io.BufferedReader(_Bounded(response.fp.detach(), self._most))
            return response

        connection = type(http_class.__name__, (http_class,), {"response_class": staticmethod(bounded)})
        return super().do_open(connection, req, **options)  # type: ignore[arg-type]  # a class of connections


def download(item: Download, root: Path, *, progress: Progress = no_progress, pause: float = _PAUSE) -> Path:
    """Fetch a file into a folder.

    The bytes are collected in a file with the suffix ``.part``, which a later call continues. It gets its final name
    when its size and checksum are right. At most the published size is read. One process at a time may fetch a file;
    see `locked`.

    Parameters
    ----------
    item : Download
        The file and its addresses.
    root : Path
        The data folder.
    progress : callable
        See `Progress`.
    pause : float
        Seconds before the second attempt at an address.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        No address delivered the file (the message gives each answer), or it cannot be written.
    """
    target = root / item.file.path
    part = target.with_name(target.name + ".part")
    answers = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for address in item.addresses:
            try:
                _fetch_from(address, item.file, part, progress, pause)
            except _WrongAnswerError as answer:
                answers.append(f"{address}: {answer}")
            else:
                part.replace(target)
                return target
    except OSError as error:
        raise cannot_write(target, item.file.size, error) from error
    raise DataError(
        f"{item.file.path}: expected to download {item.file.size} bytes, got only errors: {'; '.join(answers)}. "
        f"Check the connection and try again, or put the file into {target.parent} yourself"
    )


def _fetch_from(address: str, file: DataFile, part: Path, progress: Progress, pause: float) -> None:
    """Fetch a whole file from one address, in several attempts if necessary.

    Raises
    ------
    _WrongAnswerError
        The address does not deliver the file.
    """
    try:
        scheme = urllib.parse.urlsplit(address).scheme
    except ValueError as error:
        raise _WrongAnswerError(f"not a web address: {error}") from error
    if scheme not in ("http", "https"):
        raise _WrongAnswerError("not a web address")
    resumed = part.exists()
    trouble = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        trouble = _go_on(address, file, part, progress)
        if not trouble and _has_checksum(part, file.checksum):
            return
        if not trouble:
            part.unlink()
            if not resumed:
                raise _WrongAnswerError(f"the wrong content: it does not have {file.checksum}")
            resumed, trouble = False, "the wrong content"  # the old part may belong to another file: start again
    raise _WrongAnswerError(trouble)


def _has_checksum(path: Path, checksum: str) -> bool:
    digest = new_hash(checksum)
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return matches(digest, checksum)


def _go_on(address: str, file: DataFile, part: Path, progress: Progress) -> str:
    """Append the missing bytes; return the problem, or an empty text if the size is now right.

    Raises
    ------
    _WrongAnswerError
        The server has no such file, or sends another one.
    """
    done = part.stat().st_size if part.exists() else 0
    if done == file.size:
        return ""
    if done > file.size:
        part.unlink()
        done = 0
    request = urllib.request.Request(address, headers={"User-Agent": "tinygrad-lab", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.build_opener(_Web(2 * file.size + _MARGIN)).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the range is refused: begin again
            part.unlink(missing_ok=True)
        if error.code in (408, 416, 429) or error.code >= 500:  # possibly temporary
            return f"HTTP {error.code} {error.reason}"
        raise _WrongAnswerError(f"HTTP {error.code} {error.reason}") from error
    except _NO_ADDRESS as error:  # this address, or one that it redirects to
        raise _WrongAnswerError(f"not a web address: {error}") from error
    except _BROKEN as error:
        return str(getattr(error, "reason", error))
    with response:
        return _store(response, file, part, done if _continues(response, done) else 0, progress)


def _continues(response: Any, done: int) -> bool:
    """Return whether a response begins at the requested byte (a server may ignore the range and send everything)."""
    return response.status == 206 and str(response.headers.get("Content-Range", "")).startswith(f"bytes {done}-")


def _store(response: Any, file: DataFile, part: Path, done: int, progress: Progress) -> str:
    """Write a response after the first `done` bytes; return the problem, or an empty text if the size is right."""
    trouble = ""
    with part.open("r+b" if done else "wb") as stream:
        stream.seek(done)
        progress(file.path, done, file.size)
        while not trouble:
            try:
                block = response.read(CHUNK)
            except _BROKEN as error:
                trouble = f"broke off after {done} bytes: {error}"
                break
            if not block:
                break
            done += len(block)
            if done > file.size:
                raise _WrongAnswerError(f"the wrong content: more than {file.size} bytes")
            stream.write(block)
            progress(file.path, done, file.size)
    return trouble or ("" if done == file.size else f"broke off after {done} of {file.size} bytes")
