"""Properties of array handling: shapes, dtypes, layouts, empty arrays, and values that are not finite."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.conformance.properties.derivatives import BACKWARD, SAFETY, alone
from tinygrad_lab.conformance.trials.oracles import differences, join
from tinygrad_lab.conformance.trials.subject import (
    Arrays,
    LayerSubject,
    Pull,
    Subject,
    float_leaves,
    read_only,
    restoring,
)
from tinygrad_lab.conformance.trials.trial import Trial, magnitude
from tinygrad_lab.conformance.trials.values import constants_of
from tinygrad_lab.conformance.trials.verdict import Measure, Undecided, Violation, agree, demand, demand_finite
from tinygrad_lab.errors import LabError

WIDTHS = ("float64", "float32")
MOST_BROKEN = 4  # arguments of one case that get a NaN


def forward(trial: Trial) -> Measure:
    """The case runs without a warning, and finite float64 arguments give finite float64 results."""
    with naming_writes("forward"), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        results = trial.subject(*trial.arrays)
    demand(results or trial.subject.call(trial.arrays) is not None, "forward returned None: is a return missing?")
    for y in results:
        text = f"for float64 arguments: expected a float64 result, got {unbox(y).dtype}; {who_narrows(trial)}"
        demand(unbox(y).dtype == "float64", text)
        demand_finite("the result of finite arguments", unbox(y))
    return Measure()


def who_narrows(trial: Trial) -> str:
    """Return advice that depends on whether a kernel or the forward itself gives a dtype other than float64."""
    with reference_only():
        alone = [unbox(y).dtype for y in trial.subject(*trial.arrays)]
    if all(dtype == "float64" for dtype in alone):
        return "a kernel narrows it, the reference does not: return the arguments' dtype, or decline the call by `when`"
    return "finite differences need float64"


@contextmanager
def naming_writes(where: str) -> Iterator[None]:
    """Turn an error about writing into a read-only array into a Violation."""
    try:
        yield
    except Exception as error:
        cause = str(error.__cause__ or error)
        if "read-only" not in cause:
            raise
        text = f"{where}: something writes into an array that belongs to its caller: {cause}"
        raise Violation(text) from error


def raw_arrays(trial: Trial) -> Measure:
    """A layer gives the same results for raw arrays as for tensors.

    Catches forwards that use methods and attributes of tensors.
    """
    boxed = [unbox(y) for y in trial.subject(*trial.arrays)]
    with restoring(trial.layer):
        trial.layer.steps = 0
        bare = [unbox(y) for y in float_leaves(trial.layer(*trial.inputs))]
    demand(len(bare) == len(boxed), f"expected {len(boxed)} results for raw arrays, as for tensors, got {len(bare)}")
    what = "the result for raw arrays instead of tensors"
    return Measure.worst([agree(what, b, y, 1e-12 * (1 + magnitude([y]))) for b, y in zip(bare, boxed, strict=True)])


def shape_tree(result: Any) -> Any:
    """Return the shapes of a layer's result, nested like the result."""
    if isinstance(result, dict):
        return {k: shape_tree(v) for k, v in result.items()}
    if isinstance(result, (tuple, list)):
        return tuple(shape_tree(v) for v in result)
    return tuple(unbox(result).shape)


def as_tuples(shapes: Any) -> Any:
    """Return nested shapes with tuples for lists."""
    if isinstance(shapes, dict):
        return {k: as_tuples(v) for k, v in shapes.items()}
    return tuple(as_tuples(v) for v in shapes) if isinstance(shapes, (tuple, list)) else shapes


def output_shape(trial: Trial) -> Measure:
    """output_shape(shapes) returns the shapes of the results, and multiply_adds(shapes) a number of operations."""
    shapes = [a.shape for a in trial.inputs]
    expected, got = shape_tree(trial.subject.call(trial.arrays)), as_tuples(trial.layer.output_shape(*shapes))
    demand(got == expected, f"output_shape{tuple(shapes)}: expected {expected}, the shape of the result, got {got}")
    count: Any = trial.layer.multiply_adds(*shapes)
    demand(
        isinstance(count, int) and count >= 0, f"multiply_adds{tuple(shapes)}: expected a number >= 0, got {count!r}"
    )
    return Measure()


