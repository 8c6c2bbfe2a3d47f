"""Measure the overhead of an operation relative to PyTorch's: python tests/benchmarks/engine_overhead.py [--rounds N]

Two chains of 2,000 multiplications and additions of arrays of 16 float32 numbers, forward and backward, on one thread:
with constant factors and terms, and with tracked ones. The arrays are so small that bookkeeping takes nearly all of the
time. Rounds of both frameworks alternate. The ratio is the median over the rounds; below 1, this framework is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

import tinygrad_lab as tgl

OPERATIONS, LENGTH = 2_000, 16


def chain(variable: Callable[[float, bool], Any], tracked: bool) -> float:
    """Return the microseconds that one operation of a chain took, forward and backward."""
    x, factor, term = variable(1.0, True), variable(1.0001, tracked), variable(1e-4, tracked)
    start = time.perf_counter()
    y = x
    for _ in range(OPERATIONS // 2):
        y = y * factor + term
    y.sum().backward()
    return (time.perf_counter() - start) / OPERATIONS * 1e6


def ours(value: float, tracked: bool) -> Any:
    """Return a variable or constant of this framework."""
    return tgl.tensor(np.full(LENGTH, value, "float32"), requires_grad=tracked)


def theirs(value: float, tracked: bool) -> Any:
    """Return a variable or constant of PyTorch."""
    return torch.full((LENGTH,), value, requires_grad=tracked)


def measure(tracked: bool, rounds: int) -> dict[str, float]:
    """Return the median times of both and of their ratio, with the ratio's quartiles."""
    pairs = [(chain(ours, tracked), chain(theirs, tracked)) for _ in range(rounds + 3)][3:]  # three to warm up
    ratios = [a / b for a, b in pairs]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        "microseconds": round(statistics.median(a for a, _ in pairs), 2),
        "torch_microseconds": round(statistics.median(b for _, b in pairs), 2),
        "ratio": round(median, 3),
        "ratio_quartiles": [round(low, 3), round(high, 3)],  # type: ignore[dict-item]
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for name, tracked in (("constant factor", False), ("tracked factor", True)):
        print(json.dumps({"chain": name, **measure(tracked, rounds)}), flush=True)
