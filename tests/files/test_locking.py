"""Locks on folders: one thread, or one process, at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tinygrad_lab.files.locking import locked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked on this system")


def test_one_thread_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    inside, most, entered = [0], [0], [0]

    def work() -> None:
        for _ in range(200):
            with locked(tmp_path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                entered[0] += 1
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], entered[0]) == (1, 800)
    assert not list(tmp_path.iterdir())


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    script = "import os, pathlib, sys\nfrom tinygrad_lab.files.locking import locked\n"
    script += "with locked(pathlib.Path(sys.argv[1])): os._exit(9)\n"
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 9
    with locked(tmp_path, wait=False):
        pass


def test_without_waiting_a_held_lock_is_an_error(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(BlockingIOError), locked(tmp_path, wait=False):
        pass


def test_the_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), locked(tmp_path):
        raise RuntimeError("inside")
    with locked(tmp_path, wait=False):
        pass
