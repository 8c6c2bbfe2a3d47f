"""What a property says of one case: how large its error is, that it is broken, or that it cannot be judged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measure:
    """The largest error that a property found in one case, and the one that it would have let pass."""

    error: float = 0.0
    tolerance: float = 0.0

    @property
    def ratio(self) -> float:
        """The error in units of its tolerance."""
        if self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance > 0 else math.inf

    @staticmethod
    def worst(measures: list[Measure]) -> Measure:
        """Return the measure that is nearest to its tolerance, or furthest beyond it."""
        return max(measures, key=lambda m: m.ratio, default=Measure())


class Violation(AssertionError):
    """A property does not hold.

    Parameters
    ----------
    message : str
        What was compared, and by how much it differs.
    measure : Measure
        The error and its tolerance.
    argument : str
        The argument of the layer that the finding is about, if one is.

    Attributes
    ----------
    at : list of arrays or None
        The float arguments for which it does not hold, where they are others than the trial's.
    """

    def __init__(self, message: str, measure: Measure | None = None, *, argument: str = "") -> None:
        super().__init__(message)
        self.measure = measure or Measure(math.inf, 0.0)
        self.argument = argument
        self.at: list[Any] | None = None


class Undecided(Exception):
    """The oracle cannot tell: the case lies at a kink, or its numbers are too large to be differenced."""


@contextmanager
def blaming(arrays: list[Any]) -> Iterator[None]:
    """Note in a Violation of the ``with`` block that it holds for these arguments and not for the trial's."""
    try:
        yield
    except Violation as violation:
        violation.at = arrays
        raise


def agree(
    what: str, got: Any, expected: Any, tolerance: Any, *, argument: str = "", entries: str = "entries"
) -> Measure:
    """Compare two arrays; the tolerance is a number or an array of them, `entries` says what stands in them.

    Raises
    ------
    Violation
        Their shapes differ, or an entry differs by more than the tolerance (NaN agrees with nothing but NaN).
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        raise Violation(f"{what}: expected shape {expected.shape}, got {got.shape}", argument=argument)
    if got.size == 0:
        return Measure()
    with np.errstate(all="ignore"):
        same = (got == expected) | ((got != got) & (expected != expected))
        error = np.where(same, 0.0, np.abs(got - expected))
    error = np.where(np.isnan(error), np.inf, error)
    bound = np.broadcast_to(np.asarray(tolerance, dtype=float), error.shape)
    excess = np.where(error == 0, 0.0, error / np.maximum(bound, np.finfo(float).tiny))
    at = np.unravel_index(int(np.argmax(excess)), error.shape)
    measure = Measure(float(error[at]), float(bound[at]))
    if measure.error > measure.tolerance:
        wrong = int((error > bound).sum())
        place = f" at {tuple(map(int, at))}" if at else ""
        raise Violation(
            f"{what}: expected {expected[at]:.10g}, got {got[at]:.10g}{place} "
            f"(error {measure.error:.3g}, tolerance {measure.tolerance:.3g}; {wrong} of {error.size} {entries} differ)",
            measure,
            argument=argument,
        )
    return measure


def demand(holds: Any, message: str, *, argument: str = "") -> None:
    """Raise a Violation unless a condition holds."""
    if not holds:
        raise Violation(message, argument=argument)
