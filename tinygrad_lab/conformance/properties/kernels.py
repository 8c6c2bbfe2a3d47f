"""The property of kernels: each agrees with the reference forward of its primitive."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.dispatch import Kernel, have_kernels
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.settings import observing
from tinygrad_lab.autograd.trees import flatten
from tinygrad_lab.backend import Array, carries_gradient, device_name, find_backend, fresh, is_array, transfer
from tinygrad_lab.conformance.properties.arrays import WIDTHS, every_second, fortran
from tinygrad_lab.conformance.trials.subject import Arrays, Subject, in_dtype, read_only
from tinygrad_lab.conformance.trials.trial import Trial
from tinygrad_lab.conformance.trials.values import draw_input
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, blaming, demand
from tinygrad_lab.errors import LabError
from tinygrad_lab.kernels.cupy.options import PRODUCTS, using_gpu_options

LARGE = 1 << 14  # elements of a large batch
ONE_IN = 3  # one case in three also runs with a large batch
BLOCK = 1 << 17  # elements of the largest block that kernels are expected to use, unless `min_size` is larger
SEVERAL = 2.5  # blocks of a large run: two whole ones and a part
MOST_WORK = 1 << 25  # largest total of elements passed to primitives when a case runs on several blocks
STEP = 8  # factor by which a batch grows at a time, so that a run can stop before it fills the memory
ROUGH = 1e-2  # relative tolerance that finds a wrong block but not the rounding of long sums
DEVICE_WIDTHS = (*WIDTHS, "float16")


def kernels(trial: Trial) -> Measure | None:
    """Each kernel that the case reaches agrees with its reference forward to within its declared error.

    It agrees in other memory layouts too, changes no argument, and gives NaN where the reference does. It is checked in
    forwards, backward passes and their derivatives, in all dtypes, at sizes below `min_size` too, and with a large
    batch. On other devices it is compared with NumPy's reference for each precision of products. If that is cheap,
    each kernel runs once on enough elements to need several blocks.
    """
    audit = Audit(trial.rng)
    try:
        for device, dtype, products in ways(trial.effort.devices):
            arrays, vs = ([transfer(a, device) for a in part] for part in trial.cast(dtype))
            with observing(audit.observe), using_gpu_options(products=products):
                use(trial.subject, arrays, vs)
        base, devices = audit.work, list(dict.fromkeys(device for device, _, _ in ways(trial.effort.devices)))
        factor = factor_for(trial, LARGE) if trial.case.seed % ONE_IN == 0 else 0
        if factor and not outgrows(trial, factor):
            for device in devices:
                audit_large(trial, audit, device, factor)
        if not audit.violations:
            audit_blocks(trial, audit, base, devices)
    finally:
        trial.reached |= audit.reached
        if audit.violations:  # errors that a wrong result caused are less interesting
            raise audit.violations[0]
    return Measure.worst(audit.measures) if audit.measures else None


def ways(devices: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each device, dtype and precision of products in which kernels are compared with their references."""
    for dtype in WIDTHS:
        yield "cpu", dtype, "float32"
    for device in devices:
        if device != "cpu" and have_kernels(find_backend(device).namespace):
            for dtype in DEVICE_WIDTHS:
                yield device, dtype, "float32"
            for products in PRODUCTS[1:]:
                yield device, "float32", products


def use(subject: Subject, arrays: Arrays, vs: Arrays) -> None:
    """Run a subject's forward with and without a tape, its backward pass, and a directional derivative."""
    subject.value(arrays)
    _, pull = subject.linearize(arrays)
    pull(vs)
    if subject.differentiable and arrays:
        tgl.jvp(subject, tuple(arrays), tuple(arrays))


