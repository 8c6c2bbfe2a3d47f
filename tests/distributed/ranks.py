"""Programs on real ranks, started in processes of their own and ended after a time limit."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 300  # seconds: a rank that waits forever ends, and a busy machine does not fail a test

needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None, reason="needs MPI: pip install 'tinygrad-lab[mpi]'"
)


def run(command: list[str], **environment: str) -> tuple[int, str, str]:
    """Run a command in a process group of its own, and return its status, output and errors."""
    quick = {"TINYGRAD_LAB_NUM_THREADS": "1", "TINYGRAD_LAB_KERNELS": "none", "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **quick, **environment},
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        out, errors = started.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        raise
    return started.returncode, out, errors


def mpiexec(ranks: int, *program: str, **environment: str) -> tuple[int, str, str]:
    """Run a program of Python on several ranks."""
    from tinygrad_lab.distributed.launcher import find_mpiexec

    return run([find_mpiexec(), "-n", str(ranks), sys.executable, "-m", "mpi4py", *program], **environment)


def results(ranks: int, program: str, folder: Path, *arguments: str, **environment: str) -> list[dict[str, Any]]:
    """Run one of the programs beside this file, and return what each rank writes into the folder."""
    status, out, errors = mpiexec(ranks, str(Path(__file__).with_name(program)), str(folder), *arguments, **environment)
    assert status == 0, out + errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


def write(folder: str, rank: int, found: dict[str, Any]) -> None:
    """Write what a rank found."""
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
