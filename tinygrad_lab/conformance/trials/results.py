"""Results of a run of the kit, by plugin and by property."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.trials.verdict import Measure
from tinygrad_lab.tables import html_table

# Properties that break because another one does: a wrong gradient is wrong for a batch of one too.
CONSEQUENCES = {"gradients": ("second_order", "ties", "finite_gradients", "zero_size", "batch_of_one")}


def follows(name: str, broken: Iterable[str]) -> bool:
    """Return whether a property probably breaks only because another one does."""
    return any(name in CONSEQUENCES.get(cause, ()) for cause in broken)


@dataclass
class Failure:
    """A case that breaks a property.

    Parameters
    ----------
    case : Case or None
        The smallest case found; None if the finding is about the whole layer.
    error : Exception
        The property's Violation, or the layer's own exception.
    report : str
        The explanation for people.
    trial : BaseTrial or None
        The layer and arrays of the case, for code that writes another report.
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
    """The result of one property over all cases.

    Parameters
    ----------
    name : str
        The property.
    examples : int
        The number of judged cases.
    worst : Measure
        The error with the largest ratio to its tolerance.
    undecided : int
        The number of cases that the oracle could not decide, most of them at a kink.
    failure : Failure or None
        The smallest case that breaks it.
    exemption : str or None
        The author's reason why the layer does not need the property.
    seconds : float
        The time that the checks took.
    law : bool
        Whether only some plugins of the kind declare the property.
    """

    name: str
    examples: int = 0
    worst: Measure = field(default_factory=Measure)
    undecided: int = 0
    failure: Failure | None = None
    exemption: str | None = None
    seconds: float = 0.0
    law: bool = False

    @property
    def passed(self) -> bool:
        """Whether the property holds or the layer is exempt."""
        return self.failure is None or self.exemption is not None

    @property
    def needless(self) -> bool:
        """Whether the layer is exempt from a property that it has."""
        return self.exemption is not None and self.failure is None and self.examples > 0

    def add(self, measure: Measure) -> None:
        """Count one more case."""
        self.examples += 1
        self.worst = Measure.worst([self.worst, measure])

    def as_json(self) -> dict[str, Any]:
        """Return plain values; an error that is not finite is None."""
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
    """The result of the kit for one plugin.

    Parameters
    ----------
    name : str
        Its registered name, or the name of the class or function.
    properties : dict
        The results by property.
    seconds : float
        The time that the checks took.
    notes : list of str
        Gaps of the strategy, needless exemptions, and the like.
    mutants : Mutants or None
        The damaged versions of the layer, killed and surviving.
    sample : BaseTrial or None
        One of the cases, for a plot.
    reached : set of int
        The kernels that ran, by identity.
    drawn : int
        The number of drawn cases that were used, without the author's own examples.
    low, high : float
        The range of all float inputs, beyond which nothing was checked; NaN if there were none.
    kind : str
        The kind of plugin.
    skipped : str
        The reason why nothing could be checked; empty otherwise.
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
    kind: str = "layer"
    skipped: str = ""

    @property
    def label(self) -> str:
        """The name, after the kind if it is not a layer."""
        return self.name if self.kind == "layer" else f"{self.kind} {self.name}"

    def widen(self, values: Any) -> None:
        """Extend the range by an input's values, if they are floats."""
        if values.size and values.dtype.kind == "f":
            self.low = float(np.fmin(self.low, values.min()))
            self.high = float(np.fmax(self.high, values.max()))

    @property
    def range(self) -> str:
        """The range of the inputs in words, or "" if there were no floats."""
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
        """Return the report of each failure: one line if it follows from another failure or repeats its headline."""
        texts, reported = [], set[str]()
        broken = [p.name for p in self.failures]
        for p in self.failures:
            failure = p.failure or Failure(None, Exception("the property was not judged"))
            if failure.headline in reported or follows(p.name, broken):
                texts.append(f"{self.name}: {p.name} does not hold either: {failure.headline}")
            else:
                texts.append(failure.report or f"{self.name}: {p.name} does not hold: {failure.headline}")
            reported.add(failure.headline)
        return texts

    @property
    def examples(self) -> int:
        """The number of cases that ran."""
        return max((p.examples for p in self.properties.values()), default=0)

    def _repr_html_(self) -> str:
        rows = []
        for p in self.properties.values():
            verdict = "broken" if not p.passed else "exempt" if p.exemption else "holds" if p.examples else "not judged"
            worst = f"{p.worst.error:.1e}" if p.examples and p.failure is None else ""
            why = p.exemption or (p.failure.headline if p.failure else "")
            rows.append((p.name, verdict, str(p.examples or ""), worst, why))
        state = "skipped" if self.skipped else "passed" if self.passed else "failed"
        head = (self.label, state, "cases", "worst error", "reason")
        return html_table(head, rows, numbers=(2, 3))

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        judged = [p for p in self.properties.values() if p.examples or p.failure]
        return {
            "kind": self.kind,
            "name": self.name,
            "passed": self.passed,
            "skipped": self.skipped,
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
        The results of all properties.
    """

    def __init__(self, message: str, result: LayerResult) -> None:
        super().__init__(message)
        self.result = result
