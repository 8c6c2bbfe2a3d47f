"""What a run of the kit found, layer by layer and property by property."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.trials.verdict import Measure

# A wrong gradient is wrong for a batch of one too: what is broken for the reason that something else is.
CONSEQUENCES = {"gradients": ("second_order", "ties", "finite_gradients", "zero_size", "batch_of_one")}


def follows(name: str, broken: Iterable[str]) -> bool:
    """Tell whether a property is broken because another one is, as far as one can tell."""
    return any(name in CONSEQUENCES.get(cause, ()) for cause in broken)


@dataclass
class Failure:
    """A case that breaks a property.

    Parameters
    ----------
    case : Case or None
        The smallest one found; None where the finding is about the layer as a whole.
    error : Exception
        What the property said, or what the layer raised.
    report : str
        The explanation for people.
    trial : Trial or None
        The case made real, for those who write another report.
    """

    case: Case | None
    error: Exception
    report: str = ""
    trial: Any = field(default=None, repr=False)

    @property
    def headline(self) -> str:
        """The first line of the error."""
        text = str(self.error) or type(self.error).__name__
        name = "" if isinstance(self.error, AssertionError) else f"{type(self.error).__name__}: "
        return name + text.splitlines()[0]


@dataclass
class PropertyResult:
    """What one property said over all cases.

    Parameters
    ----------
    name : str
        The property.
    examples : int
        How many cases it was judged on.
    worst : Measure
        The error that came nearest to its tolerance.
    undecided : int
        Cases that lay at a kink.
    failure : Failure or None
        The smallest case that breaks it.
    exemption : str or None
        The author's reason why the layer need not have it.
    seconds : float
        The time that it took.
    """

    name: str
    examples: int = 0
    worst: Measure = field(default_factory=Measure)
    undecided: int = 0
    failure: Failure | None = None
    exemption: str | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it holds, or the layer is exempt."""
        return self.failure is None or self.exemption is not None

    @property
    def needless(self) -> bool:
        """Whether an exemption is claimed that the layer does not need."""
        return self.exemption is not None and self.failure is None and self.examples > 0

    def add(self, measure: Measure) -> None:
        """Count one more case."""
        self.examples += 1
        self.worst = Measure.worst([self.worst, measure])

    def as_json(self) -> dict[str, Any]:
        """Return plain values; an error that is no number is None."""
        measure = self.failure.error.measure if self.failure and hasattr(self.failure.error, "measure") else self.worst
        if self.failure and not hasattr(self.failure.error, "measure"):
            measure = Measure(math.inf, 0.0)
        error = measure.error if math.isfinite(measure.error) else None
        return {
            "name": self.name,
            "passed": self.passed,
            "examples": self.examples,
            "worst_error": error,
            "tolerance": measure.tolerance,
        }


@dataclass
class LayerResult:
    """What the kit says of one layer.

    Parameters
    ----------
    name : str
        Its registered name, or that of the class or function.
    properties : dict
        The results by property.
    seconds : float
        The time that it took.
    notes : list of str
        What the strategy leaves out, needless exemptions, and the like.
    mutants : Mutants or None
        How many damaged versions of the layer the kit tells from it.
    sample : Trial or None
        One of the cases, for a plot.
    reached : set of int
        The kernels that ran, by identity.
    drawn : int
        How many structures were drawn and used; the author's own examples are not among them.
    low, high : float
        The range of all float inputs; beyond it nothing was checked. NaN where there were none.
    """

    name: str
    properties: dict[str, PropertyResult] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    mutants: Any = None
    sample: Any = None
    reached: set[int] = field(default_factory=set)
    drawn: int = 0
    low: float = math.nan
    high: float = math.nan

    def widen(self, values: Any) -> None:
        """Count an input's values in, where they are floats."""
        if values.size and values.dtype.kind == "f":
            self.low = float(np.fmin(self.low, values.min()))
            self.high = float(np.fmax(self.high, values.max()))

    @property
    def range(self) -> str:
        """The range of the inputs in words; "" where there were no floats."""
        return "" if math.isnan(self.low) else f"{self.low:.3g} to {self.high:.3g}"

    @property
    def passed(self) -> bool:
        """Whether every property holds."""
        return all(p.passed for p in self.properties.values())

    @property
    def failures(self) -> list[PropertyResult]:
        """The properties that do not hold."""
        return [p for p in self.properties.values() if not p.passed]

    def reports(self) -> list[str]:
        """Return the report of each failure; of what follows from another, or says the same, one line."""
        texts, told = [], set[str]()
        broken = [p.name for p in self.failures]
        for p in self.failures:
            failure = p.failure or Failure(None, Exception("it was not judged"))
            if failure.headline in told or follows(p.name, broken):
                texts.append(f"{self.name}: {p.name} does not hold either: {failure.headline}")
            else:
                texts.append(failure.report or f"{self.name}: {p.name} does not hold: {failure.headline}")
            told.add(failure.headline)
        return texts

    @property
    def examples(self) -> int:
        """The number of cases that were run."""
        return max((p.examples for p in self.properties.values()), default=0)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        judged = [p for p in self.properties.values() if p.examples or p.failure]
        return {
            "name": self.name,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "properties": [p.as_json() for p in judged],
        }


class NonconformanceError(AssertionError):
    """A layer or function breaks a property; the message is the report.

    Parameters
    ----------
    message : str
        The report.
    result : LayerResult
        All that was found.
    """

    def __init__(self, message: str, result: LayerResult) -> None:
        super().__init__(message)
        self.result = result