def shapes_and_dtypes(trial: Trial) -> Measure:
    """A result has the dtype of the arguments, and a gradient has the shape and dtype of its argument.

    Catches a forgotten sum over broadcast axes, and constants that widen float32 to float64.
    """
    for dtype in WIDTHS:
        arrays, vs = trial.cast(dtype)
        ys, pull = trial.subject.linearize(arrays)
        for y in ys:
            demand(not arrays or y.dtype == dtype, f"for {dtype} arguments: expected a {dtype} result, got {y.dtype}")
        for name, a, g in zip(trial.names, arrays, pull(vs), strict=True):
            same = g.shape == a.shape and g.dtype == a.dtype
            demand(same, f"gradient of {name}: expected {a.shape} {a.dtype}, got {g.shape} {g.dtype}", argument=name)
    return Measure()


def nothing_mutated(trial: Trial) -> Measure:
    """Arguments, buffers, results and cotangents, all read-only, have the same bytes after the backward pass.

    Catches forwards, rules and kernels that write into arrays that they do not own.
    """
    for dtype in WIDTHS:
        arrays, vs = trial.cast(dtype)
        buffers = trial.subject.state if isinstance(trial.subject, LayerSubject) else {}
        held = [("an argument", a) for a in (*arrays, *trial.inputs)] + [("a variable", b) for b in buffers.values()]
        held += [("the cotangent", v) for v in vs]
        before = [a.tobytes() for _, a in held]
        with naming_writes(dtype):
            ys, pull = trial.subject.linearize(arrays)
            results = [y.tobytes() for y in ys]
            pull(vs)
        for (what, a), old in zip(held, before, strict=True):
            demand(a.tobytes() == old, f"{dtype}: {what} of shape {a.shape} has changed")
        for y, old in zip(ys, results, strict=True):
            demand(y.tobytes() == old, f"{dtype}: the backward pass changes the result")
    return Measure()


def own_gradients(trial: Trial) -> Measure:
    """Gradients share no memory with the cotangent, the arguments or each other.

    This concerns derivatives on plain arrays, which their owners may write into. Catches rules that return the caller's
    cotangent as a gradient.
    """
    vs = [np.array(v) for v in trial.cotangent]
    arrays = [np.array(a) for a in trial.arrays]
    gradients = trial.subject.linearize(arrays)[1](vs)
    for k, (name, g) in enumerate(zip(trial.names, gradients, strict=True)):
        held = [*(("the cotangent", v) for v in vs), *(("an argument", a) for a in arrays)]
        for what, other in held + [("another gradient", h) for h in gradients[:k]]:
            demand(not np.shares_memory(g, other), f"the gradient of {name} shares memory with {what}", argument=name)
    return Measure()


def fortran(a: Array) -> Array:
    """Return a copy in Fortran order: its first axis is contiguous."""
    return namespace(a).asfortranarray(a)


def reversed_strides(a: Array) -> Array:
    """Return the same values in an array with negative strides."""
    everywhere = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[everywhere])[everywhere]


def every_second(a: Array) -> Array:
    """Return the same values as every second element of a larger array, with NaN in between."""
    wide = namespace(a).full(tuple(2 * n for n in a.shape), np.nan if a.dtype.kind in "fc" else 0, a.dtype)
    view = wide[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "transposed": fortran,
    "negative strides": reversed_strides,
    "not contiguous": every_second,
}


def layouts(trial: Trial) -> Measure:
    """Transposed, strided and reversed arguments and cotangents give the results of contiguous ones, with kernels on.

    So do cotangents with zero strides, which a sum produces. Catches kernels that read memory in the wrong order.
    """
    measures = []
    for dtype in WIDTHS:
        arrays, vs = trial.cast(dtype)
        expected = results_of(trial, arrays, vs)
        for name, change in LAYOUTS.items():
            got = results_of(trial, rearranged(arrays, change), rearranged(vs, change))
            measures += compare_results(trial, f"{name}, {dtype}", got, expected, dtype)
        flat = [read_only(np.broadcast_to(np.asarray(1, dtype), v.shape)) for v in vs]
        full = [read_only(np.ones(v.shape, dtype)) for v in vs]
        got, expected = results_of(trial, arrays, flat), results_of(trial, arrays, full)
        measures += compare_results(trial, f"cotangent of stride 0, {dtype}", got, expected, dtype)
    return Measure.worst(measures)


def rearranged(arrays: Arrays, change: Callable[[Array], Array]) -> Arrays:
    """Return read-only arrays of the same values in another layout; a 0-d array has only one."""
    return [read_only(change(a)) if a.ndim else a for a in arrays]


def results_of(trial: Trial, arrays: Arrays, vs: Arrays) -> tuple[Arrays, Arrays]:
    """Return the results and the gradients, with kernels on."""
    ys, pull = trial.subject.linearize(arrays)
    return ys, pull(vs)


