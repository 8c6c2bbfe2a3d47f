"""Checks for the steps of exercises: shortcuts to the conformance kit, for answers on plain arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, LayerCases
from tinygrad_lab.conformance.checks import check_vjp, conclude, inspect_function
from tinygrad_lab.conformance.properties import Property
from tinygrad_lab.conformance.properties.agreement import REFERENCE
from tinygrad_lab.conformance.trials.options import Options
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.conformance.trials.subject import RuleSubject, Subject
from tinygrad_lab.conformance.trials.trial import Trial, magnitude
from tinygrad_lab.conformance.trials.values import constants_of
from tinygrad_lab.conformance.trials.verdict import Measure, agree, demand
from tinygrad_lab.learn.answer import WrongAnswer

PROFILE = Profile(examples=12)
LAYER_STEPS = (  # properties of layers, in addition to values and laws
    "gradients",
    "second_order",
    "adjoint",
    "accumulation",
    "shapes_and_dtypes",
    "nothing_mutated",
    "float32",
    "modes",
    "checkpoint",
    "determinism",
    "output_shape",
)
ONE_WIDTH = "exercises are about the mathematics, not about float32"


@dataclass(frozen=True)
class Step:
    """One check of an exercise.

    Parameters
    ----------
    name : str
        What the check shows.
    check : callable
        Raises the kit's finding, or a WrongAnswer.
    """

    name: str
    check: Callable[[], Any]


Probe = Callable[[], Any]


def same_values(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    strategy: Any,
    *,
    tolerance: float = REFERENCE,
) -> LayerResult:
    """Check that a function of arrays (and of a case's options) agrees with its reference.

    Parameters
    ----------
    function, reference : callable
        ``f(*arrays, **options)``, which returns an array or a tuple of arrays.
    strategy : Hypothesis strategy
        Draws cases as for `check_function`.
    tolerance : float
        The largest difference, relative to the largest value.

    Raises
    ------
    NonconformanceError
        The results differ; the attribute `result` of the error holds the smallest case.
    """

    def make_subject(drawn: Case, inputs: list[Any]) -> Subject:
        return RuleSubject(lambda *xs: function(*xs, **drawn.options), no_rule, inputs, constants_of(drawn))

    def values(trial: Trial) -> Measure:
        """The result equals that of the reference."""
        found, expected = (as_arrays(f(*trial.inputs, **trial.case.options)) for f in (function, reference))
        demand(len(found) == len(expected), f"expected {len(expected)} results, got {len(found)}")
        measures = []
        for k, (got, right) in enumerate(zip(found, expected, strict=True)):
            what = "the result" if len(found) == 1 else f"result {k + 1} of {len(found)}"
            kind = "b" if right.dtype.kind == "b" else "iuf"
            demand(got.dtype.kind in kind, f"{what}: expected numbers like {right.dtype}, got {got.dtype}")
            measures.append(agree(what, got, right, tolerance * (1 + magnitude([right.astype("float64")]))))
        return Measure.worst(measures)

    properties: dict[str, Property] = {"values": values, "inputs": inputs_stay(function)}
    cases = LayerCases(strategy, reference=reference)
    name = getattr(function, "__name__", "the function")
    return conclude(inspect_function(name, function, make_subject, cases, properties, Options(PROFILE), f"{name}(...)"))


def inputs_stay(function: Callable[..., Any]) -> Property:
    """Return the property that a function does not write into its arguments."""

    def inputs(trial: Trial) -> Measure:
        """The function does not write into its arguments."""
        copies = [np.array(a) for a in trial.inputs]
        function(*copies, **trial.case.options)
        for copy, a in zip(copies, trial.inputs, strict=True):
            demand(np.array_equal(copy, a, equal_nan=copy.dtype.kind == "f"), "an argument has changed")
        return Measure()

    return inputs


def right_gradient(
    forward: Callable[..., Any],
    vjp: Callable[..., Any],
    strategy: Any,
    *,
    kink_distance: Callable[..., float] | None = None,
    complex_safe: bool = False,
) -> LayerResult:
    """Check a vector-Jacobian product with the kit's `check_vjp`, without the properties that a first attempt may fail.

    Raises
    ------
    NonconformanceError
        A property does not hold.
    """
    exemptions = dict.fromkeys(("float32", "shapes_and_dtypes", "own_gradients", "non_finite"), ONE_WIDTH)
    names = names_of(forward)

    def with_gradients_like_arguments(g: Any, *arrays: Any) -> Any:
        found = vjp(g, *arrays)
        finite = all(np.isfinite(a).all() for a in (g, *arrays))
        learned = {n: a for n, a in zip(names, arrays, strict=True) if a.dtype.kind == "f"}
        check_gradients(found, learned, finite=finite)
        return found

    return check_vjp(
        forward,
        with_gradients_like_arguments,
        strategy,
        names=names,
        kink_distance=kink_distance,
        complex_safe=complex_safe,
        exemptions=exemptions,
        profile=PROFILE,
    )


def check_gradients(found: Any, arguments: dict[str, Array], *, finite: bool) -> None:
    """Raise a WrongAnswer unless each argument has a gradient of its shape, finite if required."""
    parts = list(found) if isinstance(found, (tuple, list)) else [found]
    if len(parts) != len(arguments):
        wanted = f"{len(arguments)} gradient{'s' * (len(arguments) > 1)} ({', '.join(arguments)})"
        raise WrongAnswer(f"expected {wanted}, got {len(parts)}")
    for (name, argument), part in zip(arguments.items(), parts, strict=True):
        gradient = np.asarray(part)
        if gradient.dtype.kind not in "iufc":
            raise WrongAnswer(f"gradient of {name}: expected an array of numbers, got {type(part).__name__}")
        if gradient.shape != argument.shape:
            raise WrongAnswer(
                f"gradient of {name}: expected shape {argument.shape}, that of {name}, got {gradient.shape}"
            )
        if finite and not np.isfinite(gradient).all():
            wrong = gradient[~np.isfinite(gradient)].flat[0]
            raise WrongAnswer(f"the gradient of {name} is wrong: expected finite numbers, got {wrong}")


def names_of(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's positional arguments."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def no_rule(*arrays: Any) -> Any:
    """Placeholder for a derivative that is not needed."""
    raise WrongAnswer("no derivative is asked for here")


def as_arrays(result: Any) -> list[Array]:
    """Return a result, or the parts of a tuple, as arrays."""
    return [np.asarray(part) for part in (result if isinstance(result, (tuple, list)) else (result,))]


def expect(holds: Any, message: str, shown: str = "") -> None:
    """Raise a WrongAnswer unless a condition holds."""
    if not holds:
        raise WrongAnswer(message, shown)
