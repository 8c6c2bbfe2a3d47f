"""Grading with the answer in its own process, which gets inputs, returns numbers and does not see the verdict."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from tinygrad_lab.learn.answer import MOST_LINE, Stopped, cut
from tinygrad_lab.learn.apart.wire import LOST, Malformed
from tinygrad_lab.learn.catalog import FOLDER, Exercise
from tinygrad_lab.learn.verdict import Verdict

SECONDS = 60.0  # the default time limit; a correct answer takes at most three seconds
GRACE = 5.0  # extra seconds for the process to end by itself
MEMORY = 4 << 30  # bytes that an answer may use
MOST_PRINTED = 2000  # characters of a learner's output
MOST_SHOWN = 20_000  # characters of a counterexample
MOST_SOURCE = 1 << 20  # characters of an answer
MOST_TRACE = 100_000  # bytes
TRACE_SECONDS = 0.5  # for the process to write its current line
HERE = Path(__file__).parent
PACKAGES = {"tinygrad_lab": str(HERE.parent), "tinygrad_lab.learn": str(HERE)}
FRAME = re.compile(r'File "(?P<path>[^"]*)", line (?P<line>\d+) in (?P<name>\S+)')


class AnswerProcess:
    """Process that runs an answer's functions for the grader within limits.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    files : mapping of name to source
        The answer.
    folder : Path or None
        The folder of its files.
    seconds : float
        The time limit.
    memory : int
        The memory limit in bytes.
    """

    def __init__(
        self,
        exercise: Exercise,
        files: Mapping[str, str],
        folder: Path | None = None,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY,
    ) -> None:
        self.files, self.folder, self.seconds = files, folder, seconds
        self.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.where = Path(self.scratch.name)
        self.timed_out, self.trace, self.kept = False, "", bytearray()
        (self.where / "task.json").write_text(
            json.dumps(task_of(exercise, files, folder, seconds, memory)), encoding="utf-8"
        )
        command = [sys.executable, "-I", "-S", "-B", "-u", str(HERE / "apart" / "start.py")]
        self.running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.where,
            env=environment(self.where),
            start_new_session=True,
        )
        self.printing = threading.Thread(target=self._keep_printed, daemon=True)
        self.printing.start()
        self.clock = threading.Timer(seconds, self._time_is_up)
        self.clock.daemon = True
        self.clock.start()

    @property
    def streams(self) -> tuple[BinaryIO, BinaryIO]:
        """The connection: the stream of messages from the process, and the stream of messages to it."""
        return cast(BinaryIO, self.running.stdout), cast(BinaryIO, self.running.stdin)

    @property
    def printed(self) -> str:
        """The beginning of the output, after the process has ended."""
        return cut(self.kept.decode("utf-8", "replace")[:MOST_PRINTED])

    def why_lost(self, malformed: str) -> str:
        """End the process and return why the connection can no longer be used.

        Parameters
        ----------
        malformed : str
            The problem of the last message; empty if there was none.
        """
        if malformed and not self.timed_out:
            self.close()
            return f"your code has written into the connection to the grader ({malformed})"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(GRACE if self.timed_out else 1.0)
        status = self.running.returncode
        self.close()
        if self.timed_out or (status is not None and -status == getattr(signal, "SIGXCPU", None)):
            return took_too_long(self.trace, self.files, self.folder, self.seconds)
        if status in (None, LOST):
            return "your code has closed the connection to the grader"
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"your code ended the process in which it was graded ({ended}): by os._exit, or lack of memory?"

    def close(self) -> None:
        """End the process and all processes that it started."""
        self.clock.cancel()
        self.running.terminate()  # the guard ends the rest
        try:
            self.running.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._kill()
            self.running.wait()
        for stream in self.streams:
            with contextlib.suppress(OSError):
                stream.close()
        self.printing.join(GRACE)
        self.scratch.cleanup()

    def _kill(self) -> None:
        """End the guard and the group of its processes."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.running.pid, signal.SIGKILL)
        self.running.kill()

    def _time_is_up(self) -> None:
        """Ask the process for its current line, and end it."""
        self.timed_out = True
        if hasattr(signal, "SIGUSR1"):
            self.running.send_signal(signal.SIGUSR1)
            until = time.monotonic() + TRACE_SECONDS
            while time.monotonic() < until and not self.trace:
                time.sleep(0.02)
                with contextlib.suppress(OSError), (self.where / "trace.txt").open("rb") as file:
                    self.trace = file.read(MOST_TRACE).decode("ascii", "replace")
        self.running.terminate()

    def _keep_printed(self) -> None:
        """Read the output to its end, and keep the beginning."""
        stream = cast(BinaryIO, self.running.stderr)
        with stream:
            while chunk := os.read(stream.fileno(), 1 << 16):
                room = 4 * MOST_PRINTED - len(self.kept)
                self.kept += chunk[: max(0, room)]


