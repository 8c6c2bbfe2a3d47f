"""Restricted reader of CIFAR's pickles, which cannot run code: the only module of the project that imports pickle.

CIFAR's publisher distributes its batches as Python 2 pickles, so they have to be read, and an ordinary unpickler would
run any code that a file names. This one looks up no name. It replaces the three names that an array of bytes needs by
inert classes, which accept only plain values, and refuses all others. The result is a dictionary of text, numbers,
lists and arrays of bytes.

A small file cannot request much memory either. Only the operations that such a dictionary needs are allowed, and only
a bounded number of them. Keys are text, and a value that is repeated by reference counts each time.
"""

from __future__ import annotations

import io
import pickle  # the format of the publisher's files; restricted below
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab.errors import DataError

_MOST_OPERATIONS = 2_000_000  # a batch of 10,000 images has 30,098
_SMALL = 1 << 20  # the largest result of any file, in bytes of text and numbers of items
_DEEPEST = 8  # lists in lists
_SHOWN = 60  # characters of a name in an error
_DAMAGE = (pickle.UnpicklingError, EOFError, struct.error, AttributeError, LookupError, TypeError, ValueError)
"""Errors of operations whose operands are missing from the stack, or are of another type."""


class _DType:
    """Replacement of `numpy.dtype`, which admits only unsigned bytes."""

    def __init__(self, code: object = None, *_: object) -> None:
        if code not in (b"u1", "u1"):
            given = repr(code)[:_SHOWN] if isinstance(code, (bytes, str)) else type(code).__name__
            raise pickle.UnpicklingError(f"an array of {given}; only unsigned bytes are allowed")

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment, which bytes do not have."""


class _NDArray:
    """Replacement of `numpy.ndarray`, which a file names but never calls."""

    def __init__(self) -> None:
        raise pickle.UnpicklingError("an array that is built in an unknown way")


class _Bytes:
    """Replacement of an array under construction: numpy's `_reconstruct`, followed by its state."""

    def __init__(self, *_: object) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        """Set (version, shape, dtype, Fortran order, bytes)."""
        match state:
            case (int(), (int(rows), int(columns)), _DType(), bool(fortran), bytes(content)):
                if rows * columns != len(content) or min(rows, columns) < 1:
                    raise pickle.UnpicklingError(f"an array of {rows} x {columns} with {len(content)} bytes")
                self.array = np.frombuffer(content, np.uint8).reshape((rows, columns), order="F" if fortran else "C")
            case _:
                raise pickle.UnpicklingError("an array with an unknown state")


_ADMITTED = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _NDArray,
    ("numpy.core.multiarray", "_reconstruct"): _Bytes,
    ("numpy._core.multiarray", "_reconstruct"): _Bytes,
}


_OPERATIONS = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1
    BINSTRING SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES
    EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_Operation = Callable[[Any], None]  # of an unpickler


class _Operations(dict[int, _Operation]):
    """Table of the admitted operations by their codes; it also counts the operations of a file."""

    used = 0

    def __getitem__(self, code: int) -> _Operation:
        self.used += 1
        if self.used > _MOST_OPERATIONS:
            raise pickle.UnpicklingError(f"it holds more than {_MOST_OPERATIONS} operations")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> _Operation:
        raise pickle.UnpicklingError(f"it holds the operation {bytes([code])!r}, which is not allowed")


class _RestrictedUnpickler(pickle._Unpickler):
    """Unpickler in Python: the one in C lets a file of ten bytes allocate gigabytes (its memo)."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        codes = [getattr(pickle, name)[0] for name in _OPERATIONS.split()]
        checked = {pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items, pickle.BUILD[0]: _build}
        admitted = {code: pickle._Unpickler.dispatch[code] for code in codes}
        self.dispatch = _Operations(admitted | checked)  # type: ignore[misc]  # one for each file, since it counts

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of a name; never import anything."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {f'{module}.{name}'[:_SHOWN]}, which is not allowed")
        return _ADMITTED[module, name]


def _check_keys(keys: list[Any]) -> None:
    """Admit only text: the hash of nested tuples that repeat by reference takes forever."""
    if not all(isinstance(key, (bytes, str)) for key in keys):
        raise pickle.UnpicklingError("a dictionary with a key that is not text")


def _set_item(unpickler: Any) -> None:
    _check_keys(unpickler.stack[-2:-1])
    unpickler.load_setitem()


def _set_items(unpickler: Any) -> None:
    _check_keys(unpickler.stack[::2])  # all values after the mark
    unpickler.load_setitems()


def _build(unpickler: Any) -> None:
    if not isinstance(unpickler.stack[-2], (_DType, _Bytes)):  # a class would change for all files
        raise pickle.UnpicklingError("a state of something that has none")
    unpickler.load_build()


class _Plain:
    """Copies values that consist only of text, numbers, lists and arrays.

    A value that a file repeats by reference is copied each time; the copies are bounded by the file's size.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.left = name, 2 * size + _SMALL

    def __call__(self, value: object, depth: int = 0) -> Any:
        self.left -= len(value) if isinstance(value, (bytes, str)) else 1
        if self.left < 0 or depth > _DEEPEST:
            raise DataError(f"{self.name}: refused, because its values are nested too deep, or larger than the file")
        if isinstance(value, _Bytes):
            return value.array
        if isinstance(value, bytes):
            return value.decode("latin-1")
        if isinstance(value, list):
            return [self(item, depth + 1) for item in value]
        if isinstance(value, (str, int)):
            return value
        raise DataError(f"{self.name}: expected text, numbers, lists and arrays, got {type(value).__name__}")


def read_pickle(content: bytes, *, name: str) -> dict[str, Any]:
    """Return the dictionary in a pickle of CIFAR's kind.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        The name in errors.

    Returns
    -------
    dict
        From text to text, whole numbers, lists of them, and arrays of uint8 with two axes.

    Raises
    ------
    DataError
        The content is not a pickle, is damaged, needs much more memory than it has bytes, or holds other values.
    """
    try:
        value = _RestrictedUnpickler(content).load()
    except _DAMAGE as error:
        raise DataError(f"{name}: not a readable batch: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{name}: expected a dictionary, got {type(value).__name__}")
    plain = _Plain(name, len(content))
    return {plain(key): plain(item) for key, item in value.items()}
