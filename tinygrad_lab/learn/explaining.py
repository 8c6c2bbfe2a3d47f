"""Explanations of the kit's failures for learners: the wrong result, the smallest case, expected and given values."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.properties.agreement import call_reference
from tinygrad_lab.conformance.report.diagnosis import side_by_side, wrong_entries
from tinygrad_lab.conformance.report.failure import LARGEST, both_jacobians
from tinygrad_lab.conformance.trials.oracles import join
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.subject import LayerSubject
from tinygrad_lab.conformance.trials.trial import Trial
from tinygrad_lab.conformance.trials.verdict import NotFinite, Violation
from tinygrad_lab.learn.answer import Answer, WrongAnswer
from tinygrad_lab.learn.judge import as_arrays, names_of

# The meaning of a failed property for a learner.
WORDS = {
    "accumulation": "gradients do not add up over two backward passes",
    "adjoint": "the backward is not the adjoint of the forward",
    "adequacy": "the cases test too little",
    "bad_inputs": "a forbidden use does not raise the error that the story asks for",
    "batch_of_one": "the gradient of a batch of one row is wrong",
    "checkpoint": "computing the forward a second time gives other results",
    "descends": "the optimizer does not reduce the loss",
    "determinism": "two identical calls give different results",
    "float32": "float32 arrays give other results than float64 ones",
    "forward": "the forward does not run as it should",
    "fresh_arrays": "a step must give each parameter a fresh array",
    "gradients": "the gradient is wrong",
    "independence": "the steps of a parameter depend on other parameters",
    "inputs": "the function writes into its arguments; work on a copy",
    "layouts": "arrays that are transposed or strided give other results",
    "leaves_alone": "a parameter without a gradient must stay as it is",
    "modes": "training and evaluation are mixed up",
    "non_finite": "a NaN in an argument or a cotangent is lost",
    "nothing_mutated": "something writes into an array that belongs to its caller; work on a copy",
    "output_shape": "output_shape does not return the shape of the result",
    "own_gradients": "a gradient shares memory with another array; return a copy",
    "private_state": "a state that was returned changes later; return copies",
    "reference": "the result is wrong",
    "resumes": "a run that is saved and resumed gives other results",
    "second_order": "the derivative of the derivative is wrong; is the rule written in operations of tgl?",
    "shapes_and_dtypes": "a result or gradient has the wrong shape or dtype",
    "statistics": "over many draws, the average is wrong",
    "ties": "where values tie, the gradient is wrong",
    "finite_gradients": "where inputs are 0 or very large, the gradient is not finite",
    "values": "the result is wrong",
    "width": "float32 parameters do not stay float32, or get other values than float64 ones",
    "zero_size": "a batch without rows gives wrong results or an error",
}
ROUNDING = re.compile(r" \(error [^()]*\)$")  # irrelevant if the result itself is wrong
LAW = re.compile(r"law \w+(?: \((?P<formula>.*)\))?: error (?P<error>\S+), tolerance \S+$")
GUESS = re.compile(r"^ *=> (.*)$", re.MULTILINE)  # explanations of a wrong Jacobian in the kit's report
NOISE = 1e-9  # the error of numerical differences at a 0, relative to the other entries
MOST = 120  # elements of a printed array


def explain_failure(result: LayerResult, answer: Answer) -> tuple[str, str, list[str]]:
    """Return the error, the smallest counterexample, and possible explanations."""
    first = result.failures[0]
    failure = first.failure
    if failure is None:  # impossible, because a property that does not hold has a failure
        return "", "", []
    error, trial = failure.error, failure.trial
    if isinstance(root := origin(error), WrongAnswer):
        return str(root), arguments(trial), []
    if answer.line_of(error) is not None and not isinstance(error, Violation):
        return answer.blame(error), arguments(trial), []
    what = in_words(first.name, error, answer)
    if trial is None or not isinstance(error, Violation):
        return what, arguments(trial), []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        argument = getattr(error, "argument", "")
        shown = comparison(first.name, trial, argument)
    plain = not isinstance(error, NotFinite)
    if first.name == "gradients" and shown and plain:  # the Jacobian says more than a product with it
        what = f"the gradient of {argument} is wrong"
    return what, "\n\n".join(filter(None, (arguments(trial), shown))), GUESS.findall(failure.report)


def in_words(prop: str, error: Exception, answer: Answer) -> str:
    """Return the meaning of a failed property or law."""
    if not isinstance(error, Violation):
        return answer.blame(error)
    if isinstance(error, NotFinite):
        return str(error)
    if law := LAW.match(str(error)):
        formula = law["formula"] or prop
        return f"a law does not hold: {formula[0].lower()}{formula[1:]}; it is off by {law['error']}"
    text = ROUNDING.sub("", str(error))
    if prop in ("values", "reference"):
        text = text.removeprefix("the result: ").removeprefix("forward, against the reference: ")
    return f"{WORDS[prop]}: {text}" if prop in WORDS else text


def origin(error: BaseException) -> BaseException:
    """Return the exception at the root of a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def arguments(trial: Any) -> str:
    """Return the arguments of a case with their names and values."""
    if trial is None or not hasattr(trial, "case"):
        return ""
    options = ", ".join(f"{name}={value!r}" for name, value in trial.case.options.items())
    given = ", ".join([*map(repr, trial.case.args), *([options] if options else [])])
    subject = getattr(trial, "subject", None)
    maker = type(trial.layer).__name__ if isinstance(subject, LayerSubject) else ""
    lines = [f"{maker}({given})" if maker else f"with {given}"] if maker or given else []
    lines += [array(name, a) for name, a in zip(names_of_inputs(trial), trial.inputs, strict=True)]
    return "\n".join(lines)


