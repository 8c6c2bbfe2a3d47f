"""Worker process of the benchmark: it reads requests line by line and answers with the time that each took.

Its argument is one JSON object: the framework, the variant and the network (or none, for matrix products). Requests on
standard input are lines of JSON, [what, how often]. An answer is a line with the seconds of each repetition. Before the
first request, the worker writes its number of parameters. An empty line ends it; the answer is the peak memory in MiB.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from tinygrad_lab.bench.networks import Network
from tinygrad_lab.limits import peak_memory

MATRIX = 2048  # rows of the square matrices whose product measures the machine's speed


class Product:
    """Product of large matrices, which measures the machine's peak speed."""

    def __init__(self) -> None:
        import numpy as np

        self.matrix = np.ones((MATRIX, MATRIX), np.float32)

    def parameters(self) -> int:
        """Return 0: a product has no parameters."""
        return 0

    def infer(self) -> Any:
        """Multiply the matrices."""
        return self.matrix @ self.matrix


def subject(framework: str, variant: str, network: dict[str, Any] | None) -> Any:
    """Return the subject of the measurement. The framework is imported only here."""
    if network is None:
        return Product()
    given = Network(**{**network, "image": tuple(network["image"])})
    if framework == "torch":
        from tinygrad_lab.bench import peers

        return peers.Subject(given, variant)
    from tinygrad_lab.bench import ours

    return ours.Subject(given, variant)


def peak_mib() -> float:
    """Return the peak memory of this process in MiB."""
    return peak_memory() / 2**20


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(arguments: list[str]) -> None:
    """Answer requests until an empty line, or the end of the input."""
    what = subject(**json.loads(arguments[0]))
    answer(what.parameters())
    for line in sys.stdin:
        if not line.strip():
            answer(round(peak_mib(), 1))
            return
        name, count = json.loads(line)
        answer([timed(getattr(what, name)) for _ in range(count)])


def answer(result: Any) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
