"""Damaged and hostile files of weights: each error is one line that names the file and the array."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab import limits
from tinygrad_lab.errors import StateError
from tinygrad_lab.weights import import_weights, load_weights, read_arrays, renamed
from tinygrad_lab_layers.dense import Dense

ROOM = 64 << 20  # the bytes that any file may unpack to


def safetensors(path: Path, header: dict[str, Any], data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def tensor(dtype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}


@pytest.mark.parametrize(
    ("content", "data", "message"),
    [
        (tensor("F32", [0, 2**62, 8], 0), b"", r"2\^40 values, got shape \(0, 4611686018427387904, 8\)"),
        (tensor("F32", [1] * 65, 4), bytes(4), "at most 64 axes"),
        (tensor("BF16", [2], 4), bytes(4), r"of the dtypes BOOL, C64, F16, .*, got BF16; convert it, with .float\(\)"),
    ],
)
@pytest.mark.parametrize("read", [read_arrays, lambda path: load_weights(Dense(2, 3, rng=0), path)])
def test_tensors_that_numpy_cannot_hold_are_refused(
    content: dict[str, Any], data: bytes, message: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(StateError, match=rf"a\.safetensors: array 'first\.weight': expected .*{message}"):
        read(safetensors(tmp_path / "a.safetensors", {"first.weight": content}, data))


def test_a_header_of_gigabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(StateError, match="expected a safetensors file with a header of at most 16,777,216 bytes"):
        read_arrays(tmp_path / "a.safetensors")


def npz(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: Any, **pickled: bool) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, **pickled)
    return content.getvalue()


def header(text: str, *, version: bytes = b"\x01\x00", data: bytes = b"") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode() + data


GOOD = npy(np.ones(3, np.float32))
FLAT = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}\n"


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("readme.txt", b"hello", "array 'readme.txt': expected one .npy array for each name, got a file 'readme.txt'"),
        ("a.npy", b"hello", "array 'a': expected an array in NumPy's format, got: EOF|array 'a': expected an array"),
        ("a.npy", npy(np.array([{}]), allow_pickle=True), "array 'a': expected numbers or text, got object"),
        ("a.npy", GOOD[:-1], "array 'a': expected 12 bytes for float32 (3,), got 11"),
        ("a.npy", GOOD + b"x", "array 'a': expected 12 bytes for float32 (3,), got 13"),
        ("a.npy", header(FLAT % "(0, 4611686018427387904)"), "array 'a': expected at most 64 axes and 2^40 values"),
        ("a.npy", header(FLAT % ("(" + "1, " * 65 + ")"), data=bytes(4)), "array 'a': expected at most 64 axes"),
        ("a.npy", header(FLAT % ("-" * 9000 + "1")), "array 'a': expected an array in NumPy's format, got"),
        ("a.npy", header(FLAT % "(", version=b"\x03\x00"), "array 'a': expected NumPy's format 1.0 or 2.0, got 3.0"),
        ("a\n.npy", GOOD, r"array 'a\n': expected a printable name of at most 255 characters"),
        ("x" * 300 + ".npy", GOOD, "expected a printable name of at most 255 characters"),
    ],
)
def test_members_that_are_not_arrays_are_refused(member: str, content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        read_arrays(npz(tmp_path / "a.npz", {member: content}))
    assert str(caught.value).startswith(f"weights {tmp_path / 'a.npz'}: array ")
    assert any(part in str(caught.value) for part in message.split("|"))


def changed(path: Path, place: int, bits: int) -> Path:
    """Change the flags (`place` 0) or the kind of compression (`place` 2) of the first member."""
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + at + place] ^= bits
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "bits", "message"),
    [
        (0, 0x01, "expected an array without a password, got an encrypted one"),
        (0, 0x20, "expected an array without a password"),
        (2, 99, "expected an array without compression or with deflate, got zip method 99; save"),
        (2, zipfile.ZIP_BZIP2, "expected an array without compression or with deflate, got zip method 12; save"),
        (2, zipfile.ZIP_DEFLATED, "expected undamaged bytes, got: "),
    ],
)
def test_members_that_cannot_be_unpacked_are_refused(place: int, bits: int, message: str, tmp_path: Path) -> None:
    path = changed(npz(tmp_path / "a.npz", {"first.weight.npy": GOOD}), place, bits)
    with pytest.raises(StateError) as caught:
        read_arrays(path)
    assert str(caught.value).startswith(f"weights {path}: array 'first.weight': {message}")


def test_duplicate_arrays_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", GOOD)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", GOOD)
    with pytest.raises(StateError, match=r"array 'a': expected one \.npy array for each name"):
        read_arrays(tmp_path / "a.npz")


def test_decompression_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    bomb = npz(tmp_path / "a.npz", {"a.npy": bytes(2 * ROOM)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < ROOM // 100
    tracemalloc.start()
    message = r"a\.npz: expected a file that unpacks to at most [\d,]+ bytes, got 134,217,728 bytes"
    with pytest.raises(StateError, match=message):
        read_arrays(bomb)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_wrong_declared_size_does_not_help_a_bomb(tmp_path: Path) -> None:
    """The archive declares a smaller size. Unpacking stops there, and the checksum is wrong."""
    path = npz(tmp_path / "a.npz", {"a.npy": GOOD + bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    size = struct.pack("<I", len(GOOD) + (1 << 20))
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", len(GOOD))))
    with pytest.raises(StateError, match="array 'a': expected undamaged bytes, got: Bad CRC-32"):
        read_arrays(path)


def test_files_larger_than_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 1 << 20)
    for path in (npz(tmp_path / "a.npz", {"a.npy": bytes(2 << 20)}), tmp_path / "a.safetensors"):
        with path.open("ab") as file:
            os.truncate(file.fileno(), max(path.stat().st_size, 2 << 20))
        with pytest.raises(StateError, match=r"expected to need at most the 0\.0 GiB of memory available, got"):
            read_arrays(path)


@pytest.mark.parametrize("name", ["none", "x" * 300, "folder", "a\0b", "pipe"])
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_paths_that_are_not_files_are_refused(name: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.{ending}"
    if name == "folder":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    with pytest.raises(StateError, match=r"(?s)weights .*: expected a file, got "):
        read_arrays(path)


def test_arrays_of_all_kinds_are_read(tmp_path: Path) -> None:
    kinds = [*np.typecodes["AllInteger"], *"efdFD?"]
    arrays = {f"of {kind}": np.arange(6).astype(kind).reshape(2, 3) for kind in kinds}
    arrays |= {"zero": np.zeros((0, 3)), "number": np.array(3.0), "text": np.array(["resnet"])}
    arrays |= {"turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(3, dtype=">f4")}
    np.savez_compressed(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]  # by name
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


PATTERNS = st.lists(st.sampled_from(["*", "a", "b", ".", "ab"]), max_size=6).map("".join)


@given(PATTERNS, st.text("ab.", max_size=8))
def test_stars_match_as_little_as_possible(pattern: str, name: str) -> None:
    found = re.fullmatch(re.escape(pattern).replace(r"\*", "(.*?)"), name)
    target = ">" + "|".join("*" * pattern.count("*"))
    assert renamed(name, {pattern: target}) == (">" + "|".join(found.groups()) if found else name)


def test_matching_many_stars_takes_no_exponential_time() -> None:
    """A search with backtracking would take years."""
    assert renamed("a" * 200 + "!", {"*a" * 20 + "*?": None}) == "a" * 200 + "!"


def test_many_unknown_names_are_reported_quickly(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"strange.layer{i}.weight": np.ones(1) for i in range(3000)})  # type: ignore[arg-type]
    with pytest.raises(StateError, match="2992 more of these"):
        import_weights(Dense(2, 3, rng=0), tmp_path / "a.npz")
