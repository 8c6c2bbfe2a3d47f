"""Unpacking: good archives, damaged ones and hostile ones."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.data.made import data_file
from tinygrad_lab.data import archives
from tinygrad_lab.data.archives import extract_tar
from tinygrad_lab.data.files import DataFile
from tinygrad_lab.errors import DataError

CONTENT = b"the content" * 100
WANTED = (data_file("set/one", CONTENT), data_file("set/two", b""))


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


GOOD = [member("set", type=tarfile.DIRTYPE), member("set/one", CONTENT), member("set/two"), member("set/extra", b"x")]


def pack(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_unpacks_the_wanted_files(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "data"
    extract_tar(pack(tmp_path / "set.tar", GOOD, mode), root, WANTED)
    assert (root / "set" / "one").read_bytes() == CONTENT
    assert sorted(path.name for path in root.rglob("*")) == ["one", "set", "two"]


HOSTILE = {
    "absolute": member("/etc/passwd", b"x"),
    "upward": member("../evil", b"x"),
    "upward inside": member("set/../../evil", b"x"),
    "upward on Windows": member("set\\..\\..\\evil", b"x"),
    "a drive": member("C:evil", b"x"),
    "a symbolic link": member("set/one", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": member("set/one", type=tarfile.LNKTYPE, linkname="../../secret"),
    "a device": member("set/one", type=tarfile.CHRTYPE),
    "another size": member("set/one", CONTENT + b"!"),
}


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_refused_whole(tmp_path: Path, evil: tuple[tarfile.TarInfo, bytes]) -> None:
    """Nothing is written, not even the good files before the bad one."""
    archive = pack(tmp_path / "set.tar.gz", [member("set/two"), evil, *GOOD])
    with pytest.raises(DataError, match="refused, because its member"):
        extract_tar(archive, tmp_path / "data", WANTED)
    assert [path.name for path in tmp_path.rglob("*")] == ["set.tar.gz"]


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """A link named like a folder of the set is skipped, and the wanted files land in a folder of that name."""
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = pack(tmp_path / "a.tar", [member("set", type=tarfile.SYMTYPE, linkname=str(outside)), *GOOD[1:]])
    extract_tar(archive, tmp_path / "data", WANTED)
    assert not list(outside.iterdir())


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "bomb.tar.gz", [member("zeros", bytes(4_000_000)), *GOOD])
    assert archive.stat().st_size < 10_000
    with pytest.raises(DataError, match="unpacks to more than"):
        extract_tar(archive, tmp_path / "data", WANTED)


def extended(size: int) -> bytes:
    """Return a header that declares the length of the next member's name."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("unpack", [gzip, bz2, lzma], ids=["gz", "bz2", "xz"])
def test_a_name_of_gigabytes_is_refused(tmp_path: Path, unpack: Any) -> None:
    """The name would be read as a whole, so its size is bounded too."""
    archive = tmp_path / "bomb.tar"
    archive.write_bytes(unpack.compress(extended(8 << 30) + bytes(16 << 20)))
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to more than"):
        extract_tar(archive, tmp_path / "data", WANTED)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_headers_that_extend_headers_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes((extended(1) + b"x".ljust(512, b"\0")) * 1000)
    with pytest.raises(DataError, match="damaged archive"):
        extract_tar(archive, tmp_path / "data", WANTED)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 100)
    archive = pack(tmp_path / "a.tar", [member(f"empty/{i}") for i in range(101)])
    with pytest.raises(DataError, match="more than 100 members"):
        extract_tar(archive, tmp_path / "data", WANTED)


OUTSIDE = ["../evil", "/etc/passwd", "set/../../evil", "..\\evil", "C:evil", "", ".", "a\0b", ".."]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_file_lies_below_the_data_folder(path: str) -> None:
    with pytest.raises(DataError) as told:
        DataFile(path, 1, "sha256:00")
    expected = f"DataFile: expected a path below the data folder, such as 'set/images.gz', got {path!r}"
    assert str(told.value) == expected


def test_files_with_wrong_content_are_not_kept(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar", [member("set/one", CONTENT[::-1]), member("set/two")])
    with pytest.raises(DataError, match="expected set/one with sha256"):
        extract_tar(archive, tmp_path / "data", WANTED)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_missing_members_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected the files set/one, set/two in it"):
        extract_tar(pack(tmp_path / "a.tar", []), tmp_path, WANTED)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.4])
def test_a_truncated_archive_is_reported(tmp_path: Path, mode: str, kept: float) -> None:
    archive = pack(tmp_path / "a.tar", [member("set/one", CONTENT), member("set/two")], mode)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"damaged archive|expected the files set/two|set/one"):
        extract_tar(archive, tmp_path / "data", WANTED)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_changed_byte_never_gives_wrong_files(tmp_path: Path, mode: str) -> None:
    """With damage anywhere in the archive, every unpacked file has its published content."""
    good = pack(tmp_path / "good.tar", [member("set/one", CONTENT), member("set/two")], mode).read_bytes()
    for position in range(0, len(good), 7):
        archive = tmp_path / f"{position}.tar"
        archive.write_bytes(good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :])
        root = tmp_path / f"data{position}"
        with contextlib.suppress(DataError):
            extract_tar(archive, root, WANTED)
        for file in root.rglob("one"):
            assert file.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    archive = pack(tmp_path / "a.tar", GOOD)
    with pytest.raises(DataError, match=r"data: cannot be written"):
        extract_tar(archive, tmp_path / "data", WANTED)
