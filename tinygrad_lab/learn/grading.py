"""Grading: the steps of an exercise one after another, and what to say of the first that fails.

A typical mistake is known by what it does: the learner's answer is put to the exercise's probes, and so is the solution
with each mistake in it. Where a mistake changes what a probe gives, and the answer gives the same, that is it.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.learn.answer import Answer, WrongAnswer, compiled, holes
from tinygrad_lab.learn.catalogue import Exercise, Mistake

ALIKE = 1e-6  # how near, relatively, two results of a probe are that come from one mistake


@dataclass
class Verdict:
    """What is said of an answer.

    Parameters
    ----------
    passed : bool
        Whether all steps passed.
    steps : list of str
        Those that passed.
    failed : str
        The one that did not; empty where the answer could not be run at all.
    what : str
        What is wrong.
    shown : str
        The smallest counterexample: arguments, expected and given.
    because : list of str
        What would explain it, likeliest first.
    mistakes : list of str
        The names of the typical mistakes that were recognised.
    printed : str
        What the learner's code printed.
    """

    passed: bool = False
    steps: list[str] = field(default_factory=list)
    failed: str = ""
    what: str = ""
    shown: str = ""
    because: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    printed: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def grade(exercise: Exercise, files: Mapping[str, str], folder: Path | None = None) -> Verdict:
    """Return the verdict on an answer, run in this process.

    Parameters
    ----------
    exercise : Exercise
        What was asked.
    files : mapping of name to source
        The answer.
    folder : Path or None
        Where its files lie.
    """
    verdict = Verdict()
    answer = Answer(files, folder)
    rules = importlib.import_module(f"tinygrad_lab.learn.exercises.{exercise.name}.grade")
    try:
        no_holes(files)
        answer.run()
        steps = rules.steps(answer)
    except WrongAnswer as error:
        verdict.what, verdict.shown = str(error), error.shown
        return verdict
    for step in steps:
        verdict.failed = step.name
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step.check()
        except BaseException as error:  # a learner's sys.exit() included
            describe(verdict, error, answer)
            recognise(verdict, exercise, answer, rules.probes)
            return verdict
        verdict.steps.append(step.name)
    verdict.passed, verdict.failed = True, ""
    return verdict


def no_holes(files: Mapping[str, str]) -> None:
    """Look for holes.

    Raises
    ------
    WrongAnswer
        A file is no Python, or has a hole that is not filled.
    """
    for name, text in files.items():
        compiled(text, name, f"<{name}>")
    if found := holes(files):
        what = "a hole is" if len(found) == 1 else f"{len(found)} holes are"
        raise WrongAnswer(f"{what} not filled yet: {'; '.join(found)}")


def describe(verdict: Verdict, error: BaseException, answer: Answer) -> None:
    """Enter what a step raised into a verdict."""
    from tinygrad_lab.conformance.trials.results import NonconformanceError
    from tinygrad_lab.learn.explaining import explain_failure

    if isinstance(error, WrongAnswer):
        verdict.what, verdict.shown = str(error), error.shown
    elif isinstance(error, NonconformanceError):
        verdict.what, verdict.shown, verdict.because = explain_failure(error.result, answer)
    else:
        verdict.what = answer.blame(error)


def recognise(verdict: Verdict, exercise: Exercise, answer: Answer, probes: Callable[[Answer], list[Any]]) -> None:
    """Enter the typical mistakes that an answer holds, in place of the kit's guesses."""
    right = results(probes, Answer(exercise.solution).run())
    given = results(probes, answer)
    found: list[tuple[set[int], Mistake]] = []
    for mistake in exercise.mistakes:
        wrong = results(probes, Answer(exercise.wrong(mistake)).run())
        changed = {k for k, (w, r) in enumerate(zip(wrong, right, strict=True)) if not alike(w, r)}
        if changed and all(alike(given[k], wrong[k]) for k in changed):
            found.append((changed, mistake))
    explained: set[int] = set()
    says = []
    for changed, mistake in sorted(found, key=lambda pair: -len(pair[0])):
        if not changed <= explained:  # what an earlier one explains needs no second reason
            explained |= changed
            verdict.mistakes.append(mistake.name)
            says.append(mistake.says)
    verdict.because = says or verdict.because


def results(probes: Callable[[Answer], list[Any]], answer: Answer) -> list[Any]:
    """Return what each probe of an answer gives: a list of arrays, or the name of an exception."""
    found: list[Any] = []
    for probe in probes(answer):
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = probe()
            parts = result if isinstance(result, (tuple, list)) else (result,)
            found.append([np.asarray(raw(part), dtype="float64") for part in parts])
        except BaseException as error:  # a learner's sys.exit() included
            found.append(type(root_of(error)).__name__)
    return found


def root_of(error: BaseException) -> BaseException:
    """Return the exception that an exception was raised from in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def alike(a: Any, b: Any) -> bool:
    """Tell whether two results of a probe are the same but for rounding."""
    if isinstance(a, str) or isinstance(b, str):
        return bool(a is b or (isinstance(a, str) and a == b))
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return False
    return all(np.allclose(x, y, rtol=ALIKE, atol=1e-9, equal_nan=True) for x, y in zip(a, b, strict=True))
