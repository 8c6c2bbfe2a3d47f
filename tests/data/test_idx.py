"""The IDX reader, on good files and on every kind of damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.made import idx
from tinygrad_lab.data.sources.idx import parse_idx
from tinygrad_lab.errors import DataError

SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@given(SHAPES)
def test_reads_what_was_written(shape: list[int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = parse_idx(idx(array), axes=len(shape))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


@given(SHAPES, st.data())
def test_a_truncated_file_is_refused(shape: list[int], data: st.DataObject) -> None:
    content = idx(np.zeros(shape, np.uint8))
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match="expected"):
        parse_idx(content[:length], axes=len(shape), name="x")


def test_a_longer_file_is_refused() -> None:
    with pytest.raises(DataError, match=r"labels: expected 3 values.* got 4"):
        parse_idx(idx(np.zeros(3, np.uint8)) + b"!", axes=1, name="labels")


@pytest.mark.parametrize("magic", [b"\x00\x00\x0d\x01", b"\x00\x01\x08\x01", b"\x1f\x8b\x08\x00", b"\x00\x00\x08\x03"])
def test_another_magic_number_is_refused(magic: bytes) -> None:
    with pytest.raises(DataError, match=rf"expected an IDX file .*begin with {magic.hex(' ')}"):
        parse_idx(magic + idx(np.zeros(3, np.uint8))[4:], axes=1)


def test_an_absurd_shape_allocates_no_memory() -> None:
    """The header claims 2^96 values."""
    with pytest.raises(DataError, match="expected 792281"):
        parse_idx(bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"abc", axes=3)


@pytest.mark.parametrize("lengths", [(0, 2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1, 0)])
def test_an_absurd_shape_without_elements_is_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expected a shape of at most 2\^40 values"):
        parse_idx(bytes([0, 0, 8, 3]) + struct.pack(">3I", *lengths), axes=3)
