"""Checks of metrics: one number for each example, from this example's logits and label alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.conformance.cases.plugins import MetricCases
from tinygrad_lab.conformance.checks import conclude
from tinygrad_lab.conformance.kinds.kind import Kind, without_options
from tinygrad_lab.conformance.trials.options import Keywords
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.subject import read_only
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.values import draw_input
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, demand, demand_finite
from tinygrad_lab.registry import metrics
from tinygrad_lab.tensor import Tensor
from tinygrad_lab.train.metrics import Score

LARGE = 1000.0  # exp(LARGE) overflows, also in float64
ROUNDING = 1e-12
NARROW = 1e-5  # of float32


class MetricTrial(BaseTrial):
    """A metric, and the logits and labels of one case.

    Parameters
    ----------
    metric : callable
        ``metric(logits, labels)``.
    case : Case
        The inputs and the seed.
    cases : MetricCases
        What the author states.
    """

    def __init__(self, metric: Callable[..., Any], case: Case, cases: MetricCases) -> None:
        rng = np.random.default_rng(case.seed)
        super().__init__(case, [draw_input(given, rng) for given in case.inputs])
        self.metric, self.cases, self.score = metric, cases, Score.of("metric", metric)
        self.logits, self.labels = self.inputs

    @property
    def compared(self) -> int:
        """The number of examples."""
        return len(self.labels)

    def exercise(self) -> None:
        """Call the metric."""
        self.metric(self.logits, self.labels)

    def numbers(self, logits: Any, labels: Array, what: str = "the result") -> Array:
        """Return the metric of each example in float64: a number, or a row of numbers if its score has a `finish`.

        Raises
        ------
        Violation
            The result is not an array with one real number, or such a row, for each example.
        """
        found = self.metric(logits, labels)
        got = f"{type(found).__name__}{f' of shape {found.shape}' if hasattr(found, 'shape') else ''}"
        expected = f"{what}: expected an array with a number for each of {len(labels)} examples, got {got}"
        mean = "return the number of each example, and leave the mean to the trainer"
        lost = "keep the axis of a batch of one, which squeeze() removes, or " if len(labels) == 1 else ""
        why = f"; {lost}{mean}" if np.ndim(found) == 0 else ""
        taped = "; a metric returns raw arrays: take them out of tensors with unbox"
        demand(isinstance(found, np.ndarray), expected + (taped if isinstance(found, Tensor) else why))
        whole = found.shape == (len(labels),) or (
            self.score.finish is not None and found.ndim == 2 and len(found) == len(labels)
        )
        demand(whole, expected + why)
        demand(found.dtype.kind in "biuf", f"{what}: expected real numbers or booleans, got {found.dtype}")
        return found.astype("float64")


def one_number(trial: MetricTrial) -> Measure:
    """The metric returns an array with one finite number for each example, also of a batch of one."""
    demand_finite("the metric", trial.numbers(trial.logits, trial.labels))
    trial.numbers(trial.logits[:1], trial.labels[:1], "of a batch of one")
    return Measure()


def determinism(trial: MetricTrial) -> Measure:
    """The same batch gives the same bits again."""
    once = trial.numbers(trial.logits, trial.labels)
    return agree("the metric of the same batch, a second time", trial.numbers(trial.logits, trial.labels), once, 0.0)


def tensors(trial: MetricTrial) -> Measure:
    """Logits on the tape, as a network returns them, give the same numbers as a raw array."""
    found = trial.numbers(tgl.tensor(trial.logits, requires_grad=True), trial.labels, "of a tensor of logits")
    return agree("the metric of a tensor of logits", found, trial.numbers(trial.logits, trial.labels), 0.0)


def permutation(trial: MetricTrial) -> Measure:
    """Examples in another order have their numbers in this order."""
    order = np.random.default_rng([trial.case.seed, 1]).permutation(len(trial.labels))
    found = trial.numbers(trial.logits[order], trial.labels[order])
    expected = trial.numbers(trial.logits, trial.labels)[order]
    return agree(f"the metric of examples in the order {order.tolist()}", found, expected, tolerance(expected))


def each_alone(trial: MetricTrial) -> Measure:
    """An example's number does not depend on the other examples of its batch.

    Catches numbers that are relative to the batch: the mean over a split would depend on the size of the batches.
    """
    together = trial.numbers(trial.logits, trial.labels)
    alone = np.array([trial.numbers(trial.logits[i : i + 1], trial.labels[i : i + 1])[0] for i in range(len(together))])
    return agree("the metric of each example alone, against that in its batch", alone, together, tolerance(together))


def limits(trial: MetricTrial) -> Measure:
    """The numbers are within the range that the author states, and finite for logits of size 1000 too.

    Catches an exponential that overflows, because the largest logit was not subtracted before.
    """
    low, high = trial.score.low, trial.score.high
    for scale in (1.0, LARGE):
        where = f"the metric for logits of size {scale:g}"
        found = trial.numbers(read_only(trial.logits * scale), trial.labels)
        demand_finite(where, found)
        if trial.score.finish is not None:
            found = np.array([trial.score.value(found.sum(axis=0), len(found))])
        worst = found[np.argmax(np.maximum(low - found, found - high))] if found.size else low
        slack = ROUNDING * (1 + abs(worst))
        demand(low - slack <= worst <= high + slack, f"{where}: expected {low:g} to {high:g}, got {worst:.10g}")
    return Measure()


def width(trial: MetricTrial) -> Measure:
    """Logits in float32 give the numbers of the same logits in float64."""
    narrow = read_only(trial.logits.astype("float32"))
    found = trial.numbers(narrow, trial.labels, "of float32 logits")
    expected = trial.numbers(read_only(narrow.astype("float64")), trial.labels)
    return agree("the metric of float32 logits", found, expected, NARROW * (1 + np.abs(expected).max(initial=0.0)))


def reference(trial: MetricTrial) -> Measure | None:
    """The numbers are those of the author's reference, a plain loop over the examples."""
    if trial.cases.reference is None:
        return None
    pairs = zip(trial.logits.tolist(), trial.labels.tolist(), strict=True)
    expected = np.array([float(trial.cases.reference(row, label)) for row, label in pairs])
    found = trial.numbers(trial.logits, trial.labels)
    single = trial.metric(trial.logits, trial.labels).dtype == "float32"  # it may round its numbers
    allowed = tolerance(expected) * (NARROW / ROUNDING if single else 1)
    try:
        return agree("the metric, against the reference", found, expected, allowed)
    except Violation as error:
        at = int(np.argmax(np.abs(found - expected)))
        example = f"logits {trial.logits[at].tolist()}, label {trial.labels[at]}"
        raise Violation(f"{error}; {example}", error.measure) from error


