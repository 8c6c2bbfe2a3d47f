"""Verdicts of a property on one case: an error with its tolerance, a violation, or no decision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measure:
    """The largest error that a property found in one case, and its tolerance.

    Raises
    ------
    ValueError
        The tolerance is NaN or infinite, so that no error would exceed it.
    """

    error: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        demand_bound("a measure", self.tolerance)

    @property
    def holds(self) -> bool:
        """Whether the error is within its tolerance; NaN is not."""
        return self.error <= self.tolerance

    @property
    def ratio(self) -> float:
        """The error in units of its tolerance; infinite if the error is NaN."""
        if self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance > 0 and not math.isnan(self.error) else math.inf

    @staticmethod
    def worst(measures: list[Measure]) -> Measure:
        """Return the measure with the largest ratio of error to tolerance."""
        return max(measures, key=lambda m: m.ratio, default=Measure())


class Violation(AssertionError):
    """A property does not hold.

    Parameters
    ----------
    message : str
        The quantities that were compared, and their difference.
    measure : Measure
        The error and its tolerance.
    argument : str
        The layer's argument that the finding is about, if there is one.

    Attributes
    ----------
    at : list of arrays or None
        The float arguments for which the property does not hold; None for those of the trial.
    """

    def __init__(self, message: str, measure: Measure | None = None, *, argument: str = "") -> None:
        super().__init__(message)
        self.measure = measure or Measure(math.inf, 0.0)
        self.argument = argument
        self.at: list[Any] | None = None


class NotFinite(Violation):
    """A number that must be finite is NaN or infinite."""


class Undecided(Exception):
    """The oracle cannot decide: the case is at a kink, or its numbers are too large for differences."""


@contextmanager
def blaming(arrays: list[Any]) -> Iterator[None]:
    """Store these arguments, instead of the trial's, in a Violation that the ``with`` block raises."""
    try:
        yield
    except Violation as violation:
        violation.at = arrays
        raise


def demand_bound(what: str, tolerance: Any) -> None:
    """Raise a ValueError if a tolerance, a number or an array, is not finite, because no error would exceed it."""
    bound = np.asarray(tolerance, dtype=float)
    if not np.isfinite(bound).all():
        got = bound[~np.isfinite(bound)][0]
        raise ValueError(f"{what}: expected a finite tolerance, got {got}, from numbers that are not finite")


def demand_finite(what: str, array: Any, *, argument: str = "", entries: str = "entries") -> None:
    """Raise a Violation unless every number of an array is finite."""
    array = np.asarray(array)
    wrong = ~np.isfinite(array)
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), array.shape)
        count = f"NaN or infinity in {int(wrong.sum())} of {array.size} {entries}"
        raise NotFinite(f"{what}: expected finite numbers, got {array[at]}{place(at)} ({count})", argument=argument)


def place(at: Sequence[Any]) -> str:
    """Return an index in words, or "" for that of a single number."""
    return f" at {tuple(map(int, at))}" if len(at) else ""


def agree(
    what: str,
    got: Any,
    expected: Any,
    tolerance: Any,
    *,
    argument: str = "",
    entries: str = "entries",
    finite: bool = True,
) -> Measure:
    """Compare two arrays.

    Parameters
    ----------
    what : str
        The name of the compared quantity in the message.
    got, expected : arrays
        The two arrays.
    tolerance : float or array
        The largest error that passes, for all entries or for each.
    argument : str
        The layer's argument that a finding would be about.
    entries : str
        The word for the arrays' entries.
    finite : bool
        Whether all numbers must be finite. Otherwise, NaN agrees with NaN, and infinity with the same infinity.

    Raises
    ------
    Violation
        Their shapes differ, a number is not finite, or an entry differs by more than the tolerance.
    ValueError
        The tolerance is not finite.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        raise Violation(f"{what}: expected shape {expected.shape}, got {got.shape}", argument=argument)
    if got.size == 0:
        return Measure()
    if finite:
        demand_finite(what, got, argument=argument, entries=entries)
        demand_finite(f"{what}, the expected value", expected, argument=argument, entries=entries)
    demand_bound(what, tolerance)
    with np.errstate(all="ignore"):
        same = (got == expected) | ((got != got) & (expected != expected))
        error = np.where(same, 0.0, np.abs(got - expected))
    error = np.where(np.isnan(error), np.inf, error)
    bound = np.broadcast_to(np.asarray(tolerance, dtype=float), error.shape)
    excess = np.where(error == 0, 0.0, error / np.maximum(bound, np.finfo(float).tiny))
    at = np.unravel_index(int(np.argmax(excess)), error.shape)
    measure = Measure(float(error[at]), float(bound[at]))
    if not measure.holds:
        wrong = int((error > bound).sum())
        raise Violation(
            f"{what}: expected {expected[at]:.10g}, got {got[at]:.10g}{place(at)} "
            f"(error {measure.error:.3g}, tolerance {measure.tolerance:.3g}; {wrong} of {error.size} {entries} differ)",
            measure,
            argument=argument,
        )
    return measure


def demand(holds: Any, message: str, *, argument: str = "") -> None:
    """Raise a Violation unless a condition holds."""
    if not holds:
        raise Violation(message, argument=argument)
