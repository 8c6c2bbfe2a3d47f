"""Grading of an answer: the steps of an exercise in order, up to the first that fails.

A typical mistake is recognized by its results: the exercise's probes, which are a few calls, run on the learner's
answer, and on the solution with each mistake in it. The answer contains a mistake if the mistake changes the result of
a probe, and the answer gives this changed result.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.learn.answer import Answer, Raised, Stopped, WrongAnswer, kind_of, root_of
from tinygrad_lab.learn.catalog import Exercise, Mistake
from tinygrad_lab.learn.verdict import Verdict

ALIKE = 1e-6  # relative tolerance between results of the same mistake


def grade(exercise: Exercise, files: Mapping[str, str], folder: Path | None = None) -> Verdict:
    """Return the verdict on a trusted answer, which runs in this process without confinement.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    files : mapping of name to source
        The answer.
    folder : Path or None
        The folder of its files.
    """
    verdict = Verdict()
    with uncompiled(files):
        judge(exercise, local_answer(exercise, files, folder), verdict)
    return verdict


def local_answer(exercise: Exercise, files: Mapping[str, str], folder: Path | None = None) -> Answer:
    """Return an answer that runs in this process."""
    answer = Answer(files, folder)
    if exercise.bench:
        answer.put_on(importlib.import_module(f"tinygrad_lab.learn.exercises.{exercise.name}.bench"))
    return answer


@contextmanager
def uncompiled(files: Mapping[str, str]) -> Iterator[None]:
    """Keep Numba from compiling in the ``with`` block, which takes longer than a few small calls."""
    if not any("numba" in text for text in files.values()) or importlib.util.find_spec("numba") is None:
        yield
        return
    config = importlib.import_module("numba").config
    kept, config.DISABLE_JIT = config.DISABLE_JIT, True
    try:
        yield
    finally:
        config.DISABLE_JIT = kept


def run_here(exercise: Exercise, files: Mapping[str, str]) -> Answer:
    """Return a trusted answer that has run in this process."""
    with uncompiled(files):
        return local_answer(exercise, files).run()


def judge(exercise: Exercise, answer: Answer, verdict: Verdict) -> None:
    """Run an answer, check each step, and record the findings in a verdict.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    answer : Answer
        The answer, in this process or in another.
    verdict : Verdict
        The verdict, which records each step as it passes, in case the answer's process is stopped.
    """
    rules = importlib.import_module(f"tinygrad_lab.learn.exercises.{exercise.name}.grade")
    try:
        answer.run()
        steps = rules.steps(answer)
    except (WrongAnswer, Raised) as error:
        describe(verdict, error, answer)
        return
    for step in steps:
        verdict.failed = step.name
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                step.check()
        except Stopped:
            raise
        except BaseException as error:  # including a learner's sys.exit()
            describe(verdict, error, answer)
            recognize(verdict, exercise, answer, rules.probes)
            return
        verdict.steps.append(step.name)
    if not all(map(is_finite, results(rules.probes, answer))):
        verdict.failed = verdict.steps.pop()
        verdict.what = "expected finite numbers, got a result or gradient that holds NaN or infinity"
        return
    verdict.passed, verdict.failed = True, ""


def describe(verdict: Verdict, error: BaseException, answer: Answer) -> None:
    """Record a step's exception in a verdict."""
    from tinygrad_lab.conformance.trials.results import NonconformanceError
    from tinygrad_lab.learn.explaining import explain_failure

    if isinstance(error, WrongAnswer):
        verdict.what, verdict.shown = str(error), error.shown
    elif isinstance(error, NonconformanceError):
        verdict.what, verdict.shown, verdict.because = explain_failure(error.result, answer)
    else:
        verdict.what = answer.blame(error)


def recognize(verdict: Verdict, exercise: Exercise, answer: Answer, probes: Callable[[Answer], list[Any]]) -> None:
    """Record the typical mistakes in an answer, in place of the kit's guesses."""
    right = results(probes, run_here(exercise, exercise.solution))
    given = results(probes, answer)
    found: list[tuple[set[int], Mistake]] = []
    for mistake in exercise.mistakes:
        wrong = results(probes, run_here(exercise, exercise.wrong(mistake)))
        changed = {k for k, (w, r) in enumerate(zip(wrong, right, strict=True)) if not alike(w, r)}
        if changed and all(alike(given[k], wrong[k]) for k in changed):
            found.append((changed, mistake))
    explained: set[int] = set()
    says = []
    for changed, mistake in sorted(found, key=lambda pair: -len(pair[0])):
        if not changed <= explained:  # an earlier mistake explains it already
            explained |= changed
            verdict.mistakes.append(mistake.name)
            says.append(mistake.says)
    verdict.because = says or verdict.because


def results(probes: Callable[[Answer], list[Any]], answer: Answer) -> list[Any]:
    """Return the result of each probe of an answer: a list of arrays, or the name of an exception."""
    found: list[Any] = []
    for probe in probes(answer):
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = probe()
            parts = result if isinstance(result, (tuple, list)) else (result,)
            found.append([np.asarray(unbox(part), dtype="float64") for part in parts])
        except Stopped:
            raise
        except BaseException as error:  # including a learner's sys.exit()
            found.append(kind_of(root_of(error)))
    return found


def is_finite(result: Any) -> bool:
    """Return whether a probe's result is finite numbers or an exception."""
    return isinstance(result, str) or all(np.isfinite(part).all() for part in result)


def alike(a: Any, b: Any) -> bool:
    """Return whether two results of a probe agree up to rounding."""
    if isinstance(a, str) or isinstance(b, str):
        return bool(a is b or (isinstance(a, str) and a == b))
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return False
    return all(np.allclose(x, y, rtol=ALIKE, atol=1e-9, equal_nan=True) for x, y in zip(a, b, strict=True))
