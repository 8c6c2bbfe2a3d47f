"""IDX files of the MNIST family: a header with the shape, then bytes."""

from __future__ import annotations

import math
import struct

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import DataError

_UNSIGNED_BYTE = 0x08
_LARGEST = 2**40  # values


def parse_idx(content: bytes, *, axes: int, name: str = "idx") -> Array:
    """Read an IDX file of unsigned bytes.

    The file holds two zero bytes, a byte for the type (0x08: unsigned byte), a byte for the number of axes, each axis'
    length as a big-endian 32-bit number, then the values in row-major order, and nothing after them.

    Parameters
    ----------
    content : bytes
        The whole file, unpacked.
    axes : int
        The expected number of axes.
    name : str
        The name in errors.

    Returns
    -------
    array of uint8
        A read-only view of `content`.

    Raises
    ------
    DataError
        The header is not as expected, or the file is shorter or longer than it says.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".

    Examples
    --------
    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), axes=1)
    array([7, 8, 9], dtype=uint8)
    """
    start = 4 + 4 * axes
    magic = bytes([0, 0, _UNSIGNED_BYTE, axes])
    if content[:4] != magic or len(content) < start:
        raise DataError(
            f"{name}: expected an IDX file of unsigned bytes with {axes} axes (it begins with {magic.hex(' ')}), "
            f"got {len(content)} bytes that begin with {content[:4].hex(' ') or 'nothing'}"
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{name}: expected {math.prod(shape)} values, as its header says with shape {shape}, "
            f"got {len(content) - start}"
        )
    if math.prod(max(length, 1) for length in shape) > _LARGEST:  # if a length is 0, the others could be anything
        raise DataError(f"{name}: expected a shape of at most 2^40 values, got {shape} in the header")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
