"""Groups of ranks, the processes of one job, and the exchange of arrays between them.

A job of one process needs no MPI: its group has one rank, and every exchange returns its argument. A larger job is
started by MPI's launcher, ``mpiexec -n 4 python -m mpi4py program.py``; mpi4py moves the arrays. Without ``-m mpi4py``,
a rank that fails would leave the others waiting forever.

Sums have the same bits on every rank and in every run: `tree_sum` fixes the order of additions, which MPI does not.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array, backend_of
from tinygrad_lab.distributed.watch import Watch
from tinygrad_lab.errors import DistributedError, ShapeError

BUCKET = 1 << 18  # elements that travel together: while one bucket is added, the next one is on its way
SPINS = 100  # tests of a request before its waiting begins to sleep
ANNOUNCE = "TINYGRAD_LAB_RANK"  # set by the launcher, for which each rank then prints its process
NAP = 2e-4  # seconds; a sleeping rank leaves its core to the others

_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")  # set by launchers


def tree_sum(terms: Iterable[Any]) -> Any:
    """Return the sum of equally shaped terms, added in pairs: ((a + b) + (c + d)) + ...

    The order of additions depends only on the number of terms. The sums of 8 terms by 1, 2, 4 or 8 ranks are therefore
    the same bit for bit if every rank first adds its own consecutive terms. At most log2(n) + 1 sums are in memory.

    Examples
    --------
    >>> tree_sum(["a", "b", "c", "d", "e"])
    'abcde'
    """
    sums: list[tuple[int, Any]] = []  # how many terms each one holds, a falling sequence of powers of two
    for term in terms:
        count = 1
        while sums and sums[-1][0] == count:
            term = sums.pop()[1] + term
            count *= 2
        sums.append((count, term))
    total = sums.pop()[1]
    while sums:
        total = sums.pop()[1] + total
    return total


class Group:
    """A group of one rank; `Ranks` is one of several.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and the number of all.
    sent : int
        The bytes that this rank has sent to others so far.

    Examples
    --------
    >>> world = Group()
    >>> world.rank, world.size, world.all_sum(np.ones(2))
    (0, 1, array([1., 1.]))
    """

    rank, size = 0, 1

    def __init__(self) -> None:
        self.sent = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank} of {self.size})"

    def all_gather(self, x: Array) -> Array:
        """Return the arrays of all ranks, stacked; shapes (...) -> (size, ...)."""
        return x[None]

    def all_sum(self, x: Array, *, fast: bool = False) -> Array:
        """Return the sum over all ranks, by `tree_sum`; `fast` leaves the order of additions to MPI."""
        return x

    def reduce_scatter(self, x: Array) -> Array:
        """Return this rank's entry of the sum over all ranks; shapes (size, ...) -> (...)."""
        self._check_entries(x)
        return x[0]

    def broadcast(self, x: Array, root: int = 0) -> Array:
        """Return the root's array."""
        return x

    def send(self, x: Array, to: int) -> None:
        """Send an array to another rank, which must `receive` one of the same shape and dtype."""
        raise self._alone("send", to)

    def receive(self, like: Any, source: int) -> Array:
        """Return the array that another rank sends, of the shape and dtype of `like`."""
        raise self._alone("receive", source)

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the plain values of all ranks."""
        return [value]

    def wait_for_all(self) -> None:
        """Wait until all ranks are here."""

    def split(self, color: int) -> Group:
        """Return the group of all ranks that give the same color."""
        return self

    def any(self, condition: bool) -> bool:
        """Return whether a condition holds on any rank."""
        return any(self.gather_objects(bool(condition)))

    def _check_entries(self, x: Array) -> None:
        if x.shape[:1] != (self.size,):
            raise ShapeError(
                f"reduce_scatter: expected a first axis of {self.size}, an entry for each rank, got shape {x.shape}"
            )

    def _alone(self, what: str, other: int) -> DistributedError:
        return DistributedError(f"{what}: expected a rank below 1, the size of the group, got {other}; use mpiexec")


class Ranks(Group):
    """The ranks of an MPI communicator.

    Arrays of a GPU travel through the memory of the host.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator.
    """

    def __init__(self, comm: Any) -> None:
        super().__init__()
        self.comm, self.rank, self.size = comm, comm.Get_rank(), comm.Get_size()

    def all_gather(self, x: Array) -> Array:
        """Return the arrays of all ranks, stacked; shapes (...) -> (size, ...)."""
        x = _contiguous(x)
        out = np.empty((self.size, *x.shape), x.dtype)
        _wait(self.comm.Iallgather(x, out))
        self.sent += x.nbytes * (self.size - 1)
        return out

    def all_sum(self, x: Array, *, fast: bool = False) -> Array:
        """Return the sum over all ranks, by `tree_sum`; `fast` leaves the order of additions to MPI."""
        x = _contiguous(x)
        if fast:
            out = np.empty_like(x)
            _wait(self.comm.Iallreduce(x, out))
            self.sent += 2 * x.nbytes * (self.size - 1) // self.size  # what a ring sends; MPI may choose another way
            return out
        if x.size < 16 * self.size:  # one exchange takes less time than two
            return tree_sum(self.all_gather(x))
        flat = x.reshape(-1)
        parts = [self._scatter(flat[i : i + BUCKET]) for i in range(0, flat.size, BUCKET)]
        waiting = [self._gather(*part) for part in parts]
        return np.concatenate([finish() for finish in waiting]).reshape(x.shape)

    def _scatter(self, bucket: Array) -> tuple[Any, Array, int]:
        """Start to send each rank its piece of a bucket."""
        piece = -(-bucket.size // self.size)
        padded = np.zeros(self.size * piece, bucket.dtype)
        padded[: bucket.size] = bucket
        out = np.empty((self.size, piece), bucket.dtype)
        self.sent += 2 * piece * (self.size - 1) * bucket.itemsize  # there, and back in `_gather`
        return (self.comm.Ialltoall(padded, out), padded), out, bucket.size

    def _gather(self, request: Any, pieces: Array, size: int) -> Callable[[], Array]:
        """Add the pieces that arrived, start to send the sum to all ranks, and return how to finish."""
        _wait(request[0])
        total = tree_sum(pieces)
        out = np.empty_like(pieces)
        gathering = self.comm.Iallgather(total, out)

        def finish() -> Array:
            _wait(gathering, total)
            return out.reshape(-1)[:size]

        return finish

    def reduce_scatter(self, x: Array) -> Array:
        """Return this rank's entry of the sum over all ranks; shapes (size, ...) -> (...)."""
        self._check_entries(x)
        x = _contiguous(x)
        out = np.empty_like(x)
        _wait(self.comm.Ialltoall(x, out))
        self.sent += x.nbytes * (self.size - 1) // self.size
        return tree_sum(out)

    def broadcast(self, x: Array, root: int = 0) -> Array:
        """Return the root's array."""
        self._check(root, "broadcast")
        out = np.array(x, order="C")
        _wait(self.comm.Ibcast(out, root))
        self.sent += out.nbytes * (self.size - 1) if self.rank == root else 0
        return out

    def send(self, x: Array, to: int) -> None:
        """Send an array to another rank, which must `receive` one of the same shape and dtype."""
        self._check(to, "send")
        x = _contiguous(x)
        _wait(self.comm.Isend(x, to))
        self.sent += x.nbytes

    def receive(self, like: Any, source: int) -> Array:
        """Return the array that another rank sends, of the shape and dtype of `like`."""
        self._check(source, "receive")
        out = np.empty(like.shape, like.dtype)
        _wait(self.comm.Irecv(out, source))
        return out

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the plain values of all ranks."""
        self.wait_for_all()  # before a call that keeps a core busy
        return list(self.comm.allgather(value))

    def wait_for_all(self) -> None:
        """Wait until all ranks are here."""
        _wait(self.comm.Ibarrier())

    def split(self, color: int) -> Group:
        """Return the group of all ranks that give the same color."""
        comm = self.comm.Split(color, self.rank)
        return Ranks(comm) if comm.Get_size() > 1 else Group()

    def _check(self, other: int, what: str) -> None:
        if not 0 <= other < self.size:
            raise DistributedError(f"{what}: expected a rank from 0 to {self.size - 1}, got {other}")


def _contiguous(x: Any) -> Array:
    return np.ascontiguousarray(backend_of(x).to_numpy(x)).reshape(x.shape)


def _yield_core() -> None:
    """Let another process run, where the system can be asked for that."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()


