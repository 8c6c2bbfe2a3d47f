"""What a run is worth: the three figures that are quoted of it, and their spread over seeds.

Accuracy on test images moves from epoch to epoch, so the best of many epochs flatters: whoever quotes it has chosen on
the test set. Three figures are told apart here, all measured on the test images:

- ``best_on_test``: at the epoch where that very figure is best, as many documents quote it;
- ``last``: at the last epoch;
- ``chosen_on_validation``: at the epoch that is best on a part held out of the training images. This one is honest.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Metrics = Mapping[str, Any]

FIGURES = {
    "best_on_test": "best epoch on the test set",
    "last": "last epoch",
    "chosen_on_validation": "epoch chosen on validation",
}


def best_epoch(history: Sequence[Metrics], split: str) -> int:
    """Return the index of the epoch of highest accuracy on a split; of equal ones that of least loss, then the first.

    Examples
    --------
    >>> history = [{"held_out": {"accuracy": a, "loss": b}} for a, b in ((0.5, 1.0), (0.9, 0.4), (0.9, 0.3))]
    >>> best_epoch(history, "held_out")
    2
    """
    return min(range(len(history)), key=lambda i: (-history[i][split]["accuracy"], history[i][split]["loss"], i))


def figures(history: Sequence[Metrics]) -> dict[str, dict[str, Any]]:
    """Return the figures of a run: from each name in `FIGURES` to ``{"epoch", "accuracy", "loss"}`` on the test images.

    Examples
    --------
    >>> history = [{"held_out": {"accuracy": a, "loss": 1 - a}, "validation": {"accuracy": b, "loss": 1 - b}}
    ...            for a, b in ((0.90, 0.95), (0.94, 0.93), (0.92, 0.94))]
    >>> {name: (figure["epoch"], figure["accuracy"]) for name, figure in figures(history).items()}
    {'best_on_test': (2, 0.94), 'last': (3, 0.92), 'chosen_on_validation': (1, 0.9)}
    """
    chosen = {"best_on_test": best_epoch(history, "held_out"), "last": len(history) - 1}
    if "validation" in history[-1]:
        chosen["chosen_on_validation"] = best_epoch(history, "validation")
    return {name: {"epoch": epoch + 1, **history[epoch]["held_out"]} for name, epoch in chosen.items()}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and standard deviation (0 for a single value), and the values.

    Examples
    --------
    >>> spread([0.9, 0.92, 0.94])
    {'mean': 0.92, 'std': 0.02, 'values': [0.9, 0.92, 0.94]}
    """
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 6), "std": round(std, 6), "values": list(values)}


def compare(one: Sequence[float], other: Sequence[float]) -> str:
    """Say which of two sets of runs is better, or that it is undecided: if the means are closer than the spread.

    The spread is that of a difference of single runs: the root of the sum of both variances. A set of one run has none
    of its own and borrows the other's; two single runs decide nothing.

    Examples
    --------
    >>> compare([0.90, 0.91, 0.92], [0.95, 0.96, 0.97])
    'lower by 5.00 points'
    >>> compare([0.90, 0.91, 0.92], [0.91, 0.92, 0.93])
    'undecided: 1.00 points lower, spread 1.41'
    """
    difference = 100 * (statistics.mean(one) - statistics.mean(other))
    direction = "higher" if difference > 0 else "lower"
    spreads = [statistics.stdev(values) for values in (one, other) if len(values) > 1]
    if not spreads:
        return f"undecided: {abs(difference):.2f} points {direction}, one run each"
    width = 100 * (sum(s * s for s in spreads) * 2 / len(spreads)) ** 0.5
    if abs(difference) <= width:
        return f"undecided: {abs(difference):.2f} points {direction}, spread {width:.2f}"
    return f"{direction} by {abs(difference):.2f} points"
