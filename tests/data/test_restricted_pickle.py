"""The restricted reader of CIFAR's pickles reads them, and nothing in a file can run."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.made import GLOBALS, _array, cifar_batch, python2_pickle, random_images
from tinygrad_lab.data.sources import restricted_pickle
from tinygrad_lab.data.sources.restricted_pickle import read_pickle
from tinygrad_lab.errors import DataError


def test_reads_a_batch() -> None:
    images = random_images(3, 32, 32, 3)
    found = read_pickle(cifar_batch(images, [1, 0, 9]), name="batch")
    assert found["labels"] == [1, 0, 9]
    assert found["batch_label"] == "a batch"
    np.testing.assert_array_equal(found["data"].reshape(3, 3, 32, 32).transpose(0, 2, 3, 1), images)


unrestricted = pickle.loads  # only for files written here


def test_synthetic_batches_have_the_format_of_the_publisher() -> None:
    """An ordinary unpickler reads synthetic files with NumPy's own functions, as it reads the published ones."""
    images = random_images(2, 32, 32, 3)
    with warnings.catch_warnings(action="ignore"):  # NumPy has moved the function that the publisher's files name
        found = unrestricted(cifar_batch(images, [1, 2]), encoding="latin1")
    np.testing.assert_array_equal(found["data"].reshape(2, 3, 32, 32).transpose(0, 2, 3, 1), images)


@pytest.mark.parametrize("protocol", range(6))
def test_reads_what_python_3_writes(protocol: int) -> None:
    """Batches that were pickled again by Python 3 are read, or refused if they name other functions."""
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = pickle.dumps({"labels": [1, 2], "names": ["a", "é"], "data": array}, protocol=protocol)
    if protocol in (3, 4):
        found = read_pickle(content, name="batch")
        np.testing.assert_array_equal(found["data"], array)
        assert found["names"] == ["a", "é"]
    else:
        with pytest.raises(DataError, match="not allowed"):
            read_pickle(content, name="batch")


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("inside", [lambda x: x, lambda x: {"data": x}, lambda x: {"labels": [1, [x]]}])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int, inside: Any) -> None:
    victim = tmp_path / "victim"
    content = pickle.dumps(inside(Call(os.mkdir, str(victim))), protocol=protocol)
    with pytest.raises(DataError, match=r"it (names \w+\.mkdir|holds the operation .*), which is not allowed"):
        read_pickle(content, name="evil")
    assert not victim.exists()
    unrestricted(content)
    assert victim.exists(), "the attack is real: an ordinary unpickler runs it"


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\neval",
        b"__builtin__\neval",
        b"os\nsystem",
        b"numpy\nload",
        b"numpy.core.multiarray\nfromfile",
        b"numpy\n__builtins__",
        b"numpy\ndtype.__init__",
        b"numpy\nndarray.tofile",
        b"_codecs\nencode",
        b"copyreg\n_reconstructor",
    ],
)
def test_other_global_names_are_refused(name: bytes) -> None:
    with pytest.raises(DataError, match="not allowed"):
        read_pickle(b"\x80\x02c" + name + b"\n.", name="evil")


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x02}U\x04data" + b"".join(parts) + b"s."


RECONSTRUCT = GLOBALS["reconstruct"]
UNSIGNED = GLOBALS["dtype"] + b"U\x02u1\x85R"