def _wait(request: Any, *held: Any) -> None:
    """Wait for a request. MPI's own waiting would keep a core busy that other ranks may need."""
    for _ in range(SPINS):
        if request.Test():
            return
        _yield_core()
    while not request.Test():
        time.sleep(NAP)


@functools.cache
def init() -> Group:
    """Return the group of all ranks of this job; it has one rank if the program was not started by MPI's launcher.

    From the first call on, the ranks watch one another: if one stops answering, the others end the job.

    Raises
    ------
    DistributedError
        The job has several ranks that were started without ``-m mpi4py``.
    """
    several = any(int(os.environ.get(name, 1)) > 1 for name in _SIZES)
    if "mpi4py.run" not in sys.modules:
        if several:
            raise DistributedError(
                "init: expected ranks that end together, got ranks started without -m mpi4py, where one that fails "
                "leaves the others waiting; use mpiexec -n N python -m mpi4py ..."
            )
        return Group()
    from mpi4py import MPI

    if MPI.COMM_WORLD.Get_size() == 1:
        return Group()
    if ANNOUNCE in os.environ:
        os.write(2, f"{ANNOUNCE} {MPI.COMM_WORLD.Get_rank()} {os.getpid()}\n".encode())  # at once, unlike print
    Watch(MPI).start()
    return Ranks(MPI.COMM_WORLD)
