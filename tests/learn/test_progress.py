"""Progress is written atomically and never lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.errors import StateError
from tinygrad_lab.learn.progress import Entry, Progress, load_progress, progress_file

ENTRIES = st.builds(Entry, where=st.text(), attempts=st.integers(0), hints=st.integers(0, 3), passed=st.booleans())


@given(entries=st.dictionaries(st.text(), ENTRIES))
def test_saved_progress_is_loaded(entries: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round" / "learn.json"
    Progress(path, entries).save()
    assert load_progress(path) == Progress(path, entries)


def test_without_a_file_there_is_no_progress(tmp_path: Path) -> None:
    assert load_progress(tmp_path / "learn.json") == Progress(tmp_path / "learn.json")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"format": 2, "exercises": {}}',
        b'{"format": 1, "exercises": []}',
        b'{"format": 1, "exercises": {"im2col": 3}}',
        b'{"format": 1, "exercises": {"im2col": {"speed": 1}}}',
        b'{"format": 1, "exercises": {"im2col": {"hints": "two"}}}',
    ],
)
def test_a_damaged_file_is_kept_beside_the_new_one(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "learn.json"
    for number in (1, 2):
        path.write_bytes(text)
        progress = load_progress(path)
        assert "cannot be read" in progress.damage
        assert "not lost" in progress.damage
        assert path.read_bytes() == text  # reading changes nothing
        progress.of("im2col").attempts = 1
        aside = Path(progress.save())
        assert aside == tmp_path / f"learn.damaged-{number}"
        assert aside.read_bytes() == text
        assert load_progress(path) == Progress(path, {"im2col": Entry(attempts=1)})


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "learn.json"
    Progress(path, {"im2col": Entry(hints=1)}).save()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateError, match=r"cannot save progress in .*No space left"):
        Progress(path, {}).save()
    assert load_progress(path).entries == {"im2col": Entry(hints=1)}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="name another folder in TINYGRAD_LAB_LEARN"):
        Progress(tmp_path / "file" / "learn.json").save()


def test_the_folder_of_the_progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_LAB_LEARN", str(tmp_path))
    assert progress_file() == tmp_path / "learn.json"
    monkeypatch.delenv("TINYGRAD_LAB_LEARN")
    assert "tinygrad_lab" in progress_file().parts
