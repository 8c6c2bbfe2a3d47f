"""A reader for the pickles of CIFAR that cannot run anything: the only place in the project where pickle is imported.

CIFAR's publisher distributes its batches as Python 2 pickles, so there is no way around reading them, and an ordinary
unpickler would run whatever code a file names. This one looks no name up. It knows the three that an array of bytes
consists of and gives inert stand-ins for them, which take nothing but plain values; any other name is refused. What
comes out is a dictionary of text, numbers, lists and arrays of bytes.
"""

from __future__ import annotations

import io
import pickle  # the format of the publisher's files; restricted below
from typing import Any

import numpy as np

from tinygrad_lab.errors import DataError


class _DType:
    """Stands for `numpy.dtype`; only unsigned bytes are admitted."""

    def __init__(self, code: object = None, *_: object) -> None:
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of {code!r}; only unsigned bytes are admitted")

    def __setstate__(self, state: object) -> None:
        """Ignore the byte order and the like, which bytes do not have."""


class _NDArray:
    """Stands for `numpy.ndarray`, which is named in the file but never called."""

    def __init__(self) -> None:
        raise pickle.UnpicklingError("an array that is built in an unknown way")


class _Bytes:
    """Stands for an array under construction: numpy's `_reconstruct`, followed by its state."""

    def __init__(self, *_: object) -> None:
        self.array = np.empty(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        """Take (version, shape, dtype, Fortran order, bytes)."""
        match state:
            case (int(), (int(rows), int(columns)), _DType(), bool(fortran), bytes(content)):
                if rows * columns != len(content) or min(rows, columns) < 0:
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


class _RestrictedUnpickler(pickle._Unpickler):
    """The unpickler written in Python: the one written in C lets a file of ten bytes ask for gigabytes (its memo)."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; never import anything."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not admitted")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: object) -> Any:
        """Refuse references to things outside of the file."""
        raise pickle.UnpicklingError("it refers to an object outside of the file")


def _plain(value: object, name: str) -> Any:
    """Return a value made of text, numbers, lists and arrays alone."""
    if isinstance(value, _Bytes):
        return value.array
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if isinstance(value, (str, int)):
        return value
    raise DataError(f"{name}: expected text, numbers, lists and arrays, got {type(value).__name__}")


def read_pickle(content: bytes, *, name: str) -> dict[str, Any]:
    """Return the dictionary in a pickle of CIFAR's kind.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        What errors call it.

    Returns
    -------
    dict
        From text to text, whole numbers, lists of them, and arrays of uint8 with two axes.

    Raises
    ------
    DataError
        The content is no pickle, is damaged, or holds anything else.
    """
    try:
        value = _RestrictedUnpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError:
        raise
    except Exception as error:  # damaged pickles raise nearly everything: UnpicklingError, EOFError, KeyError, ...
        raise DataError(f"{name}: not a readable batch: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{name}: expected a dictionary, got {type(value).__name__}")
    return {str(_plain(key, name)): _plain(item, name) for key, item in value.items()}
