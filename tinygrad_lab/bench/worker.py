"""A process that waits for its turn: reads what to do, line by line, does it, and answers with how long it took.

It is given one JSON object as its argument: the framework, the variant and the network (or none, for matrix products).
On standard input come lines of JSON, [what, how often]; each is answered by a line, the seconds of each time. The first
answer is the number of parameters, the last, to an empty line, the peak memory of the process in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygrad_lab.bench.networks import Network

MATRIX = 2048  # rows of the square matrices whose product shows what the machine can do


class Product:
    """A product of large matrices: as fast as this machine gets at multiplying and adding."""

    def __init__(self) -> None:
        import numpy as np

        self.matrix = np.ones((MATRIX, MATRIX), np.float32)

    def parameters(self) -> int:
        """Nothing is learned."""
        return 0

    def infer(self) -> Any:
        """Multiply."""
        return self.matrix @ self.matrix


def subject(framework: str, variant: str, network: dict[str, Any] | None) -> Any:
    """Return what is measured; the framework is imported here and nowhere else."""
    if network is None:
        return Product()
    given = Network(**{**network, "image": tuple(network["image"])})
    if framework == "torch":
        from tinygrad_lab.bench import peers

        return peers.Subject(given, variant)
    from tinygrad_lab.bench import ours

    return ours.Subject(given, variant)


def peak_mib() -> float:
    """Return the most memory that this process has held; the parent's is not in it where the system tells."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def timed(work: Callable[[], Any]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(arguments: list[str]) -> None:
    """Serve until an empty line, or the end of the input."""
    what = subject(**json.loads(arguments[0]))
    answer(what.parameters())
    for line in sys.stdin:
        if not line.strip():
            answer(round(peak_mib(), 1))
            return
        name, count = json.loads(line)
        answer([timed(getattr(what, name)) for _ in range(count)])


def answer(result: Any) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
