"""Reading of arrays from ``.npz`` and ``.safetensors`` files that may be damaged or hostile.

A small file can claim any size. Before anything is unpacked, the claimed sizes are compared with the size of the file
and with the machine's memory. Each error names the file and, if only one array is wrong, this array.
"""

from __future__ import annotations

import math
import stat
import tokenize
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinygrad_lab.backend import NUMBERS, Array
from tinygrad_lab.errors import StateError
from tinygrad_lab.limits import check_memory

_LONGEST_NAME = 255  # characters of an array's name
_MOST_AXES = 64  # NumPy's limit
_MOST_VALUES = 2**40  # elements of an array, where a length of 0 counts as 1
_MOST_HEADER = 1 << 24  # bytes of a safetensors file's header
_LOCKED = 0x1 | 0x20 | 0x40  # zip's flags of members that are encrypted (0x1, 0x40) or patches (0x20)
_RATIO, _SMALL = 100, 1 << 26  # an .npz file may unpack to _RATIO times its size plus _SMALL bytes
_SHOWN = 80  # characters of a file's content in an error

_KINDS = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8)}
_DTYPES = {f"{kind}{8 * size}".upper(): f"<{kind}{size}" for kind, sizes in _KINDS.items() for size in sizes}
_DTYPES |= {"BOOL": "?", "C64": "<c8"}
"""NumPy's name of each dtype by its name in safetensors files."""

_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError, OverflowError)
_BROKEN_HEADER = (ValueError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError)
"""Errors of NumPy's header parser, which evaluates a Python literal."""


def read_arrays(path: str | PathLike[str]) -> dict[str, Array]:
    """Return the arrays in an ``.npz`` or ``.safetensors`` file by name, without executing anything in it.

    Raises
    ------
    StateError
        The file is missing, damaged or of another kind, contains anything other than arrays of numbers or text, or
        unpacks to more than a hundred times its size plus 64 MiB, or needs more than the machine's memory.

    Examples
    --------
    >>> np.savez("weights.npz", a=np.zeros((2, 3)))
    >>> {name: array.shape for name, array in read_arrays("weights.npz").items()}
    {'a': (2, 3)}
    """
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise StateError(
            f"weights {path}: expected an .npz or .safetensors file; save a PyTorch state dict as one of them first: "
            f"numpy.savez(path, **{{name: t.numpy() for name, t in state.items()}})"
        )
    return read_npz(path) if path.suffix == ".npz" else read_safetensors(path)


def read_safetensors(path: Path, *, who: str = "weights") -> dict[str, Array]:
    """Return the arrays in a safetensors file, read-only; see `read_arrays`."""
    from safetensors import SafetensorError, deserialize

    check_memory(StateError, f"{who} {path}", 2 * _size(path, who), cure="read it on a machine with more")
    try:
        content = path.read_bytes()
        if int.from_bytes(content[:8], "little") > _MOST_HEADER:
            raise StateError(
                f"{who} {path}: expected a safetensors file with a header of at most {_MOST_HEADER:,} bytes, got more"
            )
        tensors = deserialize(content)  # type: ignore[no-untyped-call]  # a list of (name, dtype, shape and bytes)
    except (OSError, SafetensorError) as error:
        raise StateError(f"{who} {path}: expected a whole safetensors file, got: {str(error)[:_SHOWN]}") from error
    arrays = {}
    for name, tensor in tensors:
        place = _place(path, name, who)
        if tensor["dtype"] not in _DTYPES:
            raise StateError(
                f"{place}: expected one of the dtypes {', '.join(sorted(_DTYPES))}, got {tensor['dtype']}; "
                "convert it, with .float() in PyTorch"
            )
        _check_shape(place, tensor["shape"])
        arrays[name] = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return arrays


def read_npz(path: Path, *, who: str = "weights") -> dict[str, Array]:
    """Return the arrays in an ``.npz`` file, read-only; see `read_arrays`."""
    size = _size(path, who)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > (most := _SMALL + _RATIO * size):
                raise StateError(
                    f"{who} {path}: expected a file that unpacks to at most {most:,} bytes, got {unpacked:,} bytes"
                )
            check_memory(StateError, f"{who} {path}", unpacked, cure="read it on a machine with more")
            arrays = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                place = _place(path, name, who)
                if name == member.filename or name in arrays:
                    raise StateError(
                        f"{place}: expected one .npy array for each name, got a file {member.filename!r:.{_SHOWN}}"
                    )
                arrays[name] = _read_member(archive, member, place)
    except _BROKEN_ZIP as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"{who} {path}: expected a whole .npz file, got: {str(error)[:_SHOWN]}") from error
    return arrays


def _size(path: Path, who: str) -> int:
    """Return the size of a file in bytes; raise if it is not a file."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise StateError(f"{who} {path}: expected a file, got no file of that name") from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise StateError(f"{who} {path}: expected a file, got {getattr(error, 'strerror', error)}") from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a special file, such as a pipe or a device"
        raise StateError(f"{who} {path}: expected a file, got {what}")
    return status.st_size


def _place(path: Path, name: str, who: str) -> str:
    """Return the start of errors about an array; raise if no layer can have the array's name."""
    place = f"{who} {path}: array {name!r:.{_SHOWN}}"
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise StateError(f"{place}: expected a printable name of at most {_LONGEST_NAME} characters")
    return place


def _check_shape(place: str, shape: Any) -> None:
    if len(shape) > _MOST_AXES or math.prod(max(length, 1) for length in shape) > _MOST_VALUES:
        raise StateError(
            f"{place}: expected at most {_MOST_AXES} axes and 2^40 values, got shape {str(tuple(shape))[:_SHOWN]}"
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: str) -> Array:
    """Return an array of an ``.npz`` file after checking its size."""
    if member.flag_bits & _LOCKED:
        raise StateError(f"{place}: expected an array without a password, got an encrypted one")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise StateError(
            f"{place}: expected an array without compression or with deflate, got zip method {member.compress_type}; "
            "save the file again with numpy.savez or numpy.savez_compressed"
        )
    try:
        with archive.open(member) as stream:
            shape, fortran, dtype = _read_header(stream, place)
            _check_shape(place, shape)
            expected, size = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
            if expected != size:
                raise StateError(f"{place}: expected {expected:,} bytes for {dtype} {shape}, got {size:,}")
            content = stream.read()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise StateError(f"{place}: expected undamaged bytes, got: {str(error)[:_SHOWN]}") from error
    if len(content) != expected:
        raise StateError(f"{place}: expected {expected:,} bytes, got {len(content):,}")
    array = np.frombuffer(content, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _read_header(stream: IO[bytes], place: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype of an array in NumPy's format."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise StateError(f"{place}: expected NumPy's format 1.0 or 2.0, got {'.'.join(map(str, version))}")
        shape, fortran, dtype = readers[version](stream)
    except StateError:
        raise
    except _BROKEN_HEADER as error:
        raise StateError(f"{place}: expected an array in NumPy's format, got: {str(error)[:_SHOWN]}") from error
    if not (dtype.type in NUMBERS or dtype.kind in "SU") or not dtype.itemsize:
        raise StateError(f"{place}: expected numbers or text, got {str(dtype)[:_SHOWN]}")
    return shape, fortran, dtype
