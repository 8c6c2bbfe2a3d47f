"""Watch over the ranks of a job: a rank that stops answering ends the job instead of stopping it forever.

MPI itself notices a process that ends. It does not notice one that is suspended, or whose machine is gone: the others
would wait for it. So a thread of each rank sends a beat to the next rank, in a ring, and listens to the rank before it.
"""

from __future__ import annotations

import atexit
import os
import platform
import sys
import threading
import time
from typing import Any

BEAT = 0.5  # seconds between two beats
SILENCE = 6.0  # seconds without a beat after which a rank counts as lost
_BEAT, _END = 1, 2  # tags of messages


class Watch(threading.Thread):
    """The thread that sends this rank's beats and listens to those of the rank before it.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``.
    """

    def __init__(self, mpi: Any) -> None:
        super().__init__(name="tinygrad_lab-watch", daemon=True)
        self.mpi, self.comm = mpi, mpi.COMM_WORLD.Dup()
        self.rank, self.size = self.comm.Get_rank(), self.comm.Get_size()
        self.before, self.after = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        self.others = self.comm.allgather((os.getpid(), platform.node()))
        self.ended = threading.Event()

    def start(self) -> None:
        """Start to watch, where MPI may be called by two threads, until the program ends."""
        if self.mpi.Query_thread() == self.mpi.THREAD_MULTIPLE:
            atexit.register(self._end)
            super().start()

    def run(self) -> None:
        """Send and receive beats until the program or the rank before this one ends."""
        quiet, before, sent, watching = 0.0, time.monotonic(), self.mpi.REQUEST_NULL, True
        while not self.ended.wait(BEAT):
            if sent.Test():
                sent = self.comm.Isend(b"", self.after, _BEAT)
            now = time.monotonic()
            quiet += min(now - before, 2 * BEAT)  # if this rank was suspended too, that time does not count
            before = now
            while watching and self.comm.Iprobe(self.before):
                status = self.mpi.Status()
                self.comm.Recv(bytearray(), self.before, status=status)
                quiet, watching = 0.0, status.Get_tag() == _BEAT
            if watching and quiet > SILENCE:
                self._report(quiet)

    def _report(self, seconds: float) -> None:
        process, machine = self.others[self.before]
        who = f"rank {self.before} of {self.size} (process {process} on {machine})"
        sys.stderr.write(f"tinygrad-lab: {who} has not answered for {seconds:.0f} s; the job ends\n")
        sys.stderr.flush()
        self.comm.Abort(1)

    def _end(self) -> None:
        self.ended.set()
        self.join()
        self.comm.Isend(b"", self.after, _END)
