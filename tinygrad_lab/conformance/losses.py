"""Checking losses: functions of predictions and targets with a reduction over the examples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.conformance.cases.case import MARGIN, Case, Input, LayerCases
from tinygrad_lab.conformance.checks import choose_profile, conclude, inspect_function
from tinygrad_lab.conformance.properties import FUNCTION
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.conformance.trials.subject import Subject
from tinygrad_lab.conformance.trials.trial import Trial, magnitude
from tinygrad_lab.conformance.trials.values import constants_of
from tinygrad_lab.conformance.trials.verdict import Measure, agree, demand
from tinygrad_lab.errors import LabError
from tinygrad_lab.registry import losses

REDUCTIONS = ("mean", "sum", "none")


TARGETS: dict[str, Callable[[int, int], Input]] = {
    "labels": lambda rows, classes: Input((rows,), kind="integer", below=classes),
    "shares": lambda rows, classes: Input((rows, classes), 0.0, 1.0, kind="constant"),
    "signs": lambda rows, classes: Input((rows, classes), kind="constant", values=(-1.0, 1.0)),
}


@st.composite
def draw_loss_case(draw: Any, target: str) -> Case:
    """Draw predictions (rows, classes) and targets of a kind."""
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    options = {"reduction": draw(st.sampled_from(REDUCTIONS))}
    return Case(options=options, inputs=(Input((rows, classes)), TARGETS[target](rows, classes)))


def default_loss_cases(loss: Callable[..., Any]) -> Any:
    """Return a strategy for a loss: its second argument is called ``labels``, or takes shares, or else signs."""
    if list(inspect.signature(loss).parameters)[1] == "labels":
        return draw_loss_case("labels")
    try:
        loss(np.zeros((1, 2)), np.array([[0.25, 0.75]]))
    except LabError:
        return draw_loss_case("signs")
    return draw_loss_case("shares")


def reductions(trial: Trial) -> Measure:
    """The reduction "sum" is the sum of "none", "mean" their mean, and both are scalars.

    Catches a mean over classes, a mean over the batch alone, and a forgotten option.
    """
    found = {}
    for name in REDUCTIONS:
        subject = Subject(loss_of(trial, name), trial.inputs, constants_of(trial.case))
        (found[name],) = (np.asarray(unbox(y)) for y in subject(*trial.arrays))
    for name in ("mean", "sum"):
        demand(found[name].shape == (), f"reduction {name!r}: expected a scalar, got shape {found[name].shape}")
    tolerance = 1e-12 * (1 + magnitude([found["none"]])) * max(1, found["none"].size)
    total = agree("reduction 'sum', against the sum of 'none'", found["sum"], found["none"].sum(), tolerance)
    mean = agree("reduction 'mean', against the mean of 'none'", found["mean"], found["none"].mean(), tolerance)
    return Measure.worst([total, mean])


def loss_of(trial: Trial, reduction: str) -> Callable[..., Any]:
    """Return the trial's loss with its options but for the reduction."""
    options = {**trial.case.options, "reduction": reduction}
    function: Callable[..., Any] = trial.subject.function.__wrapped__  # type: ignore[attr-defined]  # set below
    return lambda *xs: function(*xs, **options)


LOSS = FUNCTION | {"reductions": reductions}


def inspect_loss(
    loss: Any,
    cases: Any = None,
    *,
    reference: Callable[..., Any] | None = None,
    kink_distance: Callable[..., float] | None = None,
    complex_safe: bool = False,
    exemptions: Mapping[str, str] | None = None,
    margin: float = MARGIN,
    profile: str | Profile = "ci",
    examples: int | None = None,
    seed: int | None = None,
    properties: Collection[str] = tuple(LOSS),
    devices: Collection[str] = (),
    case: Case | None = None,
) -> LayerResult:
    """Check a loss as `check_loss` does, and return the result whether it passes or not."""
    function = losses[loss] if isinstance(loss, str) else loss
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", repr(loss))
    cases = default_loss_cases(function) if cases is None else cases
    if not isinstance(cases, LayerCases):
        cases = LayerCases(
            cases,
            reference=reference,
            kink_distance=kink_distance,
            complex_safe=complex_safe,
            exemptions=exemptions,
            margin=margin,
        )

    def make_subject(drawn: Case, inputs: list[Any]) -> Subject:
        def with_options(*xs: Any) -> Any:
            return function(*xs, **drawn.options)

        with_options.__wrapped__ = function  # type: ignore[attr-defined]  # for `reductions`
        return Subject(with_options, inputs, constants_of(drawn))

    wanted = {k: v for k, v in LOSS.items() if k in properties}
    call = f"check_loss({name!r}, case=case)" if isinstance(loss, str) else f"check_loss({name}, cases, case=case)"
    chosen = choose_profile(profile, examples, seed)
    return inspect_function(name, function, make_subject, cases, wanted, chosen, call, devices=devices, case=case)


def check_loss(
    loss: Any,
    cases: Any = None,
    *,
    reference: Callable[..., Any] | None = None,
    kink_distance: Callable[..., float] | None = None,
    complex_safe: bool = False,
    exemptions: Mapping[str, str] | None = None,
    margin: float = MARGIN,
    profile: str | Profile = "ci",
    examples: int | None = None,
    seed: int | None = None,
    devices: Collection[str] = (),
    case: Case | None = None,
) -> LayerResult:
    """Check a loss: its derivatives by the predictions, and its reductions.

    Parameters
    ----------
    loss : str or callable
        Its registered name, or ``loss(predictions, targets, *, reduction)``.
    cases : Hypothesis strategy of Case, or LayerCases
        Predictions and targets; targets are ``Input(..., kind="integer")`` or ``kind="constant"``. By default rows of
        classes with a label each, if the second argument is called ``labels``, else with targets between 0 and 1, or
        of -1 and 1 if it takes no others.
    reference, kink_distance, complex_safe, exemptions, margin
        As in `check_function`.
    profile, examples, seed, devices, case
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
    return conclude(
        inspect_loss(
            loss,
            cases,
            reference=reference,
            kink_distance=kink_distance,
            complex_safe=complex_safe,
            exemptions=exemptions,
            margin=margin,
            profile=profile,
            examples=examples,
            seed=seed,
            devices=devices,
            case=case,
        )
    )
