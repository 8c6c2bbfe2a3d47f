"""The report of one failure: the violation, the two Jacobians, likely mistakes, and code that runs the case again."""

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

LARGEST = 4096  # entries of the largest Jacobian that a report computes
FEW = 12  # largest number of values that a report prints


def explain(
    name: str,
    prop: str,
    call: str,
    case: Case,
    error: Exception,
    trial: BaseTrial | None,
    first: BaseTrial | None,
    *,
    kept_in: str = "LayerCases",
) -> str:
    """Return the report of a failure.

    Parameters
    ----------
    name, prop : str
        The layer and the property.
    call : str
        The call that checks one case again, such as ``check_layer("dense", case=case)``.
    case : Case
        The smallest case.
    error : Exception
        The property's Violation, or another exception.
    trial, first : BaseTrial or None
        The trials of the smallest case and of the first one that failed. The first one is usually larger, so fewer
        explanations fit it by chance.
    kept_in : str
        The class of the author's cases.
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
    lines += ["", "Keep it, in the registered cases or above a test of your own:", ""]
    lines += [f"    {kept_in}(..., examples=({case},))", f"    @example(case={case})"]
    return "\n".join(lines)


def indent(text: str, by: str = "  ") -> str:
    """Return a text with every line indented."""
    return "\n".join(by + line if line else line for line in text.splitlines())


def describe(error: Exception) -> str:
    """Return the message of a Violation, or an exception's type, message and place."""
    if isinstance(error, Violation):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
    cause = f"\ncaused by {type(error.__cause__).__name__}: {error.__cause__}" if error.__cause__ else ""
    return f"{type(error).__name__}: {error}{place}{cause}"


def values(names: Sequence[str], arrays: Sequence[Array]) -> str:
    """Return the inputs and parameters as Python code, one line for each; "" if they have many values."""
    if not 0 < sum(array.size for array in arrays) <= FEW:
        return ""
    return "\n".join(f"{name} = {array.tolist()}" for name, array in zip(names, arrays, strict=True))


def reproduction(call: str, case: Case) -> str:
    """Return three lines of code that check the case again."""
    kinds = [kind for kind in ("Case", "Inner", "Input") if f"{kind}(" in repr(case)]
    imports = ", ".join([*kinds, call.partition("(")[0]])
    return f"from tinygrad_lab.conformance import {imports}\ncase = {case}\n{call}"


def both_jacobians(trial: Trial, which: int) -> tuple[Array, Array]:
    """Return the Jacobian of all results with respect to one argument, from the rules and from differences."""
    rows = []
    with reference_only():
        for v in np.eye(join(trial.outputs).size):
            rows.append(np.asarray(trial.pull(split(v, trial.outputs))[which]).reshape(-1))
    return np.stack(rows), numerical_jacobian(trial.flat, trial.arrays, which)


def why_wrong(first: Trial, which: int) -> list[str]:
    """Return the mistakes that would explain the wrong Jacobian of a case, if it is small enough."""
    m, x = join(first.outputs).size, first.arrays[which]
    if not 0 < m * x.size <= LARGEST:
        return []
    analytic, numerical = both_jacobians(first, which)
    if analytic.shape != numerical.shape or not wrong_entries(analytic, numerical).any():
        return []
    return explanations(analytic, numerical, x, first.outputs[0].shape if len(first.outputs) == 1 else (m,))


def jacobians(trial: Trial, first: Trial, which: int) -> str:
    """Return the two Jacobians with respect to one argument side by side, and the likely mistakes."""
    m, x = join(trial.outputs).size, trial.arrays[which]
    if m * x.size > LARGEST or m * x.size == 0:
        return f"(the Jacobian with respect to {trial.names[which]} has {m} x {x.size} entries)"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            analytic, numerical = both_jacobians(trial, which)
            why = why_wrong(first, which) or why_wrong(trial, which)
    except Exception as error:
        return f"(no Jacobian with respect to {trial.names[which]}: {type(error).__name__}: {error})"
    if analytic.shape != numerical.shape:
        return f"the gradient of {trial.names[which]} has {analytic.shape[1]} elements instead of {numerical.shape[1]}"
    wrong = int(wrong_entries(analytic, numerical).sum())
    if not wrong:
        return f"(the Jacobian with respect to {trial.names[which]} is right)"
    head = f"Jacobian with respect to {trial.names[which]}, {m} results x {x.size} elements, {wrong} wrong:"
    return "\n".join([head, side_by_side(analytic, numerical), *(f"=> {text}" for text in why)])
