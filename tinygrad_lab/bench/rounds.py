"""Rounds of a benchmark: each process has a turn in each round, so slow moments of the machine slow all of them."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinygrad_lab.bench.networks import Network
from tinygrad_lab.bench.ours import multiply_adds
from tinygrad_lab.bench.worker import MATRIX
from tinygrad_lab.errors import LabError

TURN_SECONDS = 0.2  # a turn has as many steps as fit into this time, but at least one
MOST_STEPS = 50
PAUSE_SECONDS = 0.02  # after a turn, until the threads of that process sleep
WARM_UP = 3
KINDS = ("train", "infer")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TINYGRAD_LAB_NUM_THREADS")


@dataclass
class Turns:
    """A process and its time for each round: the median over the steps of its turn."""

    name: str
    process: subprocess.Popen[str]
    parameters: int = 0
    peak_mib: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def begin(cls, name: str, threads: int, spec: dict[str, Any], *, kernels: str = "all") -> Turns:
        """Start a process; processes build their networks at the same time."""
        variables = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "TINYGRAD_LAB_KERNELS": kernels}
        command = [sys.executable, "-m", "tinygrad_lab.bench.worker", json.dumps(spec)]
        pipe = subprocess.PIPE
        return cls(name, subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True))

    def read(self) -> Any:
        """Return the process's next answer.

        Raises
        ------
        LabError
            The process ended instead; its message is on standard error.
        """
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            status = self.process.wait()
            raise LabError(f"bench: expected an answer from {self.name}, got exit status {status}; its error is above")
        return json.loads(line)

    def ask(self, question: Any) -> Any:
        """Send a line and return the answer."""
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):  # the process has ended, so `read` raises an error
                self.process.stdin.write(json.dumps(question) + "\n" if question else "\n")
                self.process.stdin.flush()
        return self.read()

    def warm_up(self, kinds: Sequence[str]) -> None:
        """Run each kind of step until its code is compiled and its memory allocated; count how many fit into a turn."""
        for kind in kinds:
            least = min(self.ask([kind, WARM_UP]))
            self.counts[kind] = max(1, min(MOST_STEPS, int(TURN_SECONDS / least)))
            self.seconds[kind] = []

    def take(self, kind: str) -> None:
        """Take a turn if the process measures this kind: one step to fill the caches, then the measured steps."""
        if kind in self.counts:
            self.seconds[kind].append(statistics.median(self.ask([kind, 1 + self.counts[kind]])[1:]))
            time.sleep(PAUSE_SECONDS)

    def end(self) -> None:
        """Ask for the peak memory; the process ends."""
        self.peak_mib = self.ask(None)
        self.process.wait()


def quartiles(values: Sequence[float], digits: int) -> list[float]:
    """Return the first and third quartile, rounded."""
    if len(values) < 2:
        return [round(values[0], digits)] * 2
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [round(low, digits), round(high, digits)]


def compare(ours: Turns, peers: Sequence[Turns], kind: str) -> dict[str, Any]:
    """Return the median seconds of one kind of step, and the ratio of the fastest peer's seconds to them, by rounds."""
    found: dict[str, Any] = {
        "seconds": round(statistics.median(ours.seconds[kind]), 6),
        "seconds_quartiles": quartiles(ours.seconds[kind], 6),
    }
    if peers:
        best = min(peers, key=lambda peer: statistics.median(peer.seconds[kind]))
        ratios = [theirs / own for theirs, own in zip(best.seconds[kind], ours.seconds[kind], strict=True)]
        found["best_peer"] = best.name
        found["ratio_to_best_peer"] = round(statistics.median(ratios), 3)
        found["ratio_quartiles"] = quartiles(ratios, 3)
    return found


def row(ours: Turns, peers: Sequence[Turns], work: Sequence[int], rate: float) -> dict[str, Any]:
    """Return the figures of one of this framework's processes, compared with its peers'."""
    training, inference = (compare(ours, peers, kind) for kind in KINDS)
    for found, multiply_adds_each in zip((training, inference), work, strict=True):
        found["gflops"] = round(2e-9 * multiply_adds_each / found["seconds"], 1)
        found["share_of_matrix_product"] = round(found["gflops"] / rate, 3)
    return {**training, "peak_mib": ours.peak_mib, "inference": inference}


def measure(
    network: Network, *, against: str | None, without_numba: bool, rounds: int, threads: int
) -> tuple[dict[str, Any], float]:
    """Measure a network in rounds; return its results, and the machine's speed of matrix products in GFLOP/s.

    Raises
    ------
    LabError
        A process failed.
    """
    spec = {"framework": "tinygrad_lab", "variant": "", "network": network.as_json()}
    everybody = [Turns.begin("tinygrad_lab", threads, spec)]
    if without_numba:
        everybody.append(Turns.begin("tinygrad_lab (NumPy)", threads, spec, kernels="numpy"))
    own = len(everybody)
    for layout in ("default", "channels_last") if against else ():
        everybody.append(
            Turns.begin(f"{against} ({layout})", threads, {**spec, "framework": against, "variant": layout})
        )
    product = Turns.begin("matrix product", threads, {**spec, "network": None})
    try:
        take_turns(everybody, product, rounds)
    finally:
        for turns in (*everybody, product):
            turns.process.kill()
            turns.process.communicate()
    rate = 2e-9 * MATRIX**3 / statistics.median(product.seconds["infer"])
    peers, work = everybody[own:], multiply_adds(network)
    found = {"name": network.name, "batch": network.batch, **row(everybody[0], peers, work, rate)}
    found["peers"] = [
        {
            "name": peer.name,
            "seconds": round(statistics.median(peer.seconds["train"]), 6),
            "peak_mib": peer.peak_mib,
            "inference_seconds": round(statistics.median(peer.seconds["infer"]), 6),
        }
        for peer in peers
    ]
    if without_numba:
        found["without_numba"] = row(everybody[1], peers, work, rate)
    return found, rate


def take_turns(everybody: Sequence[Turns], product: Turns, rounds: int) -> None:
    """Warm up each process, then let them take turns."""
    for turns in (*everybody, product):
        turns.parameters = turns.read()
    learned = {turns.parameters for turns in everybody}
    if len(learned) > 1:
        raise LabError(f"bench: expected networks of equal size, got {[(t.name, t.parameters) for t in everybody]}")
    for turns in everybody:
        turns.warm_up(KINDS)
    product.warm_up(["infer"])
    for _ in range(rounds):
        for kind in KINDS:
            for turns in everybody:
                turns.take(kind)
        product.take("infer")
    for turns in (*everybody, product):
        turns.end()