def factor_for(trial: Trial, elements: int) -> int:
    """Return the factor by which the batch must grow until an input has this many elements.

    It is 0 if an input has no rows, or if a result's shape differs from the one that `output_shape` announces.
    """
    inputs = trial.case.inputs
    if not trial.shapes_hold or not inputs or not all(given.shape and given.shape[0] for given in inputs):
        return 0
    return -(-elements // max(int(np.prod(given.shape)) or elements for given in inputs))


def audit_blocks(trial: Trial, audit: Audit, base: int, devices: Sequence[str]) -> None:
    """Run a cheap case on several blocks of each kernel that it reaches, if some kernel has not had such a run.

    The number of elements passed to primitives estimates the cost; `base` is this number for the case itself. A case
    whose work grows faster than its batch, such as the products of all pairs of rows, is skipped.
    """
    unseen = audit.reached - trial.in_blocks
    least = max((audit.least[key] for key in unseen), default=0)
    factor = factor_for(trial, int(SEVERAL * max(least, BLOCK)))
    if not unseen or not factor or base * factor > MOST_WORK or outgrows(trial, factor):
        return
    for device in devices:
        work = 0
        for rows in dict.fromkeys(-(-factor // STEP**k) for k in (5, 4, 3, 2, 1, 0)):
            rough = Audit(audit.rng, rough=True)
            audit_large(trial, rough, device, rows)
            audit.violations += rough.violations
            if rough.violations or (work and rough.work > 1.5 * STEP * work) or rough.work > MOST_WORK:
                return
            work = rough.work
    trial.in_blocks |= audit.reached


def outgrows(trial: Trial, factor: int) -> bool:
    """Return whether a forward's arrays grow faster than its batch, as when shapes (N, 1, C) and (N, C) broadcast.

    The answer comes from two batches smaller than `factor`, so such arrays do not fill the memory.
    """
    large = min(factor, STEP**2)
    small = max(1, large // STEP)
    return elements_of_forward(trial, large) > 1.05 * large / small * elements_of_forward(trial, small)


def elements_of_forward(trial: Trial, factor: int) -> int:
    """Return the number of elements that primitives take and return with a larger batch; 0 if the layer refuses it."""
    count = 0

    def observe(primitive: Primitive, xp: Any, values: list[Any], options: dict[str, Any]) -> Callable[..., Any]:
        kernel = next(primitive.kernels.serving(xp, values, options), None)
        forward = kernel.run if kernel else functools.partial(primitive.forward, xp)

        def run(*values: Any, **options: Any) -> Any:
            nonlocal count
            out = forward(*values, **options)
            count += elements_in([*values, *flatten(out)[0]])
            return out

        return run

    subject, arrays = enlarged(trial, factor)
    with observing(observe), suppress(LabError):
        subject.value(arrays)
        return count
    return 0


def elements_in(values: Sequence[Any]) -> int:
    """Return the number of elements of the arrays among some values."""
    return sum(value.size for value in values if is_array(value))


def enlarged(trial: Trial, factor: int) -> tuple[Subject, Arrays]:
    """Return the subject with a batch `factor` times as large, and its float32 arguments."""
    inputs, rng = trial.case.inputs, trial.rng
    grown = [draw_input(replace(i, shape=(factor * i.shape[0], *i.shape[1:])), rng) for i in inputs]
    subject = trial.subject.at(grown)
    return subject, in_dtype([grown[i] for i in subject.floats] + trial.arrays[len(subject.floats) :], "float32")


def audit_large(trial: Trial, audit: Audit, device: str, factor: int) -> None:
    """Run the case with a batch `factor` times as large."""
    subject, here = enlarged(trial, factor)
    arrays = [transfer(a, device) for a in here]
    with observing(audit.observe):
        try:
            ys = subject.value(arrays)
        except LabError:
            return  # the first axis is not a batch
        vs = [read_only(trial.rng.uniform(0.5, 1.5, y.shape).astype(y.dtype)) for y in ys]
        use(subject, arrays, [transfer(v, device) for v in vs])


@dataclass
class Audit:
    """The record of the kernels that ran, with their errors and violations.

    A rough audit looks only for wrong blocks. Smaller arrays suffice to check rounding, other layouts and NaN.
    """

    rng: np.random.Generator
    rough: bool = False
    work: int = 0  # elements passed to primitives
    least: dict[int, int] = field(default_factory=dict)  # `min_size` of each Kernel, by its id
    measures: list[Measure] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)  # ids of the Kernels that ran

    def observe(
        self, primitive: Primitive, xp: Any, values: list[Any], options: dict[str, Any]
    ) -> Callable[..., Any] | None:
        """Examine all kernels and return the forward of the first one that accepts the case, whatever its size.

        Violations are kept for later: if raised inside a backward pass, they would look like a failed rule.
        """
        self.work += elements_in(values)
        kernels = list(primitive.kernels.serving(xp, values, options, any_size=True))

        def run(*values: Any, **options: Any) -> Any:
            if is_update(primitive):  # it changes arrays, so every kernel gets copies
                for kernel in kernels:
                    self.examine(primitive, kernel, [fresh(v) for v in values], options)
                return kernels[0].run(*values, **options)
            first, *_ = [self.examine(primitive, kernel, values, options) for kernel in kernels]
            return first

        return run if kernels else None

    def examine(self, primitive: Primitive, kernel: Kernel, values: Sequence[Any], options: dict[str, Any]) -> Any:
        """Run a kernel, note its errors, and return its result."""
        self.reached.add(id(kernel))
        self.least[id(kernel)] = kernel.min_size
        here = [fresh(transfer(v, "cpu")) if is_proper(v) else v for v in values]
        out = kernel.run(*values, **options)
        try:
            with np.errstate(all="ignore"):
                self.compare(primitive, kernel, here, values, options, out)
        except Violation as violation:
            self.violations.append(violation)
        return out

    def compare(
        self,
        primitive: Primitive,
        kernel: Kernel,
        here: Sequence[Any],
        values: Sequence[Any],
        options: dict[str, Any],
        out: Any,
    ) -> None:
        """Compare a kernel with the reference on its arguments, in other layouts, and with NaN.

        Parameters
        ----------
        primitive, kernel
            A primitive and one of its kernels.
        here : sequence
            The arguments before the kernel ran, as NumPy arrays.
        values : sequence
            The arguments themselves.
        options : dict
            The options.
        out : array or tuple
            The kernel's result.
        """
        what, update = f"{primitive}: kernel {kernel.provider!r}", is_update(primitive)
        if not update:
            kept = [transfer(v, "cpu").tobytes() for v in values if is_proper(v)]
            demand(kept == [v.tobytes() for v in here if is_proper(v)], f"{what} changes an argument")
        device = next(device_name(v) for v in values if is_proper(v))
        wide = [v.astype("float64") if carries_gradient(v) else v for v in here]
        sizes = [np.asarray(abs(v)) if carries_gradient(v) else v for v in wide]
        exact, same, size = (reference_of(primitive, given, options) for given in (wide, here, sizes))
        if update:  # the result is p plus a step, so its rounding is relative to p
            size = [s + abs(wide[0]) for s in size]
        if self.rough:
            largest = max(v.size for v in values if is_proper(v))
            for found in zip(visible(primitive, out, values), exact, same, size, strict=True):
                with blaming([]):  # too many values for a report
                    compare_kernel(f"{what}, {largest} elements", kernel, *found, rough=ROUGH)
            return
        for found in zip(visible(primitive, out, values), exact, same, size, strict=True):
            self.measures.append(compare_kernel(what, kernel, *found))
        for layout, change in (("transposed", fortran), ("not contiguous", every_second)):
            got, same = both(primitive, kernel, here, options, device, change)
            for found in zip(got, exact, same, size, strict=True):
                compare_kernel(f"{what}, {layout} arguments", kernel, *found)
        for which, value in enumerate(here):
            if is_proper(value) and carries_gradient(value) and value.size:
                broken = np.array(value)
                broken.reshape(-1)[self.rng.integers(broken.size)] = np.nan
                given = [broken if i == which else v for i, v in enumerate(here)]
                name = primitive.names(which)
                for got, expected in zip(*both(primitive, kernel, given, options, device), strict=True):
                    lost = int((np.isfinite(got) & np.isnan(expected)).sum()) if carries_gradient(got) else 0
                    demand(not lost, f"{what}: NaN in {name} is lost in {lost} results")


def is_proper(value: Any) -> bool:
    """Return whether a value is an array and not a NumPy scalar."""
    return is_array(value) and not isinstance(value, np.generic)


def is_update(primitive: Primitive) -> bool:
    """Return whether a primitive is an optimizer's update: it has no rules, and changes arrays in place."""
    return not primitive.rules


def is_own(primitive: Primitive, which: int) -> bool:
    """Return whether an argument is an optimizer's own array: any but the parameter and the gradient."""
    return is_update(primitive) and primitive.arguments[which] not in ("p", "g")


def visible(primitive: Primitive, out: Any, values: Sequence[Any]) -> Arrays:
    """Return the effects of a forward as NumPy arrays: its results, and the arrays that it changes in place."""
    changed = [v for i, v in enumerate(values) if is_proper(v) and is_own(primitive, i)]
    return [transfer(a, "cpu") for a in (*flatten(out)[0], *changed)]


def reference_of(primitive: Primitive, given: Sequence[Any], options: dict[str, Any]) -> Arrays:
    """Return the effects of the reference forward on NumPy arrays."""
    given = [fresh(v) if is_update(primitive) and is_proper(v) else v for v in given]
    return visible(primitive, primitive.forward(np, *given, **options), given)


def both(
    primitive: Primitive,
    kernel: Kernel,
    here: Sequence[Any],
    options: dict[str, Any],
    device: str,
    change: Callable[[Array], Array] = fresh,
) -> tuple[Arrays, Arrays]:
    """Return the effects of a kernel on its device and of the reference on NumPy, with layouts changed by `change`."""

    def laid_out(values: Sequence[Any]) -> list[Any]:
        plain = [is_own(primitive, i) or not is_proper(v) or not v.ndim for i, v in enumerate(here)]
        return [fresh(v) if as_it_is else change(v) for as_it_is, v in zip(plain, values, strict=True)]

    there = laid_out([transfer(v, device) if is_proper(v) else v for v in here])
    moved = laid_out(here)
    got = visible(primitive, kernel.run(*there, **options), there)
    return got, visible(primitive, primitive.forward(np, *moved, **options), moved)


def compare_kernel(
    what: str, kernel: Kernel, got: Array, exact: Array, same: Array, size: Array, rough: float = 0.0
) -> Measure:
    """Compare a kernel's result with the reference's, in float64 and in the kernel's own dtype.

    The declared error is relative to the larger of two root mean squares: that of the result, and that of the result
    computed from absolute values, which is larger if a sum of products cancels. If an entry is larger still, its error
    is relative to the entry. `rough` is added to the declared error. Where the reference overflows in the kernel's
    dtype, the kernel may overflow too.
    """
    alike = got.shape == same.shape and got.dtype == same.dtype
    demand(alike, f"{what}: expected {same.shape} {same.dtype}, got {got.shape} {got.dtype}")
    if not carries_gradient(got):
        return agree(what, got, same, 0)
    overflows = np.isfinite(exact) & ~np.isfinite(same)
    exact = np.where(overflows & ~np.isfinite(got), got, exact)
    finite = np.isfinite(exact) & np.isfinite(size) & ~overflows
    scale = max(root_mean_square(exact[finite]), root_mean_square(size[finite]))
    rounding = float(np.finfo(got.dtype).eps)
    declared = kernel.bound * min(1.0, rounding / float(np.finfo("float32").eps))  # float16 is summed in float32
    own = float(abs(same[finite] - exact[finite]).max()) if same[finite].size else 0.0
    sizes = np.maximum(np.where(finite, np.maximum(abs(exact), abs(size)), 0.0), scale)
    tolerance = (declared + rough + 8 * rounding) * sizes + 2 * own
    return agree(what, got, exact, tolerance, finite=bool(np.isfinite(exact).all()))


def root_mean_square(array: Array) -> float:
    """Return sqrt(mean(a^2)), or 0 for an empty array; squares of large numbers do not overflow."""
    largest = float(abs(array).max(initial=0.0))
    return largest * float(np.sqrt(np.square(array / largest).mean())) if largest else 0.0
