"""The report of one failure, as text: what broke, the two Jacobians, what would explain it, how to run it again."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence

import numpy as np

from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.report.diagnosis import explanations, side_by_side, wrong_entries
from tinygrad_lab.conformance.trials.oracles import join, numerical_jacobian, split
from tinygrad_lab.conformance.trials.trial import BaseTrial, Trial
from tinygrad_lab.conformance.trials.verdict import Violation

LARGEST = 4096  # entries of a Jacobian that is worked out for a report
FEW = 12  # numbers that a report writes out


def explain(
    name: str, prop: str, call: str, case: Case, error: Exception, trial: BaseTrial | None, first: BaseTrial | None
) -> str:
    """Return the report of a failure.

    Parameters
    ----------
    name, prop : str
        The layer and the property.
    call : str
        How to check one case again, such as ``check_layer("dense", case=case)``.
    case : Case
        The smallest case.
    error : Exception
        What the property said, or what was raised.
    trial, first : BaseTrial or None
        The smallest case made real, and the first one that failed: the larger one fits fewer explanations by chance.
    """
    lines = [f"{name}: {prop} does not hold", "", indent(describe(error)), "", f"  case: {case}"]
    argument = getattr(error, "argument", "")
    at = getattr(error, "at", None)
    if isinstance(trial, Trial):
        if given := values(trial.names, trial.arrays if at is None else at):
            lines += ["", indent(given)]
        if argument in trial.names:
            larger = first if isinstance(first, Trial) else trial
            lines += ["", indent(jacobians(trial, larger, trial.names.index(argument)))]
    lines += ["", "Run it again:", "", indent(reproduction(call, case))]
    lines += ["", "Keep it, in the layer's cases or before a test of your own:", ""]
    lines += [f"    LayerCases(..., examples=({case},))", f"    @example(case={case})"]
    return "\n".join(lines)


def indent(text: str, by: str = "  ") -> str:
    """Return a text moved to the right."""
    return "\n".join(by + line if line else line for line in text.splitlines())


def describe(error: Exception) -> str:
    """Return what a property said, or where in which file something was raised."""
    if isinstance(error, Violation):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
    cause = f"\ncaused by {type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}{place}{cause}"


def values(names: Sequence[str], arrays: Sequence[Array]) -> str:
    """Return the inputs and parameters as they are written in Python, a line each; "" if they are many."""
    if not 0 < sum(array.size for array in arrays) <= FEW:
        return ""
    return "\n".join(f"{name} = {array.tolist()}" for name, array in zip(names, arrays, strict=True))


def reproduction(call: str, case: Case) -> str:
    """Return three lines that check the one case again."""
    kinds = [kind for kind in ("Case", "Inner", "Input") if f"{kind}(" in repr(case)]
    imports = ", ".join([*kinds, call.partition("(")[0]])
    return f"from tinygrad_lab.conformance import {imports}\ncase = {case}\n{call}"


def both_jacobians(trial: Trial, which: int) -> tuple[Array, Array]:
    """Return the Jacobian of all results by one argument, by the rules and by differences."""
    rows = []
    with reference_only():
        for v in np.eye(join(trial.outputs).size):
            rows.append(np.asarray(trial.pull(split(v, trial.outputs))[which]).reshape(-1))
    return np.stack(rows), numerical_jacobian(trial.flat, trial.arrays, which)


def why_wrong(first: Trial, which: int) -> list[str]:
    """Return what would explain the wrong Jacobian of a case, if it is small enough."""
    m, x = join(first.outputs).size, first.arrays[which]
    if not 0 < m * x.size <= LARGEST:
        return []
    analytic, numerical = both_jacobians(first, which)
    if analytic.shape != numerical.shape or not wrong_entries(analytic, numerical).any():
        return []
    return explanations(analytic, numerical, x, first.outputs[0].shape if len(first.outputs) == 1 else (m,))


def jacobians(trial: Trial, first: Trial, which: int) -> str:
    """Return the two Jacobians by one argument side by side, and what would explain the difference."""
    m, x = join(trial.outputs).size, trial.arrays[which]
    if m * x.size > LARGEST or m * x.size == 0:
        return f"(the Jacobian by {trial.names[which]} has {m} x {x.size} entries)"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            analytic, numerical = both_jacobians(trial, which)
            why = why_wrong(first, which) or why_wrong(trial, which)
    except Exception as error:
        return f"(no Jacobian by {trial.names[which]}: {type(error).__name__}: {error})"
    if analytic.shape != numerical.shape:
        return f"the gradient of {trial.names[which]} has {analytic.shape[1]} elements instead of {numerical.shape[1]}"
    wrong = int(wrong_entries(analytic, numerical).sum())
    if not wrong:
        return f"(the Jacobian by {trial.names[which]} is right)"
    head = f"Jacobian by {trial.names[which]}, {m} results x {x.size} elements, {wrong} wrong:"
    return "\n".join([head, side_by_side(analytic, numerical), *(f"=> {text}" for text in why)])
