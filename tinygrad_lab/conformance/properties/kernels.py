"""The property of kernels: each does what the reference forward of its primitive does, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.backend import Array, carries_gradient, namespace
from tinygrad_lab.conformance.properties.arrays import WIDTHS, every_second, fortran
from tinygrad_lab.conformance.subject import Arrays, Subject, in_dtype, read_only
from tinygrad_lab.conformance.trial import Trial
from tinygrad_lab.conformance.values import draw_input
from tinygrad_lab.conformance.verdict import Measure, Violation, agree, demand
from tinygrad_lab.errors import LabError
from tinygrad_lab.kernel import Kernel, KernelTable
from tinygrad_lab.trees import flatten

LARGE = 1 << 14  # elements, for several blocks
ONE_IN = 3  # cases that are also run with a large batch


def kernels(trial: Trial) -> Measure | None:
    """Each kernel that the case reaches agrees with its reference forward to its declared error.

    Also in other layouts of memory; it changes no argument; and where the reference shows NaN, so does the kernel. Held
    to that in forwards, walks and derivatives of walks, in both widths, whether or not a launch would pay, and with a
    batch that makes several blocks.
    """
    audit = Audit(trial.rng)
    try:
        for dtype in WIDTHS:
            arrays, vs = trial.cast(dtype)
            with auditing(audit):
                use(trial.subject, arrays, vs)
        if trial.case.seed % ONE_IN == 0:
            audit_large(trial, audit)
    finally:
        trial.reached |= audit.reached
        if audit.violations:  # what a wrong result led to is of less interest
            raise audit.violations[0]
    return Measure.worst(audit.measures) if audit.measures else None


def use(subject: Subject, arrays: Arrays, vs: Arrays) -> None:
    """Run a subject forwards, backwards, and along a direction."""
    _, pull = subject.linearise(arrays)
    pull(vs)
    if subject.differentiable and arrays:
        tgl.jvp(subject, tuple(arrays), tuple(arrays))


def audit_large(trial: Trial, audit: Audit) -> None:
    """Run the case with many more rows, if its inputs have a batch axis."""
    inputs = [given for given in trial.case.inputs if given.shape and given.shape[0]]
    if not inputs or len(inputs) < len(trial.case.inputs):
        return
    factor = -(-LARGE // max(int(np.prod(given.shape)) or LARGE for given in inputs))
    rng = trial.rng
    grown = [draw_input(replace(i, shape=(factor * i.shape[0], *i.shape[1:])), rng) for i in inputs]
    subject = trial.subject.at(grown)
    arrays = in_dtype([grown[i] for i in subject.floats] + trial.arrays[len(subject.floats) :], "float32")
    with auditing(audit):
        try:
            ys = subject.value(arrays)
        except LabError:
            return  # the first axis is no batch
        use(subject, arrays, [read_only(rng.uniform(0.5, 1.5, y.shape).astype(y.dtype)) for y in ys])


@dataclass
class Audit:
    """What is known of the kernels that ran: how far each was off, what was wrong, and which ran at all."""

    rng: np.random.Generator
    measures: list[Measure] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)  # id of Kernel

    def watched(self, primitive: Primitive, kernels: Sequence[Kernel], xp: Any) -> Callable[..., Any]:
        """Return the first kernel's forward, which also notes what is to be said about all of them.

        Violations are kept for later: raised inside of a walk, they would be taken for a failure of a rule.
        """

        def run(*values: Any, **options: Any) -> Any:
            first, *_ = [self.examine(primitive, kernel, xp, values, options) for kernel in kernels]
            return first

        return run

    def examine(self, primitive: Primitive, kernel: Kernel, xp: Any, values: Any, options: dict[str, Any]) -> Any:
        """Run a kernel, note what is to be said about it, and return its result."""
        self.reached.add(id(kernel))
        held = [v.tobytes() for v in values if isinstance(v, np.ndarray)]
        out = kernel.run(*values, **options)
        try:
            same = held == [v.tobytes() for v in values if isinstance(v, np.ndarray)]
            demand(same, f"{primitive}: kernel {kernel.provider!r} changes an argument")
            with np.errstate(all="ignore"):
                self.compare(primitive, kernel, xp, values, options, out)
        except Violation as violation:
            self.violations.append(violation)
        return out

    def compare(
        self, primitive: Primitive, kernel: Kernel, xp: Any, values: Any, options: dict[str, Any], out: Any
    ) -> None:
        """Compare a kernel with the reference on what it was given, in other layouts, and with NaN."""
        what = f"{primitive}: kernel {kernel.provider!r}"
        wide = [v.astype("float64") if carries_gradient(v) else v for v in values]
        sizes = [abs(v) if carries_gradient(v) else v for v in wide]
        found = [primitive.forward(xp, *given, **options) for given in (wide, values, sizes)]
        for got, exact, same, size in zip(*(flatten(t)[0] for t in (out, *found)), strict=True):
            self.measures.append(compare_kernel(what, kernel, got, exact, same, size))
        if xp is not np:
            return
        for layout, change in (("transposed", fortran), ("not contiguous", every_second)):
            moved = [change(v) if isinstance(v, np.ndarray) and v.ndim else v for v in values]
            there = primitive.forward(xp, *moved, **options)  # NumPy sums strided arrays in another, worse order
            results = (kernel.run(*moved, **options), found[0], there, found[2])
            for got, exact, same, size in zip(*(flatten(t)[0] for t in results), strict=True):
                compare_kernel(f"{what}, {layout} arguments", kernel, got, exact, same, size)
        for which, value in enumerate(values):
            if isinstance(value, np.ndarray) and carries_gradient(value) and value.size:
                self.compare_nan(what, primitive, kernel, values, options, which)

    def compare_nan(
        self, what: str, primitive: Primitive, kernel: Kernel, values: Any, options: dict[str, Any], which: int
    ) -> None:
        """Demand that a NaN in one argument shows in a kernel's result wherever it shows in the reference's."""
        broken = np.array(values[which])
        broken.reshape(-1)[self.rng.integers(broken.size)] = np.nan
        given = [broken if i == which else v for i, v in enumerate(values)]
        results = (flatten(f)[0] for f in (kernel.run(*given, **options), primitive.forward(np, *given, **options)))
        for got, expected in zip(*results, strict=True):
            if carries_gradient(got):
                lost = int((np.isfinite(got) & np.isnan(expected)).sum())
                demand(not lost, f"{what}: NaN in {primitive.names(which)} is lost in {lost} results")


@contextmanager
def auditing(audit: Audit) -> Iterator[None]:
    """Watch each kernel that takes a case inside the ``with`` block, whatever the size of the arrays."""
    call = Primitive.__call__
    owners: dict[int, Primitive] = {}

    def call_noted(primitive: Primitive, *args: Any, **options: Any) -> Any:
        owners[id(primitive.kernels)] = primitive
        return call(primitive, *args, **options)

    def choose_watched(table: KernelTable, xp: Any, values: list[Any], options: dict[str, Any]) -> Any:
        found = list(table.serving(xp, values, options, any_size=True))
        return audit.watched(owners[id(table)], found, xp) if found else None

    with patch.object(Primitive, "__call__", call_noted), patch.object(KernelTable, "choose", choose_watched):
        yield


def compare_kernel(what: str, kernel: Kernel, got: Array, exact: Array, same: Array, size: Array) -> Measure:
    """Compare a kernel's result with the reference's, in float64 and in the kernel's own width.

    What the declared error is relative to: the root mean square of the result, or of the result for absolute values,
    which is larger where a sum of products cancels; for an entry that is larger than these, its own size.
    """
    alike = got.shape == same.shape and got.dtype == same.dtype
    demand(alike, f"{what}: expected {same.shape} {same.dtype}, got {got.shape} {got.dtype}")
    if not carries_gradient(got):
        return agree(what, got, same, 0)
    xp = namespace(exact)
    finite = xp.isfinite(exact) & xp.isfinite(size)
    scale = max(root_mean_square(exact[finite]), root_mean_square(size[finite]))
    rounding = float(np.finfo(got.dtype).eps)
    declared = kernel.error * rounding / float(np.finfo("float32").eps)
    own = float(abs(same[finite] - exact[finite]).max()) if same[finite].size else 0.0
    sizes = xp.maximum(abs(xp.where(finite, exact, 0.0)), scale)
    return agree(what, got, exact, (declared + 8 * rounding) * sizes + 2 * own)


def root_mean_square(array: Array) -> float:
    """Return sqrt(mean(a^2)), 0 for an empty array."""
    return float(np.sqrt((array * array).mean())) if array.size else 0.0
