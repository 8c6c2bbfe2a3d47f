"""Jobs of the command line on real ranks: progress, errors in one line, and ranks that are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.ranks import ROOT, mpiexec, needs_mpi
from tinygrad_lab.train.checkpoint import CheckpointFolder

pytestmark = [needs_mpi, pytest.mark.slow]

SMALL = ("--set", "data.per_class=8", "--set", "data.batch_size=16", "--set", "training.epochs=2")
TRAIN = ("-m", "tinygrad_lab", "train", "lenet5")


def children(process: int) -> Iterator[int]:
    """Yield the processes that a process started, and those that they started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == process:
            yield int(path.parent.name)
            yield from children(int(path.parent.name))


def test_ranks_with_different_settings_end_with_one_line() -> None:
    program = f"import os, sys; sys.argv = ['tinygrad-lab', *{[*TRAIN[2:], *SMALL]!r}]\n"
    program += "sys.argv += ['--set', 'optimizer.lr=0.0' + str(1 + int(os.environ['PMI_RANK']))]\n"
    program += "from tinygrad_lab.cli import main; sys.exit(main())"
    status, _, errors = mpiexec(2, "-c", program)
    assert status == 1
    lines = [line for line in errors.splitlines() if not line.startswith("Abort(")]
    assert len(lines) == 1, errors
    assert lines[0].startswith("tinygrad-lab train: ranks: expected the same recipe on all, got lenet5 (")


@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGKILL, "was killed by SIGKILL"), (signal.SIGSTOP, "has not answered for 6 s; the job ends")],
)
def test_a_lost_rank_ends_the_job_and_is_named(number: signal.Signals, message: str, tmp_path: Path) -> None:
    endless = [*SMALL[:-1], "training.epochs=100000", "--runs", str(tmp_path), "--quiet"]
    quick = {"TINYGRAD_LAB_NUM_THREADS": "1", "TINYGRAD_LAB_KERNELS": "none"}
    job = subprocess.Popen(
        [sys.executable, *TRAIN, *endless, "--ranks", "2", "--oversubscribe"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **quick},
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("*/checkpoints/step-*.safetensors")):
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.1)
    ranks = [p for p in children(job.pid) if b"mpi4py" in Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0")[2:3]]
    os.kill(max(ranks), number)
    lost = time.monotonic()
    _, errors = job.communicate(timeout=60)
    assert job.returncode != 0
    assert time.monotonic() - lost < 30  # 10 on a machine that has time
    assert len(errors.splitlines()) == 1, errors
    assert f"of 2 (process {max(ranks)} on " in errors
    assert message in errors
    assert not any(Path(f"/proc/{p}").exists() for p in ranks)
    (folder,) = tmp_path.iterdir()
    assert CheckpointFolder(folder / "checkpoints").latest() is not None  # its checksum holds


def test_a_rank_that_raises_ends_the_job_and_is_named(tmp_path: Path) -> None:
    program = f"import sys; sys.argv = ['tinygrad-lab', *{[*TRAIN[2:], *SMALL]!r}, '--runs', {str(tmp_path)!r}]\n"
    program += "from tinygrad_lab.distributed import init\nfrom tinygrad_lab.train.trainer import Trainer\n"
    program += "def fail(*_): raise ZeroDivisionError('planted')\n"
    program += "if init().rank == 1: Trainer.update = fail\n"
    program += "from tinygrad_lab.cli import main; sys.exit(main())"
    status, _, errors = mpiexec(2, "-c", program)
    assert status == 1
    assert "tinygrad-lab: rank 1 of 2 failed: ZeroDivisionError: planted" in errors