def names_of_inputs(trial: Any) -> list[str]:
    """Return the names of a case's arguments in the reference function."""
    count = len(trial.inputs)
    subject, cases = getattr(trial, "subject", None), getattr(trial, "cases", None)
    function = getattr(subject, "function", None)
    if getattr(subject, "differentiable", True) is False and cases is not None and cases.reference is not None:
        function = cases.reference
    if inspect.isfunction(function) and len(names_of(function)) >= count:
        return names_of(function)[:count]
    return ["x"] if count == 1 else [f"x{k}" for k in range(count)]


def array(name: str, values: Array, digits: int = 4) -> str:
    """Return an array as ``name = values  shape (...)``."""
    values = np.asarray(values)
    if values.size > MOST:
        return f"{name}: an array of shape {values.shape}"
    head = f"{name} = "
    text = np.array2string(values, precision=digits, suppress_small=True, separator=", ", prefix=head)
    return f"{head}{text}  shape {values.shape}" if "\n" not in text else f"{head}{text}"


def comparison(prop: str, trial: Trial, argument: str) -> str:
    """Return expected and given results, if they can be computed."""
    reference = trial.cases.reference if prop in ("values", "reference") else None
    try:
        if reference is not None:
            return results_beside(trial, reference)
        if argument and argument in trial.names:
            return jacobians_beside(trial, trial.names.index(argument))
    except Exception:
        return ""  # the headline already names the error
    return ""


def results_beside(trial: Trial, reference: Any) -> str:
    """Return the expected and the given results."""
    layer = isinstance(trial.subject, LayerSubject)
    expected = as_arrays(call_reference(trial) if layer else reference(*trial.inputs, **trial.case.options))
    got = as_arrays(trial.outputs if layer else trial.subject.function(*trial.inputs, **trial.subject.options))
    lines = []
    for k, (right, given) in enumerate(zip(expected, got, strict=False)):
        number = "" if len(expected) == 1 else f" {k + 1}"
        near = right.shape == given.shape and np.allclose(right, given, rtol=1e-3)
        lines += [array(f"{name}{number}", a, 12 if near else 4) for name, a in (("expected", right), ("given", given))]
    return "\n".join(lines)


def jacobians_beside(trial: Trial, which: int) -> str:
    """Return the given and the expected Jacobian with respect to one argument."""
    m, x = join(trial.outputs).size, trial.arrays[which]
    if not 0 < m * x.size <= LARGEST:
        return ""
    given, expected = both_jacobians(trial, which)
    noise = NOISE * max(1.0, float(np.abs(given).max(initial=0.0)))
    expected = np.where(np.abs(expected) < noise, 0.0, expected)
    if given.shape != expected.shape or not wrong_entries(given, expected).any():
        return ""
    head = f"Jacobian with respect to {trial.names[which]}, {m} results x {x.size} elements; wrong entries are marked *"
    table = side_by_side(given, expected, titles=("given", "expected"))
    return f"{head}\n{table}"
