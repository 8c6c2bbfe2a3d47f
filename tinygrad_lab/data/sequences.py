"""Sequences of integers of different lengths in one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError

PADDING = 0
"""The number that fills short sequences up."""


def pad_sequences(sequences: Sequence[Any] | Array, length: int | None = None) -> Array:
    """Return sequences as the rows of an array, short ones filled up with 0 at the end.

    Parameters
    ----------
    sequences : sequence of sequences, or array of integers
        The numbers of each sequence, from 1.
    length : int, optional
        The length of a row; by default that of the longest sequence, at least 1.

    Returns
    -------
    array of int64

    Shapes
    ------
    N sequences -> (N, length)

    Raises
    ------
    DTypeError
        There is something other than integers.
    ShapeError
        A sequence is longer than a row, or not a sequence of numbers.
    OptionError
        A number is negative.

    Examples
    --------
    >>> pad_sequences([[3, 1, 4], [1, 5]], length=4)
    array([[3, 1, 4, 0],
           [1, 5, 0, 0]])
    """
    rows = [np.asarray(row) for row in sequences]
    for number, row in enumerate(rows):
        if row.ndim != 1:
            raise ShapeError(f"pad_sequences: expected sequences of numbers, got shape {row.shape} as number {number}")
        if row.size and row.dtype.kind not in "iu":
            raise DTypeError(f"pad_sequences: expected integers, got {row.dtype} in sequence {number}")
        if row.size and row.min() < PADDING:
            raise OptionError(f"pad_sequences: expected numbers from 0, got {row.min()} in sequence {number}")
    longest = max(map(len, rows), default=0)
    length = max(longest, 1) if length is None else length
    if longest > length:
        raise ShapeError(f"pad_sequences: expected at most {length} numbers in a sequence, got {longest}; cut it")
    padded = np.full((len(rows), length), PADDING, np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded
