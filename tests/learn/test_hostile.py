"""Hostile answers: none passes, each gets a short clear message, and none leaves processes or files behind."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.learn.hostile import HOSTILE, Hostile
from tinygrad_lab.learn.catalog import find_exercise
from tinygrad_lab.learn.process import MOST_PRINTED, grade_apart

MEMORY = 2 << 30
LONGEST = 6000  # characters of the message and of what is shown

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")]


def left_behind(marker: str) -> list[str]:
    """Return the processes whose environment contains a text, such as the working folder of a grading."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_does_not_pass(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile: Hostile = HOSTILE[name]
    desk, scratch = tmp_path / "desk", tmp_path / "scratch"
    desk.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    file = desk / f"{hostile.exercise}.py"
    file.write_text(hostile.text, encoding="utf-8")
    before, compare = Path.cwd(), np.allclose
    verdict = grade_apart(
        find_exercise(hostile.exercise), {file.name: hostile.text}, desk, seconds=hostile.seconds, memory=MEMORY
    )
    assert not verdict.passed
    assert verdict.what
    assert re.search(hostile.said, verdict.what), verdict.what
    assert "Traceback" not in verdict.what
    assert len(verdict.what) + len(verdict.shown) < LONGEST
    assert len(verdict.what.splitlines()) <= 3
    assert len(verdict.printed) <= MOST_PRINTED
    assert "\x1b" not in verdict.what + verdict.shown + verdict.printed
    assert left_behind(str(scratch)) == []
    assert list(scratch.iterdir()) == []
    assert file.read_text(encoding="utf-8") == hostile.text
    assert (Path.cwd(), np.allclose) == (before, compare)


def test_there_are_at_least_fifty_hostile_answers() -> None:
    assert len(HOSTILE) >= 50
