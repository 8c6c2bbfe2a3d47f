"""Checks of losses: functions of predictions and targets with a reduction over the examples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.conformance.cases.case import MARGIN, Case, Input, LayerCases
from tinygrad_lab.conformance.checks import conclude, inspect_function
from tinygrad_lab.conformance.kinds.kind import expect_plugin
from tinygrad_lab.conformance.properties import FUNCTION
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.subject import Subject
from tinygrad_lab.conformance.trials.trial import Trial, extremes, magnitude
from tinygrad_lab.conformance.trials.values import constants_of
from tinygrad_lab.conformance.trials.verdict import Measure, agree, demand, demand_finite
from tinygrad_lab.errors import LabError
from tinygrad_lab.registry import cases as registered_cases
from tinygrad_lab.registry import losses

REDUCTIONS = ("mean", "sum", "none")


TARGETS: dict[str, Callable[[int, int], Input]] = {
    "labels": lambda rows, classes: Input((rows,), kind="integer", below=classes),
    "shares": lambda rows, classes: Input((rows, classes), 0.0, 1.0, kind="constant"),
    "signs": lambda rows, classes: Input((rows, classes), kind="constant", values=(-1.0, 1.0)),
}


@st.composite
def draw_loss_case(draw: Any, target: str) -> Case:
    """Draw predictions (rows, classes) and targets of one kind: labels, numbers in [0, 1] ("shares"), or -1 and 1."""
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    options = {"reduction": draw(st.sampled_from(REDUCTIONS))}
    return Case(options=options, inputs=(Input((rows, classes)), TARGETS[target](rows, classes)))


def default_loss_cases(loss: Callable[..., Any]) -> Any:
    """Return a strategy of predictions and targets.

    Targets are labels if the second argument is called ``labels``, else numbers in [0, 1], or -1 and 1 if the loss
    refuses these.
    """
    if list(inspect.signature(loss).parameters)[1] == "labels":
        return draw_loss_case("labels")
    try:
        loss(np.zeros((1, 2)), np.array([[0.25, 0.75]]))
    except LabError:
        return draw_loss_case("signs")
    return draw_loss_case("shares")


def reductions(trial: Trial) -> Measure:
    """The reduction "sum" is the sum of "none", "mean" is the mean of "none", both are scalars, and "none" is not.

    Catches a mean over classes, a mean over the batch alone, and a forgotten option.
    """
    found = {}
    for name in REDUCTIONS:
        options = {**trial.case.options, "reduction": name}
        subject = Subject(trial.subject.function, trial.inputs, constants_of(trial.case), options)
        (found[name],) = (np.asarray(unbox(y)) for y in subject(*trial.arrays))
    rows = trial.inputs[0].shape[:1]
    demand(
        found["none"].shape[:1] == rows,
        f"reduction 'none': expected numbers for each of {rows[0]} examples, got shape {found['none'].shape}",
    )
    for name in ("mean", "sum"):
        demand(found[name].shape == (), f"reduction {name!r}: expected a scalar, got shape {found[name].shape}")
    tolerance = 1e-12 * (1 + magnitude([found["none"]])) * max(1, found["none"].size)
    total = agree("reduction 'sum', against the sum of 'none'", found["sum"], found["none"].sum(), tolerance)
    mean = agree("reduction 'mean', against the mean of 'none'", found["mean"], found["none"].mean(), tolerance)
    return Measure.worst([total, mean])


def large_predictions(trial: Trial) -> Measure | None:
    """The loss is finite where predictions are 0, or so large that exp(x) overflows.

    Catches log(1 + exp(x)) and log(softmax(x)), which are finite in other formulas. A loss that is infinite there by
    its definition declares an exemption.
    """
    found = extremes(trial)
    for where, arrays in found:
        for y in trial.flat(arrays):
            demand_finite(f"the loss where predictions are {where}", y)
    return Measure() if found else None


LOSS = FUNCTION | {"reductions": reductions, "large_predictions": large_predictions}


def find_loss(loss: Any, cases: Any) -> tuple[str, Callable[..., Any], Any]:
    """Return the name and the function of a loss given as either, and the given cases or else the default ones."""
    expect_plugin("check_loss", loss)
    function = losses[loss] if isinstance(loss, str) else loss
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss))
    if cases is None and isinstance(loss, str) and isinstance(registered_cases.get(loss), LayerCases):
        cases = registered_cases[loss]
    return name, function, default_loss_cases(function) if cases is None else cases


def inspect_loss(loss: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check a loss as `check_loss` does, and return the result whether it passes or not."""
    name, function, cases = find_loss(loss, cases)

    def make_subject(drawn: Case, inputs: list[Any]) -> Subject:
        return Subject(function, inputs, constants_of(drawn), drawn.options)

    call = f"check_loss({name!r}, case=case)" if isinstance(loss, str) else f"check_loss({name}, cases, case=case)"
    known = cases if isinstance(cases, LayerCases) else LayerCases(cases)
    packed, once = Options.pack(**options), ("misfits", "adequacy")
    return inspect_function(name, function, make_subject, known, LOSS, packed, call, once=once)


def check_loss(
    loss: Any,
    cases: Any = None,
    *,
    reference: Callable[..., Any] | None = None,
    kink_distance: Callable[..., float] | None = None,
    complex_safe: bool = False,
    exemptions: Mapping[str, str] | None = None,
    margin: float = MARGIN,
    **options: Unpack[Keywords],
) -> LayerResult:
    """Check a loss: its derivatives with respect to the predictions, and its reductions.

    Parameters
    ----------
    loss : str or callable
        Its registered name, or ``loss(predictions, targets, *, reduction)``.
    cases : Hypothesis strategy of Case, or LayerCases
        Predictions and targets; targets are ``Input(..., kind="integer")`` or ``kind="constant"``. By default, they are
        the cases that the loss's author registered. Without these, predictions have the shape (rows, classes), and the
        targets are one label per row if the second argument is called ``labels``; otherwise they are numbers between 0
        and 1, or -1 and 1 if the loss refuses these.
    reference, kink_distance, complex_safe, exemptions, margin
        As in `check_function`.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_loss("softmax_cross_entropy", examples=5).passed
    True
    """
    cases = find_loss(loss, cases)[2]
    if not isinstance(cases, LayerCases):
        cases = LayerCases(
            cases,
            reference=reference,
            kink_distance=kink_distance,
            complex_safe=complex_safe,
            exemptions=exemptions,
            margin=margin,
        )
    return conclude(inspect_loss(loss, cases, **options))
