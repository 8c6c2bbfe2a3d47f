"""Launcher of jobs on this machine: it starts the ranks by ``mpiexec`` and says which of them ended the job."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tinygrad_lab.distributed.group import ANNOUNCE
from tinygrad_lab.errors import ConfigError

_THREADS = "TINYGRAD_LAB_NUM_THREADS"
_INSTALL = "install it with pip install 'tinygrad-lab[mpi]'"
_NOISE = re.compile(
    r"=|Abort\(|YOUR APPLICATION TERMINATED|This typically refers|Please see the FAQ|\[mpiexec@.*Ctrl-C|Press Ctrl-C"
)
_ENDED = re.compile(r"=\s+(?:PID (?P<process>\d+) RUNNING AT (?P<machine>\S+)|EXIT CODE: (?P<code>\d+))")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_cores(ranks: int) -> int:
    """Return the number of threads of each of several processes that share the cores."""
    return max(1, cores() // ranks)


def find_mpiexec() -> str:
    """Return the path of MPI's launcher.

    Raises
    ------
    ConfigError
        MPI or mpi4py is not installed.
    """
    if importlib.util.find_spec("mpi4py") is None:
        raise ConfigError(f"--ranks: expected the package mpi4py, which is missing; {_INSTALL}")
    beside = Path(sys.executable).parent / "mpiexec"  # that of the wheel, which fits mpi4py
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise ConfigError(f"--ranks: expected MPI's program mpiexec, which is missing; {_INSTALL}")
    return found


def launch(ranks: int, arguments: Sequence[str], *, oversubscribe: bool = False) -> int:
    """Run ``tinygrad-lab ARGUMENTS`` on several ranks of this machine, and return the exit status.

    The ranks share the cores, unless TINYGRAD_LAB_NUM_THREADS gives the threads of each. Ctrl-C, SIGTERM and the
    end of the terminal reach the ranks as one Ctrl-C.

    Parameters
    ----------
    ranks : int
        The number of ranks.
    arguments : sequence of str
        The arguments of the command.
    oversubscribe : bool
        Whether there may be more ranks than cores.

    Raises
    ------
    ConfigError
        MPI is missing, or there are more ranks than cores.
    """
    if ranks > cores() and not oversubscribe:
        raise ConfigError(
            f"--ranks: expected at most {cores()}, the number of cores, got {ranks}; add --oversubscribe to let ranks "
            "share cores"
        )
    command = [find_mpiexec(), "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m", "tinygrad_lab", *arguments]
    job = _Job(ranks, command, {_THREADS: str(share_of_cores(ranks)), **os.environ, ANNOUNCE: "1"})
    return job.run()


class _Job:
    """A running job: it passes on what the ranks print, without MPI's own remarks."""

    def __init__(self, ranks: int, command: Sequence[str], environment: dict[str, str]) -> None:
        self.ranks, self.command, self.environment = ranks, command, environment
        self.processes: dict[str, str] = {}  # the rank of each process
        self.ended: dict[str, str] = {}
        self.stopped = 0  # the signal that ended the job

    def run(self) -> int:
        """Run the job, and return its exit status."""
        numbers = [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * hasattr(signal, "SIGHUP")
        before = {number: signal.signal(number, self._stop) for number in numbers}
        try:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment,
                start_new_session=True,  # so that a Ctrl-C in the terminal reaches the ranks once
            )
            pairs = ((self.process.stdout, sys.stdout), (self.process.stderr, sys.stderr))
            threads = [threading.Thread(target=self._pass_on, args=pair) for pair in pairs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            status = self.process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stopped:
            return 128 + self.stopped
        self._report()
        return status

    def _stop(self, number: int, frame: object) -> None:
        self.stopped = number
        self.process.send_signal(signal.SIGINT)

    def _pass_on(self, source: IO[str], target: IO[str]) -> None:
        for line in source:
            if line.startswith(ANNOUNCE):
                _, rank, process = line.split()
                self.processes[process] = rank
            elif found := _ENDED.match(line):
                self.ended = {name: text for name, text in found.groupdict().items() if text} | self.ended
            elif line.strip() and not _NOISE.match(line):
                target.write(line)
                target.flush()

    def _report(self) -> None:
        """Name the rank that a signal killed; a rank that fails by itself says so."""
        code = int(self.ended.get("code", 0))
        if code not in {int(number) for number in signal.Signals}:
            return
        process, machine = self.ended.get("process", ""), self.ended.get("machine", "this machine")
        rank = self.processes.get(process)
        if rank is None:  # the process of MPI that starts ranks, or a rank that ends with the status of a signal
            return
        sys.stderr.write(
            f"tinygrad-lab: rank {rank} of {self.ranks} (process {process} on {machine}) was killed by "
            f"{signal.Signals(code).name}; the last checkpoint is whole, continue with --resume\n"
        )
