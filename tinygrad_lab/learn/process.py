"""Grading in a process of its own: whatever a learner's code does, it does it there, and not for ever.

``python -m tinygrad_lab.learn.process FOLDER`` is that process: it reads a request there and leaves a verdict.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinygrad_lab.learn.catalogue import Exercise, find_exercise
from tinygrad_lab.learn.grading import Verdict, grade

SECONDS = 60.0  # a right answer takes two at most
GRACE = 20.0  # more, for the process to start and to end by itself
MOST_PRINTED = 2000  # characters that are kept of what a learner's code prints
REQUEST, RESULT, TRACE = "request.json", "verdict.json", "trace.txt"
FRAME = re.compile(r'File "(?P<path>[^"]*)", line (?P<line>\d+) in (?P<name>\S+)')


class Printed(io.StringIO):
    """Keeps the first characters that are written to it."""

    def write(self, text: str) -> int:
        """Keep a text if there is room."""
        room = MOST_PRINTED - self.tell()
        if room > 0:
            super().write(text[:room])
        return len(text)


def grade_apart(
    exercise: Exercise, files: Mapping[str, str], folder: Path | None = None, *, seconds: float = SECONDS
) -> Verdict:
    """Return the verdict on an answer, run in another process.

    Parameters
    ----------
    exercise : Exercise
        What was asked.
    files : mapping of name to source
        The answer.
    folder : Path or None
        Where its files lie.
    seconds : float
        How long it may take.
    """
    with tempfile.TemporaryDirectory() as scratch:
        request = {"exercise": exercise.name, "files": dict(files), "folder": str(folder or ""), "seconds": seconds}
        (Path(scratch) / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        status = run_child(Path(scratch), seconds)
        result, trace = Path(scratch) / RESULT, Path(scratch) / TRACE
        if result.exists():
            return Verdict(**json.loads(result.read_text(encoding="utf-8")))
        text = trace.read_text(encoding="utf-8") if trace.exists() else ""
    if status is None or text:
        return Verdict(what=took_too_long(text, files, folder, seconds))
    ended = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Verdict(
        what=f"your code ended the process in which it was graded ({ended}): os._exit, or memory that ran out?"
    )


def run_child(scratch: Path, seconds: float) -> int | None:
    """Run the process and return its exit status; None if it had to be stopped."""
    command = [sys.executable, "-P", "-m", "tinygrad_lab.learn.process", str(scratch)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # the arrays are small
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment, timeout=seconds + GRACE, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.returncode


def took_too_long(trace: str, files: Mapping[str, str], folder: Path | None, seconds: float) -> str:
    """Say that the time is over, and in which of the learner's lines."""
    paths = {ascii_text(str(folder / name) if folder else f"<{name}>"): name for name in files}
    for frame in FRAME.finditer(trace):
        if frame["path"] in paths:
            name, line = paths[frame["path"]], int(frame["line"])
            text = files[name].splitlines()[line - 1].strip()
            return f"after {seconds:g} s it was still running; an endless loop?\n  {name}, line {line}: {text}"
    return f"after {seconds:g} s it was still running; an endless loop?"


def ascii_text(text: str) -> str:
    """Return a text as a trace of `faulthandler` shows it."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


def main(scratch: Path) -> None:
    """Grade as the request asks, and leave the verdict."""
    request = json.loads((scratch / REQUEST).read_text(encoding="utf-8"))
    folder = Path(request["folder"]) if request["folder"] else None
    if folder is not None:
        sys.path.append(str(folder))  # last: a learner's random.py must not stand for Python's
    printed = sys.stdout = sys.stderr = Printed()
    with (scratch / TRACE).open("w", encoding="utf-8") as trace:
        faulthandler.dump_traceback_later(request["seconds"], exit=True, file=trace)
        verdict = grade(find_exercise(request["exercise"]), request["files"], folder)
        faulthandler.cancel_dump_traceback_later()
    verdict.printed = printed.getvalue()
    (scratch / RESULT).write_text(json.dumps(verdict.as_json()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