def tolerance(expected: Array) -> float:
    """Return the largest rounding error to accept."""
    largest = float(np.abs(expected).max(initial=0.0))
    return ROUNDING * (1 + (largest if math.isfinite(largest) else 0.0))


PROPERTIES: dict[str, Callable[[MetricTrial], Measure | None]] = {
    p.__name__: p for p in (one_number, determinism, tensors, permutation, each_alone, limits, width, reference)
}


def strategy(metric: Any, cases: MetricCases) -> Any:
    """Return a strategy of cases: logits of a few examples and classes, and labels, or outputs and target numbers."""
    of_numbers = Score.of("metric", metric).task == "regression"

    def make(sizes: tuple[int, int]) -> Case:
        rows, classes = sizes
        if of_numbers:
            return Case(inputs=(Input((rows, classes)), Input((rows, classes))))
        return Case(inputs=(Input((rows, classes)), Input((rows,), kind="integer", below=classes)))

    return st.tuples(st.integers(1, 6), st.integers(2, 9)).map(make)


METRIC = Kind("metric", metrics, MetricCases, strategy, without_options(MetricTrial), PROPERTIES)


def check_metric(metric: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check a metric: one finite number for each example, from its logits and label alone, in the stated range.

    Parameters
    ----------
    metric : str or callable
        Its registered name, or ``metric(logits, labels)``.
    cases : MetricCases
        The range of its numbers and a reference; by default what its author registered.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_metric("accuracy", examples=5).passed
    True
    """
    return conclude(METRIC.inspect(metric, cases, **options))
