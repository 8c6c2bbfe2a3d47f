"""Properties of agreement: with an independent reference, with laws, and between dtypes and between devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.autograd.trees import flatten
from tinygrad_lab.backend import backend_of, find_backend, transfer
from tinygrad_lab.conformance.cases.case import Law
from tinygrad_lab.conformance.properties.arrays import WIDTHS, compare_results, results_of
from tinygrad_lab.conformance.trials.oracles import join
from tinygrad_lab.conformance.trials.subject import Arrays, LayerSubject, in_dtype, read_only, restoring
from tinygrad_lab.conformance.trials.trial import Trial, magnitude
from tinygrad_lab.conformance.trials.verdict import Measure, Undecided, Violation, agree, demand, demand_finite

Results = tuple[Arrays, Arrays]

UNSEEN = 16.0  # largest error, as a multiple of the tolerance, that may come from terms that cancel inside the layer
NEARBY = 12  # points nearby that distinguish rounding from a wrong rule
REFERENCE = 1e-9  # largest difference of two float64 computations, relative to the largest value


def reference(trial: Trial) -> Measure | None:
    """The forward agrees with the independent reference that the author wrote.

    Catches errors that no gradient shows: the right derivative of the wrong function, such as a max-pooling that pads
    with 0.
    """
    if trial.cases.reference is None or (trial.cases.random and trial.case.training):
        return None
    expected = [np.asarray(e) for e in flatten(call_reference(trial))[0]]
    got = [backend_of(y).to_numpy(y) for y in trial.outputs]
    demand(len(got) == len(expected), f"reference: expected {len(got)} results, got {len(expected)}")
    measures = []
    for y, e, s in zip(got, expected, trial.scale.outputs, strict=True):
        measures.append(agree("forward, against the reference", y, e, REFERENCE * (s + magnitude([e]))))
    return Measure.worst(measures)


def call_reference(trial: Trial) -> Any:
    """Return the result of the author's reference."""
    assert trial.cases.reference is not None
    if not isinstance(trial.subject, LayerSubject):
        return trial.cases.reference(*trial.inputs, **trial.case.options)
    with restoring(trial.layer):
        return trial.cases.reference(trial.layer, *trial.inputs)


def float32(trial: Trial) -> Measure | None:
    """Results and gradients in float32 agree with those in float64 to rounding.

    Small random changes of the arguments show how much rounding changes the result. Catches rules that are right in one
    dtype only, and formulas that lose digits.
    """
    if not trial.arrays:
        return None
    arrays, vs = trial.cast("float32")
    narrow, exact = in_both_widths(trial, arrays, vs)
    try:
        return Measure.worst(compare_results(trial, "float32 against float64", narrow, exact, "float32"))
    except Violation as violation:
        if violation.measure.ratio <= UNSEEN and is_noise(trial, arrays, vs):
            raise Undecided("large terms cancel inside the layer, and their rounding error remains") from violation
        raise


def in_both_widths(trial: Trial, arrays: Arrays, vs: Arrays) -> tuple[Results, Results]:
    """Return results and gradients in float32 and in float64, for the same float32 numbers."""
    with reference_only():
        narrow = results_of(trial, arrays, vs)
        return narrow, results_of(trial, in_dtype(arrays, "float64"), in_dtype(vs, "float64"))


def is_noise(trial: Trial, arrays: Arrays, vs: Arrays) -> bool:
    """Return whether the float32 error is rounding: at points nearby, its size and sign differ each time.

    The error of a wrong rule or constant is nearly the same at all of these points.
    """
    rng, errors = trial.rng, []
    for _ in range(NEARBY):
        moved = [read_only((a * (1 + 1e-5 * rng.uniform(-1, 1, a.shape))).astype("float32")) for a in arrays]
        narrow, exact = (join([*ys, *gs]) for ys, gs in in_both_widths(trial, moved, vs))
        errors.append(narrow.astype("float64") - exact)
    off = np.stack(errors)
    worst = int(np.argmax(np.abs(off).max(axis=0)))
    return bool(abs(off[:, worst].mean()) < off[:, worst].std())


def devices(trial: Trial) -> Measure | None:
    """Results and gradients on other devices agree with those of NumPy.

    Catches forwards and rules that call NumPy itself, mix devices, or rely on behavior that only NumPy has.
    """
    measures = []
    for device in trial.effort.devices:
        find_backend(device)
        for dtype in WIDTHS:
            arrays, vs = trial.cast(dtype)
            expected = results_of(trial, arrays, vs)
            there = results_of(trial, [transfer(a, device) for a in arrays], [transfer(v, device) for v in vs])
            for result in (*there[0], *there[1]):
                name = backend_of(result).name
                demand(name == device, f"device {device}: a result or gradient is on {name}")
            here = tuple([transfer(a, "cpu") for a in part] for part in there)
            measures += compare_results(trial, f"device {device}, {dtype}", here, expected, dtype, factor=4)  # type: ignore[arg-type]  # a pair
    return Measure.worst(measures) if measures else None


def check_law(law: Law) -> Callable[[Trial], Measure | None]:
    """Return a property that checks a declared law."""

    def holds(trial: Trial) -> Measure | None:
        random = trial.cases.random and trial.case.training
        if law.training not in (None, trial.case.training) or (random and not law.training):
            return None  # a random layer in training satisfies only laws declared for training
        with restoring(trial.layer), reference_only():
            error = law.check(trial.layer, *trial.inputs)
        if error is None:
            return Measure()
        measure = Measure(float(error), law.tolerance)
        text = f"law {law.name} ({law.formula})" if law.formula else f"law {law.name}"
        demand_finite(f"{text}, its error", measure.error)
        if not measure.holds:
            raise Violation(f"{text}: error {measure.error:.3g}, tolerance {law.tolerance:.3g}", measure)
        return measure

    holds.__name__, holds.__doc__ = law.name, law.formula or f"The law {law.name!r} that the author declared."
    return holds
