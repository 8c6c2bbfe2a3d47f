"""What a property says of one case: how large its error is, that it is broken, or that it cannot be judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measure:
    """The largest error that a property found in one case, and the one that it would have let pass.

    Raises
    ------
    ValueError
        The tolerance is NaN or infinite: nothing would exceed it.
    """

    error: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        demand_bound("a measure", self.tolerance)

    @property
    def holds(self) -> bool:
        """Whether the error is within its tolerance; an error of NaN is not."""
        return self.error <= self.tolerance

    @property
    def ratio(self) -> float:
        """The error in units of its tolerance; infinite for an error of NaN."""
        if self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance > 0 and not math.isnan(self.error) else math.inf

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


class NotFinite(Violation):
    """A number that must be finite is NaN or infinite."""


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


def demand_bound(what: str, tolerance: Any) -> None:
    """Raise a ValueError for a tolerance, a number or an array, that is NaN or infinite: nothing would exceed it."""
    bound = np.asarray(tolerance, dtype=float)
    if not np.isfinite(bound).all():
        got = bound[~np.isfinite(bound)][0]
        raise ValueError(f"{what}: expected a finite tolerance, got {got}: it comes from numbers that are not finite")


def demand_finite(what: str, array: Any, *, argument: str = "", entries: str = "entries") -> None:
    """Raise a Violation unless every number of an array is finite."""
    array = np.asarray(array)
    wrong = ~np.isfinite(array)
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), array.shape)
        count = f"NaN or infinity in {int(wrong.sum())} of {array.size} {entries}"
        raise NotFinite(f"{what}: expected finite numbers, got {array[at]}{place(at)} ({count})", argument=argument)


def place(at: Sequence[Any]) -> str:
    """Return an index in words; a number has none."""
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
        What is compared, for the message.
    got, expected : arrays
        The two.
    tolerance : float or array
        The largest error that passes, of all entries or of each.
    argument : str
        The argument of the layer that the finding would be about.
    entries : str
        What stands in the arrays.
    finite : bool
        Whether all numbers must be finite. If they need not be, NaN agrees with NaN, and infinity with the same
        infinity.

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
        demand_finite(f"{what}, what it is compared with", expected, argument=argument, entries=entries)
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