def compare_results(
    trial: Trial,
    what: str,
    got: tuple[Arrays, Arrays],
    expected: tuple[Arrays, Arrays],
    dtype: str,
    factor: float = 1.0,
) -> list[Measure]:
    """Compare results and gradients within the rounding of a dtype."""
    allowed, measures = trial.tolerances(dtype), []
    for y, e, t in zip(got[0], expected[0], allowed.outputs, strict=True):
        measures.append(agree(f"{what}: result", y, e, factor * t))
    for name, g, e, t in zip(trial.names, got[1], expected[1], allowed.gradients, strict=True):
        measures.append(agree(f"{what}: gradient of {name}", g, e, factor * t, argument=name))
    return measures


def sliced(trial: Trial, size: int) -> Arrays | None:
    """Return the first `size` (0 or 1) rows of the inputs; None if they share no batch axis."""
    lengths = {a.shape[0] if a.ndim else None for a in trial.inputs}
    if len(lengths) != 1 or None in lengths or 0 in lengths:
        return None
    return [read_only(a[:size]) for a in trial.inputs]


@contextmanager
def documented_errors() -> Iterator[list[bool]]:
    """Run a block in which the layer may raise a documented error; warnings are errors.

    Yields
    ------
    list
        Empty at first; it contains True once the layer has raised.
    """
    refused: list[bool] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield refused
        except LabError as error:
            if error.__cause__ is not None and not isinstance(error.__cause__, LabError):
                raise
            refused.append(True)


def zero_size(trial: Trial) -> Measure | None:
    """A batch of 0 rows gives empty results, empty gradients and zeros for parameters, or a documented error.

    Catches divisions by the batch size, and reshapes that have to infer a length.
    """
    inputs = sliced(trial, 0)
    if inputs is None:
        return None
    floats = [inputs[i] for i in trial.subject.floats]
    arrays = [read_only(a) for a in floats + trial.arrays[len(floats) :]]
    for dtype in WIDTHS:
        with documented_errors() as refused:
            narrow = [read_only(a.astype(dtype)) for a in arrays]
            subject = trial.subject.at(inputs)
            shapes = shape_tree(subject.call(narrow))
            if isinstance(subject, LayerSubject):
                expected = as_tuples(trial.layer.output_shape(*(a.shape for a in inputs)))
                demand(shapes == expected, f"a batch of zero: expected shapes {expected}, got {shapes}")
            check_empty_gradients(trial, subject, narrow)
        if refused:
            return Measure()
    return Measure()


def check_empty_gradients(trial: Trial, subject: Subject, arrays: Arrays) -> None:
    """Demand finite gradients of the arguments' shapes, and zeros where the result is empty."""
    ys, pull = subject.linearize(arrays)
    for y in ys:
        demand_finite("a batch of zero: result", y)
    vs = [np.ones(y.shape, y.dtype) for y in ys]
    for name, a, g in zip(trial.names, arrays, pull(vs), strict=True):
        demand(g.shape == a.shape, f"a batch of zero: gradient of {name} has shape {g.shape}, expected {a.shape}")
        demand_finite(f"a batch of zero: gradient of {name}", g, argument=name)
        if all(y.size == 0 for y in ys):
            demand((np.asarray(g) == 0).all(), f"a batch of zero: gradient of {name} is not zero", argument=name)


def batch_of_one(trial: Trial) -> Measure | None:
    """For the first row alone, the gradients agree with finite differences along random directions.

    Catches squeezes, and statistics that need a second row.
    """
    inputs = sliced(trial, 1)
    if inputs is None or not trial.arrays or all(a.shape[0] == 1 for a in trial.inputs):
        return None
    floats = [inputs[i] for i in trial.subject.floats]
    arrays = floats + trial.arrays[len(floats) :]
    subject = trial.subject.at(inputs)
    with documented_errors() as refused, reference_only():
        ys, pull = subject.linearize(arrays)
    if refused:
        return None
    rng = trial.rng
    vs = [rng.uniform(0.5, 1.5, y.shape) for y in ys]
    gradients, measures = pull(vs), []
    for y in ys:
        demand_finite("the result for a batch of one", y)
    for name, g in zip(trial.names, gradients, strict=True):
        demand_finite(f"the gradient of {name} for a batch of one", g, argument=name)
    for _ in range(2):
        u = [rng.uniform(-1, 1, a.shape) for a in arrays]
        with reference_only():
            estimate = differences(subject.value, arrays, u)
        if not estimate.decided:
            raise Undecided("differences disagree")
        expected, got = np.dot(join(vs), estimate.value), np.dot(join(gradients), join(u))
        terms = np.abs(join(vs)) @ np.abs(estimate.value) + np.abs(join(gradients)).sum()
        tolerance = SAFETY * estimate.error * np.abs(join(vs)).sum() + BACKWARD * (1 + terms)
        measures.append(agree("v^T J u for a batch of one", got, expected, tolerance))
    return Measure.worst(measures)


