"""Downloads from servers that break off, ignore ranges, send wrong bytes, or lack the file."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest

from tests.data.made import data_file
from tests.data.server import Site, serving
from tinygrad_lab.data import download as module
from tinygrad_lab.data.download import download
from tinygrad_lab.data.files import Download
from tinygrad_lab.errors import DataError

CONTENT = bytes(range(256)) * 40
FILE = data_file("set/file.bin", CONTENT)


def item(*addresses: str) -> Download:
    return Download(tuple(addresses), FILE, (FILE,))


def get(site: Site, root: Path, *others: Site) -> Path:
    addresses = [f"{each.address}/file.bin" for each in (site, *others)]
    return download(item(*addresses), root, pause=0)


def assert_complete(root: Path) -> None:
    assert (root / "set" / "file.bin").read_bytes() == CONTENT
    assert [path.name for path in (root / "set").iterdir()] == ["file.bin"]


@pytest.mark.parametrize("chunked", [False, True])
def test_downloads_and_reports_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    monkeypatch.setattr(module, "CHUNK", 4096)
    seen: list[tuple[str, int, int]] = []
    with serving(Site({"/file.bin": CONTENT}, chunked=chunked)) as site:
        found = download(item(f"{site.address}/file.bin"), tmp_path, progress=lambda *step: seen.append(step))
    assert found == tmp_path / "set" / "file.bin"
    assert_complete(tmp_path)
    assert seen[0] == ("set/file.bin", 0, len(CONTENT))
    assert seen[-1] == ("set/file.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


@pytest.mark.parametrize("chunked", [False, True])
def test_resumes_where_the_server_broke_off(tmp_path: Path, chunked: bool) -> None:
    with serving(Site({"/file.bin": CONTENT}, cut=[1000, 2000, 0], chunked=chunked)) as site:
        get(site, tmp_path)
    assert_complete(tmp_path)
    assert [asked for _, asked in site.requests] == [None, "bytes=1000-", "bytes=3000-", "bytes=3000-"]


def test_a_later_call_resumes(tmp_path: Path) -> None:
    with serving(Site({"/file.bin": CONTENT}, cut=[10] * 5)) as site:
        with pytest.raises(DataError, match=r"broke off after 50 of 10240 bytes\. Check the connection"):
            get(site, tmp_path)
        assert (tmp_path / "set" / "file.bin.part").stat().st_size == 50
        assert not (tmp_path / "set" / "file.bin").exists()
        get(site, tmp_path)
    assert site.requests[-1] == ("/file.bin", "bytes=50-")
    assert_complete(tmp_path)


def test_begins_again_if_the_server_ignores_ranges(tmp_path: Path) -> None:
    with serving(Site({"/file.bin": CONTENT}, cut=[1000], ranges=False)) as site:
        get(site, tmp_path)
    assert_complete(tmp_path)


def test_a_wrong_range_is_not_appended(tmp_path: Path) -> None:
    """The server sends another range than requested. Its bytes are taken for a new start, and their digest is wrong."""
    with serving(Site({"/file.bin": CONTENT}, cut=[1000], shift=7)) as site, pytest.raises(DataError):
        get(site, tmp_path)
    assert not (tmp_path / "set" / "file.bin").exists()


@pytest.mark.parametrize("left", [CONTENT[:50][::-1], CONTENT[::-1], CONTENT + b"more", CONTENT])
def test_partial_files_of_earlier_calls_are_checked(tmp_path: Path, left: bytes) -> None:
    """A partial file may be wrong, of full size, too long, or complete. It is checked, and removed if it is wrong."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.bin.part").write_bytes(left)
    with serving(Site({"/file.bin": CONTENT})) as site:
        get(site, tmp_path)
    assert_complete(tmp_path)
    assert len(site.requests) == {50: 2, len(CONTENT): int(left != CONTENT)}.get(len(left), 1)