def array_of(rows: bytes, columns: bytes, content: bytes) -> bytes:
    state = b"(K\x01" + rows + columns + b"\x86" + UNSIGNED + b"\x89U" + bytes([len(content)]) + content + b"t"
    return opcodes(RECONSTRUCT + b")R" + state + b"b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(opcodes(_array(np.zeros((2, 2), np.uint8), b"O8")), "only unsigned bytes", id="objects"),
        pytest.param(opcodes(_array(np.zeros((2, 2), np.uint8), b"u4")), "only unsigned bytes", id="wide numbers"),
        pytest.param(opcodes(GLOBALS["dtype"] + b")R"), "only unsigned bytes", id="no type"),
        pytest.param(opcodes(GLOBALS["array"] + b")R"), "unknown way", id="an array called"),
        pytest.param(opcodes(GLOBALS["array"] + b")\x81"), "not allowed", id="an array made anew"),
        pytest.param(opcodes(RECONSTRUCT + b")RK\x01b"), "unknown state", id="no state"),
        pytest.param(array_of(b"K\x02", b"K\x02", b"abc"), "2 x 2 with 3 bytes", id="too short"),
        pytest.param(array_of(b"J\xff\xff\xff\xff", b"J\xff\xff\xff\xff", b"a"), "-1 x -1", id="negative"),
        pytest.param(opcodes(RECONSTRUCT), "got type", id="a name as a value"),
        pytest.param(b"\x80\x02U\x04dataQ.", r"operation b'Q', which is not allowed", id="persistent"),
        pytest.param(b"\x80\x02]..", "expected a dictionary, got list", id="a list"),
        pytest.param(b"\x80\x02}N]s.", "a key that is not text", id="a key of another type"),
        pytest.param(b"", "not a readable batch", id="empty"),
        pytest.param(b"\x89HDF", "not a readable batch", id="another format"),
    ],
)  # fmt: skip
def test_each_kind_of_damage_is_reported(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_pickle(content, name="batch")


@given(st.data())
def test_any_damage_is_a_data_error(data: st.DataObject) -> None:
    """A truncated file, or one with a changed byte, is read or refused; no other exception is raised."""
    content = bytearray(python2_pickle({"data": np.zeros((1, 4), np.uint8), "labels": [1, 2], "name": "x"}))
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] = data.draw(st.integers(0, 255))
    try:
        found = read_pickle(bytes(content), name="batch")
    except DataError:
        return
    assert all(isinstance(value, str | int | list | np.ndarray) for value in found.values())


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    """The unpickler written in C allocates 32 GB if a file stores something at index 2^31 of the memo."""
    assert read_pickle(b"\x80\x02}r\xff\xff\xff\x7f.", name="batch") == {}


def laughs(first: bytes, count: int) -> bytes:
    """Return a pickled dictionary of lists, each of which holds the previous one twice."""
    parts = [b"U\x01a](" + first + b"eq\x00s"]
    parts += [b"U\x02" + bytes([97 + i // 26, 97 + i % 26]) + b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"e" +
              b"q" + bytes([i + 1]) + b"s" for i in range(count)]  # fmt: skip
    return b"\x80\x02}" + b"".join(parts) + b"."


TUPLES = b")\x85q\x00" + b"".join(b"h" + bytes([i, 104, i]) + b"\x86q" + bytes([i + 1]) for i in range(60))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(laughs(b"K\x01", 60), "nested too deep, or larger than the file", id="numbers"),
        pytest.param(b"\x80\x02}(U\x01a](T\x40\x0d\x03\x00" + bytes(200_000) + b"q\x00" + b"h\x00" * 5000 + b"eu.",
                     "larger than the file", id="text"),
        pytest.param(b"\x80\x02}U\x01a]q\x00(h\x00es.", "nested too deep", id="itself"),
        pytest.param(b"\x80\x02}U\x01a" + b"]" * 5000 + b"a" * 4999 + b"s.", "nested too deep", id="5,000 deep"),
        pytest.param(b"\x80\x02}(" + TUPLES + b"K\x01u.", "a key that is not text", id="keys"),
        pytest.param(b"\x80\x02}" + TUPLES + b"K\x01s.", "a key that is not text", id="one key"),
        pytest.param(b"\x80\x02" + TUPLES + GLOBALS["dtype"] + b"h\x3c\x85R.", "an array of tuple", id="a type"),
        pytest.param(b"\x80\x05}U\x01a\x96" + struct.pack("<Q", 8 << 30) + b"s.", "allowed", id="8 GiB of bytes"),
        pytest.param(b"\x80\x04}U\x01a\x8e" + struct.pack("<Q", 8 << 30) + b"s.", "allowed", id="8 GiB of text"),
        pytest.param(b"\x80\x04}U\x01a\x95" + struct.pack("<Q", 8 << 30) + b"s.", "not a readable", id="a frame"),
        pytest.param(b"\x80\x02}U\x01aT\xff\xff\xff\x7fs.", "not a readable batch", id="2 GiB of text"),
        pytest.param(b"\x80\x04}" + b"\x94" * 20_000 + b".", "more than 20000 operations", id="operations"),
        pytest.param(opcodes(GLOBALS["array"] + b"N}U\x01xK\x01s\x86b"), "a state of something", id="a class changed"),
        pytest.param(b"\x80\x02cos\n" + b"x" * 100_000 + b"\n.", r"names os\.x{57}, which", id="a long name"),
    ],
)  # fmt: skip
def test_bombs_are_refused(content: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested or repeated parts, and sizes that a header claims, are refused in little memory."""
    monkeypatch.setattr(restricted_pickle, "_MOST_OPERATIONS", 20_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        read_pickle(content, name="bomb")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 << 20