def non_finite(trial: Trial) -> Measure | None:
    """NaN in an argument reaches every result that depends on it, and NaN in a cotangent reaches every gradient.

    A result depends on an argument if the derivative is not 0. This is checked in both dtypes, with kernels on. Catches
    maxima, masks and fast-math kernels that lose NaN.
    """
    if not trial.arrays or not trial.outputs:
        return None
    some = [which for which, a in enumerate(trial.arrays) if a.size]
    for which in trial.rng.permutation(some)[:MOST_BROKEN]:
        at, name = most_influential(trial, which), trial.names[which]
        unit = np.eye(1, trial.arrays[which].size, at).reshape(trial.arrays[which].shape)
        estimate = differences(trial.flat, trial.arrays, alone(trial, which, unit))
        if not estimate.decided:
            continue
        depends = np.abs(estimate.value) > SAFETY * estimate.error + 1e-6
        check_nan_in_argument(trial, which, at, depends, name)
    check_nan_in_cotangent(trial)
    return Measure()


def most_influential(trial: Trial, which: int) -> int:
    """Return the element of an argument with the largest gradient."""
    return int(np.argmax(np.abs(np.asarray(trial.gradients[0][which]).reshape(-1))))


def check_nan_in_argument(trial: Trial, which: int, at: int, depends: Array, name: str) -> None:
    """Put NaN into one element and demand that no dependent result is finite."""
    for dtype in WIDTHS:
        arrays, _ = trial.cast(dtype)
        broken = np.array(arrays[which])
        broken.reshape(-1)[at] = np.nan
        arrays[which] = read_only(broken)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            finite = np.isfinite(join(trial.subject.value(arrays)))
        lost = int((finite & depends).sum())
        demand(
            not lost,
            f"{dtype}: NaN in {name} is lost in {lost} of {int(depends.sum())} results that depend on it",
            argument=name,
        )


def check_nan_in_cotangent(trial: Trial) -> None:
    """Put NaN into one element of the cotangent and demand that the gradients which depend on it are not finite."""
    hot = trial.cotangents[-1]
    rows = trial.gradients[-1]
    for dtype in WIDTHS:
        arrays, _ = trial.cast(dtype)
        _, pull = trial.subject.linearize(arrays)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = pull([np.where(v != 0, np.nan, v).astype(dtype) for v in hot])
        for name, g, row in zip(trial.names, found, rows, strict=True):
            lost = int((np.isfinite(g) & (np.abs(row) > 1e-6)).sum())
            demand(not lost, f"{dtype}: NaN in the cotangent is lost in {lost} entries of the gradient of {name}")


def determinism(trial: Trial) -> Measure:
    """The same case, built and run twice, gives the same bits; so does the same pullback, called twice.

    Catches state that a call leaves behind, global random numbers, and rules that consume their saved values.
    """

    def once(subject: Subject) -> tuple[Arrays, Pull]:
        return subject.linearize(trial.cast("float32")[0])  # copies: nothing_mutated checks for writes

    ys, pull = once(trial.subject)
    text = "two calls give different results: draw with self.random(x).uniform(), and keep state in a Buffer"
    demand_same_bits(text, ys, once(trial.subject)[0])
    if isinstance(trial.subject, LayerSubject):
        other = LayerSubject(trial.twin(), trial.inputs, constants_of(trial.case))
        for path, value in trial.subject.state.items():
            same = other.state[path].tobytes() == value.tobytes()
            text = f"two layers with one seed differ in {path}: take rng as the constructor's last argument, and pass"
            demand(same, f"{text} it on to inner layers and initializers", argument=path)
        text = "two layers with one seed and state differ in their results: does the constructor draw without its rng?"
        demand_same_bits(text, ys, once(other)[0])
    one, two = (pull(trial.cast("float32")[1]) for _ in range(2))
    for name, a, b in zip(trial.names, one, two, strict=True):
        demand(a.tobytes() == b.tobytes(), f"two pullback calls give different gradients of {name}", argument=name)
    return Measure()


def demand_same_bits(text: str, one: Arrays, two: Arrays) -> None:
    """Raise a Violation unless two lists of arrays are the same to the last bit."""
    demand([a.tobytes() for a in one] == [a.tobytes() for a in two], text)