def test_the_next_mirror_resumes_the_download_of_the_first(tmp_path: Path) -> None:
    with (
        serving(Site({"/file.bin": CONTENT}, cut=[1000] + [0] * 4)) as first,
        serving(Site({"/file.bin": CONTENT})) as second,
    ):
        get(first, tmp_path, second)
    assert second.requests == [("/file.bin", "bytes=1000-")]
    assert_complete(tmp_path)


@pytest.mark.parametrize(
    "files",
    [{}, {"/file.bin": CONTENT[::-1]}, {"/file.bin": CONTENT + b"more"}, {"/file.bin": CONTENT[:-1]}],
    ids=["not found", "wrong bytes", "longer", "shorter"],
)
def test_a_mirror_is_used_if_an_address_fails(tmp_path: Path, files: dict[str, bytes]) -> None:
    with serving(Site(files)) as first, serving(Site({"/file.bin": CONTENT})) as second:
        get(first, tmp_path, second)
    assert_complete(tmp_path)


def test_temporary_errors_are_retried(tmp_path: Path) -> None:
    with serving(Site({"/file.bin": CONTENT}, failures=[503, 429, 500])) as site:
        get(site, tmp_path)
    assert len(site.requests) == 4
    assert_complete(tmp_path)


def test_a_missing_file_is_requested_once(tmp_path: Path) -> None:
    with serving(Site({})) as site, pytest.raises(DataError, match="HTTP 404"):
        get(site, tmp_path)
    assert len(site.requests) == 1


def test_the_error_says_what_each_address_answered(tmp_path: Path) -> None:
    with serving(Site({"/file.bin": CONTENT[::-1]})) as wrong, serving(Site({})) as empty:
        asked = item(f"{wrong.address}/file.bin", f"{empty.address}/file.bin", "file:///etc/passwd")
        with pytest.raises(DataError) as caught:
            download(asked, tmp_path, pause=0)
    message = str(caught.value)
    assert f"{wrong.address}/file.bin: the wrong content: it does not have {FILE.checksum}" in message
    assert f"{empty.address}/file.bin: HTTP 404" in message
    assert "file:///etc/passwd: not a web address" in message
    assert "or put the file into" in message


def test_a_refused_connection_is_reported(tmp_path: Path) -> None:
    with serving(Site({})) as site:
        pass
    with pytest.raises(DataError, match="refused"):
        get(site, tmp_path)


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = Path.open

    class Full(io.BytesIO):
        def write(self, block: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(path: Path, mode: str = "r", *rest: Any) -> Any:
        return Full() if path.suffix == ".part" and mode != "rb" else real_open(path, mode, *rest)

    monkeypatch.setattr(Path, "open", open_full)
    with (
        serving(Site({"/file.bin": CONTENT})) as site,
        pytest.raises(DataError, match=r"the disk is full; 10240 bytes"),
    ):
        get(site, tmp_path)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("a file where a folder should be")
    with serving(Site({"/file.bin": CONTENT})) as site, pytest.raises(DataError, match="cannot be written"):
        get(site, tmp_path)


NO_ADDRESSES = ["http://[::1", "http://127.0.0.1:port/x", "http://exämple\udcff/x", "//x", ""]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_mirror_is_used_if_an_address_is_not_valid(tmp_path: Path, address: str) -> None:
    with serving(Site({"/file.bin": CONTENT})) as site:
        download(item(address, f"{site.address}/file.bin"), tmp_path, pause=0)
    assert_complete(tmp_path)
    with pytest.raises(DataError, match="not a web address"):
        download(item(address), tmp_path / "other", pause=0)


@pytest.mark.parametrize("address", [*NO_ADDRESSES[:3], "file:///etc/passwd", "data:,x"])
def test_a_mirror_is_used_if_a_redirection_is_not_valid(tmp_path: Path, address: str) -> None:
    with (
        serving(Site({}, redirects={"/file.bin": address})) as first,
        serving(Site({"/file.bin": CONTENT})) as second,
    ):
        get(first, tmp_path, second)
    assert_complete(tmp_path)
