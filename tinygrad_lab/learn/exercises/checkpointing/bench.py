"""Code beside an answer to `checkpointing`: layers that count their calls and the arrays that are alive."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np


class Counting:
    """A layer y = sin(a x), which counts forwards, and its results that are still referenced.

    Parameters
    ----------
    a : float
        The factor.
    counts : dict of str to int
        The numbers of calls, of results that are alive, and the most of them at a time; shared by all layers.
    """

    def __init__(self, a: float, counts: dict[str, int]) -> None:
        self.a, self.counts = a, counts

    def forward(self, x: Any) -> Any:
        """Return sin(a x)."""
        y = np.sin(self.a * x)
        self.counts["forwards"] += 1
        self.counts["alive"] += 1
        self.counts["most"] = max(self.counts["most"], self.counts["alive"])
        weakref.finalize(y, self.released)
        return y

    def released(self) -> None:
        """Note that a result is no longer referenced."""
        self.counts["alive"] -= 1

    def backward(self, g: Any, x: Any) -> Any:
        """Return the gradient of x."""
        return g * self.a * np.cos(self.a * x)


def walk(answer: Any, x: Any, g: Any, count: int, every: int) -> list[Any]:
    """Return the gradient of a chain of layers, the number of forwards, and the most results that were alive."""
    counts = {"forwards": 0, "alive": 0, "most": 0}
    layers = [Counting(1.0 + k / (2 * count), counts) for k in range(count)]
    found = answer.gradient(layers, x, g, every)
    return [np.array(found), counts["forwards"], counts["most"]]
