"""The machine's memory, and the refusal of allocations that exceed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_lab import limits
from tinygrad_lab.errors import DataError


def test_a_machine_has_some_memory() -> None:
    assert 1 << 28 < limits.machine_memory() < 1 << 50


@pytest.mark.parametrize(("text", "known"), [("max\n", False), ("1073741824\n", True), (None, False)])
def test_the_limit_of_a_container_counts(
    text: str | None, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(limits, "_GROUP_LIMIT", tmp_path / "memory.max")
    assert (limits.machine_memory() == 1 << 30) == known


def test_allocations_that_exceed_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 10 << 30)
    limits.check_memory(DataError, "photos", 10 << 30, cure="take fewer")
    with pytest.raises(DataError) as told:
        limits.check_memory(DataError, "photos", 11 << 30, cure="take fewer")
    expected = "photos: expected to need at most the 10.0 GiB of memory available, got 11.0 GiB; take fewer"
    assert str(told.value) == expected
