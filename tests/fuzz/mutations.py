"""Mutations of files and of plain values, and the check that fuzzers make of each.

A case depends only on its number, so the number repeats a failure. The suite tries a few hundred cases in each test;
``FUZZ_SECONDS=3600 pytest -n 0 tests/fuzz`` tries new cases for an hour in each test, and ``FUZZ_FIRST=123`` begins at
case 123.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tinygrad_lab.errors import LabError

EDGES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, -(2**63) - 1, 10**400, 0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, -1e308,
    math.inf, -math.inf, math.nan, "", "a", "relu", "a\x00b", "\n", "../..", "/dev/null", "$x_$", "[/]", "é" * 300,
    "x" * 5000, "~nosuchuser/x", "http://[::1", [], [0], [1, 2], [[]], ["a"], [None], [1e308], {}, {"name": 3},
    {"name": "relu"}, {"name": []}, {"": {}}, {"$array": "x"}, {"layer": "relu", "config": 3}, [{"name": "dense"}],
)  # fmt: skip


def cases(count: int) -> Iterator[int]:
    """Yield the numbers of the cases to try: `count` numbers, or as many as FUZZ_SECONDS allows."""
    first, seconds = int(os.environ.get("FUZZ_FIRST", "0")), float(os.environ.get("FUZZ_SECONDS", "0"))
    if not seconds:
        yield from range(first, first + count)
        return
    end = time.monotonic() + seconds
    yield from itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(first or time.time_ns() // 10**6))


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a file's content with one to four damages: truncation, flipped bits, or a part overwritten or moved."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        size = len(changed)
        at, length = rng.randint(0, size), rng.choice((1, 2, 4, 8, 64, 1024))
        piece = changed[at : at + length]
        number = rng.choice(EDGES).to_bytes(8, rng.choice(("little", "big")))
        match rng.randrange(7):
            case 0:
                del changed[at:]
            case 1:
                for place in range(at, min(at + length, size)):
                    changed[place] ^= 1 << rng.randrange(8)
            case 2:
                changed[at : at + len(number)] = number
            case 3:
                changed[at:at] = piece * rng.randint(1, 20)
            case 4:
                del changed[at : at + length]
            case 5:
                changed[at : at + len(piece)] = rng.randbytes(len(piece))
            case 6:
                other = rng.randint(0, size)
                changed[other : other + len(piece)] = piece
    return bytes(changed)


def mutated_tree(tree: Any, rng: random.Random, odd: tuple[Any, ...] = ODD) -> Any:
    """Return a copy of nested dicts and lists with one to three values replaced, removed, renamed or copied."""
    whole = {"": copy.deepcopy(tree)}
    for _ in range(rng.randint(1, 3)):
        places = list(_places(whole))
        holder, key = rng.choice(places)
        match rng.randrange(6):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(rng.choice(odd))
            case 3 if holder is not whole:
                del holder[key]
            case 4 if isinstance(holder, dict) and holder is not whole:
                holder[rng.choice(("", "name", "x", f"{key}x"))] = holder.pop(key)
            case _:
                other, place = rng.choice(places)
                holder[key] = copy.deepcopy(other[place])
    return whole[""]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the position of each value: its dict or list, and its key or index."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def accepted(action: Callable[[], object], case: object = None) -> bool:
    """Return whether an action succeeded; fail if it raised anything but a `LabError` with a message.

    It must take less than ten seconds and four gigabytes. A failure names the case.
    """
    try:
        with limits():
            action()
    except LabError as error:
        if not str(error).strip():
            pytest.fail(f"case {case!r}: an error without a message")
        return False
    except Exception as error:
        error.add_note(f"case {case!r}")
        raise
    return True


@contextmanager
def limits(*, seconds: float = 10, gigabytes: float = 4) -> Iterator[None]:
    """Fail if the code in the ``with`` block takes more than this processor time or memory."""

    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"not done in {seconds} seconds")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + int(gigabytes * 2**30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _address_space() -> int:
    """Return the size of this process's address space in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  a file of the kernel
        return int(file.read().split()[0]) * resource.getpagesize()
