"""Properties of agreement: with an independent reference, between float widths, kernels and devices, and with laws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.backend import Array, backend_of, carries_gradient, find_backend, namespace, transfer
from tinygrad_lab.conformance.case import Law
from tinygrad_lab.conformance.properties.arrays import WIDTHS, compare_results, results_of
from tinygrad_lab.conformance.subject import LayerSubject, in_dtype, restoring
from tinygrad_lab.conformance.trial import Trial, magnitude
from tinygrad_lab.conformance.verdict import Measure, Violation, agree, demand
from tinygrad_lab.kernel import Kernel, KernelTable
from tinygrad_lab.settings import using
from tinygrad_lab.trees import flatten

REFERENCE = 1e-9  # how far, relative to the largest value, two ways to compute the same in float64 may be apart


def reference(trial: Trial) -> Measure | None:
    """The forward agrees with the independent one that the author wrote.

    Catches what no gradient shows: a derivative can be right of the wrong function (max-pooling that pads with 0).
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
    """Return what the author's reference computes."""
    assert trial.cases.reference is not None
    if not isinstance(trial.subject, LayerSubject):
        return trial.cases.reference(*trial.inputs, **trial.case.options)
    with restoring(trial.layer):
        return trial.cases.reference(trial.layer, *trial.inputs)


def float32(trial: Trial) -> Measure | None:
    """Results and gradients in float32 are those of float64 but for rounding.

    Rounding is measured by how much small random changes of the arguments change the result. Catches rules that work in
    one width only, and formulas that lose digits.
    """
    if not trial.arrays:
        return None
    arrays, vs = trial.cast("float32")
    with using(providers=frozenset()):
        narrow = results_of(trial, arrays, vs)
        exact = results_of(trial, in_dtype(arrays, "float64"), in_dtype(vs, "float64"))
    return Measure.worst(compare_results(trial, "float32 against float64", narrow, exact, "float32"))


@dataclass
class Audit:
    """What is known of the kernels that ran: how far each was off, which were wrong, and which ran at all."""

    measures: list[Measure] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)  # id of Kernel


@contextmanager
def auditing(audit: Audit) -> Iterator[None]:
    """Compare each kernel that runs inside the ``with`` block with the reference forward of its primitive."""
    call, choose = Primitive.__call__, KernelTable.choose
    owners: dict[int, Primitive] = {}

    def call_noted(primitive: Primitive, *args: Any, **options: Any) -> Any:
        owners[id(primitive.kernels)] = primitive
        return call(primitive, *args, **options)

    def choose_audited(table: KernelTable, xp: Any, values: list[Any], options: dict[str, Any]) -> Any:
        run = choose(table, xp, values, options)
        if run is None:
            return None
        kernel = next(k for k in table if k.run is run)
        return audited(audit, owners[id(table)], kernel, xp)

    with patch.object(Primitive, "__call__", call_noted), patch.object(KernelTable, "choose", choose_audited):
        yield


def audited(audit: Audit, primitive: Primitive, kernel: Kernel, xp: Any) -> Callable[..., Any]:
    """Return a kernel's forward that also runs the reference, in float64, and notes the difference."""

    def run(*values: Any, **options: Any) -> Any:
        audit.reached.add(id(kernel))
        out = kernel.run(*values, **options)
        wide = [v.astype("float64") if carries_gradient(v) else v for v in values]
        sizes = [abs(v) if carries_gradient(v) else v for v in wide]
        found = (primitive.forward(xp, *given, **options) for given in (wide, values, sizes))
        try:
            for got, exact, same, size in zip(*(flatten(t)[0] for t in (out, *found)), strict=True):
                what = f"{primitive}: kernel {kernel.provider!r}"
                audit.measures.append(compare_kernel(what, kernel, got, exact, same, size))
        except Violation as violation:  # kept, for inside of a walk it would be taken for a failure of the rule
            audit.violations.append(violation)
        return out

    return run


def compare_kernel(what: str, kernel: Kernel, got: Array, exact: Array, same: Array, size: Array) -> Measure:
    """Compare a kernel's result with the reference's, in float64 and in the kernel's own width.

    What the declared error is relative to: the root mean square of the result, or of the result for absolute values,
    which is larger where a sum of products cancels.
    """
    alike = got.shape == same.shape and got.dtype == same.dtype
    demand(alike, f"{what}: expected {same.shape} {same.dtype}, got {got.shape} {got.dtype}")
    if not carries_gradient(got):
        return agree(what, got, same, 0)
    finite = namespace(exact).isfinite(exact) & namespace(exact).isfinite(size)
    scale = max(root_mean_square(exact[finite]), root_mean_square(size[finite]))
    rounding = float(np.finfo(got.dtype).eps)
    declared = kernel.error * rounding / float(np.finfo("float32").eps)
    own = float(abs(same[finite] - exact[finite]).max()) if same[finite].size else 0.0
    return agree(what, got, exact, (declared + 8 * rounding) * scale + 2 * own)


def root_mean_square(array: Array) -> float:
    """Return sqrt(mean(a^2)), 0 for an empty array."""
    return float(np.sqrt((array * array).mean())) if array.size else 0.0


def kernels(trial: Trial) -> Measure | None:
    """Each kernel that the case reaches agrees with its reference forward to its declared error, in walks too.

    The reference is computed in float64, and the error is relative to the size of the result (see `compare_kernel`).
    """
    audit = Audit()
    for dtype in WIDTHS:
        arrays, vs = trial.cast(dtype)
        with auditing(audit):
            results_of(trial, arrays, vs)
    trial.reached |= audit.reached
    if audit.violations:
        raise audit.violations[0]
    return Measure.worst(audit.measures) if audit.measures else None


def devices(trial: Trial) -> Measure | None:
    """Other array libraries give what NumPy gives, in results and gradients.

    Catches forwards and rules that name NumPy, mix devices or rely on what only NumPy does.
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
                demand(name == device, f"device {device}: a result or gradient came out on {name}")
            here = tuple([transfer(a, "numpy") for a in part] for part in there)
            measures += compare_results(trial, f"device {device}, {dtype}", here, expected, dtype, factor=4)  # type: ignore[arg-type]  # a pair
    return Measure.worst(measures) if measures else None


def check_law(law: Law) -> Callable[[Trial], Measure | None]:
    """Return the property that a declared law holds."""

    def holds(trial: Trial) -> Measure | None:
        random = trial.cases.random and trial.case.training
        if law.training not in (None, trial.case.training) or (random and not law.training):
            return None  # of a random layer in training hold the laws that are declared for training alone
        with restoring(trial.layer), using(providers=frozenset()):
            error = law.check(trial.layer, *trial.inputs)
        if error is None:
            return Measure()
        measure = Measure(float(error), law.tolerance)
        if not measure.error <= measure.tolerance:
            text = f" ({law.formula})" if law.formula else ""
            raise Violation(f"law {law.name}{text}: error {measure.error:.3g}, tolerance {law.tolerance:.3g}", measure)
        return measure

    holds.__name__, holds.__doc__ = law.name, law.formula or f"The law {law.name!r} that the author declared."
    return holds