def grade_apart(
    exercise: Exercise,
    files: Mapping[str, str],
    folder: Path | None = None,
    *,
    seconds: float = SECONDS,
    memory: int = MEMORY,
) -> Verdict:
    """Return the verdict on an answer that runs in another process.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    files : mapping of name to source
        The answer.
    folder : Path or None
        The folder of its files.
    seconds : float
        The time limit.
    memory : int
        The memory limit in bytes.
    """
    verdict = Verdict()
    if (size := sum(map(len, files.values()))) > MOST_SOURCE:
        verdict.what = f"expected an answer of at most {MOST_SOURCE} characters, got {size}"
        return verdict
    process = AnswerProcess(exercise, files, folder, seconds=seconds, memory=memory)
    try:
        judge_in(process, exercise, verdict)
    finally:
        process.close()
    verdict.printed = process.printed
    verdict.what, verdict.shown = cut(verdict.what), cut(verdict.shown, MOST_SHOWN)
    return verdict


def judge_in(process: AnswerProcess, exercise: Exercise, verdict: Verdict) -> None:
    """Grade an answer by the results of its process."""
    from tinygrad_lab.learn.apart.remote import RemoteAnswer  # while the process starts
    from tinygrad_lab.learn.grading import judge

    try:
        judge(exercise, RemoteAnswer(process.files, *process.streams, process.folder), verdict)
    except Stopped as error:
        if not verdict.what:  # otherwise it was stopped during the search for mistakes
            verdict.what = process.why_lost(str(error) if isinstance(error, Malformed) else "")


def task_of(
    exercise: Exercise, files: Mapping[str, str], folder: Path | None, seconds: float, memory: int
) -> dict[str, Any]:
    """Return the task of an answer's process."""
    path = [entry for entry in sys.path if entry and Path(entry).exists()]
    kept = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    kept |= {entry for entry in path if Path(entry).name in ("site-packages", "dist-packages", "lib-dynload")}
    kept |= {str(HERE.parent), *(str(folder) for folder in layer_folders())} if exercise.library else set()
    return {
        "path": path,
        "packages": PACKAGES,
        "library": exercise.library,
        "preload": exercise.preload,
        "bench": exercise.bench,
        "files": dict(files),
        "folder": str(folder or ""),
        "seconds": seconds,
        "memory": memory,
        "readable": [*kept, *([str(folder)] if folder else [])],
        "denied": [str(FOLDER.parent)],
        "names": exercise.refused_names,
        "modules": exercise.refused_modules | {"tinygrad_lab.learn": "an answer may not use the grader"},
    }


def layer_folders() -> list[Path]:
    """Return the folders of the packages whose layers are registered."""
    import importlib.metadata
    import importlib.util

    tops = {e.module.partition(".")[0] for e in importlib.metadata.entry_points(group="tinygrad_lab.layers")}
    specs = [importlib.util.find_spec(top) for top in tops]
    return [Path(folder) for spec in specs if spec for folder in spec.submodule_search_locations or ()]


def environment(home: Path) -> dict[str, str]:
    """Return the environment of an answer's process: only the variables that programs need to start."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
    own = {"HOME": home, "TMPDIR": home, "HYPOTHESIS_STORAGE_DIRECTORY": home / "hypothesis"}
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # arrays are small
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    return inherited | {name: str(path) for name, path in own.items()} | threads | {"TINYGRAD_LAB_KERNELS": "none"}


def took_too_long(trace: str, files: Mapping[str, str], folder: Path | None, seconds: float) -> str:
    """Return a message that the time is over, with the learner's current line."""
    paths = {ascii_text(str(folder / name) if folder else f"<{name}>"): name for name in files}
    said = f"your code was still running after {seconds:g} s: is there an endless loop?"
    for frame in FRAME.finditer(trace):
        if frame["path"] in paths:
            name, line = paths[frame["path"]], int(frame["line"])
            text = dict(enumerate(files[name].splitlines(), 1)).get(line, "").strip()
            return f"{said}\n  {name}, line {line}: {cut(text, MOST_LINE)}"
    return said


def ascii_text(text: str) -> str:
    """Return a text as a trace of `faulthandler` shows it."""
    return text.encode("ascii", "backslashreplace").decode("ascii")
