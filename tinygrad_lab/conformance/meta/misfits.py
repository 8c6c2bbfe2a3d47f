"""Misfits: calls whose arguments do not fit together, which a kernel must accept or refuse as its reference does.

A compiled kernel reads and writes outside of arrays if it gets shapes that it was not written for. It then returns
whatever is in memory, and the process may crash much later. So the kit notes valid calls of a primitive and changes
them at random, in shapes, dtypes, layouts and options. It makes these calls in a separate process, with the
reference forward and with the kernels of each provider, and demands the same result within the kernel's bound, or the
same error.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import os
import select
import signal
import warnings
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.autograd.dispatch import Kernel, provider_serves
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.autograd.settings import observing, using
from tinygrad_lab.backend import Array, Shape, carries_gradient
from tinygrad_lab.conformance.properties.arrays import every_second, fortran
from tinygrad_lab.conformance.properties.kernels import ROUGH, compare_kernel, is_proper, reference_of, visible
from tinygrad_lab.conformance.trials.verdict import Violation, demand

MOST_CALLS = 8  # valid calls of a primitive to start from
MOST_ELEMENTS = 1 << 16  # elements of the largest argument
WIDTHS = ("float16", "float32", "float64", ">f4", "longdouble", "int64", "uint8", "bool")
PATIENCE = 120.0  # seconds for one misfit; kernels may have to be compiled

Arguments = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True)
class Call:
    """A valid call of a primitive: its arrays (and None) by position, its options by name."""

    values: list[Any]
    options: dict[str, Any]


Calls = dict[Primitive, list[Call]]


def serving_kernels(primitive: Primitive) -> list[Kernel]:
    """Return the kernels of a primitive that run on NumPy arrays on this machine."""
    return [kernel for kernel in primitive.kernels if provider_serves(kernel.provider, np)]


def noting(calls: Calls) -> AbstractContextManager[None]:
    """Run reference forwards inside the ``with`` block, and note the first calls of each primitive that has kernels."""

    def observe(primitive: Primitive, xp: Any, values: Sequence[Any], options: dict[str, Any]) -> None:
        noted = calls.setdefault(primitive, [])
        if len(noted) < MOST_CALLS and serving_kernels(primitive):
            copies = [np.array(v) if is_proper(v) else v for v in values]
            if all(v.size <= MOST_ELEMENTS for v in copies if is_proper(v)):
                noted.append(Call(copies, dict(options)))

    return observing(observe)


# ----------------------------------------------------------------------------------------------------- drawing calls


def draw_misfit(call: Call, rng: np.random.Generator, *, wild: bool = False) -> Arguments:
    """Return the arguments of a valid call with one or two changes.

    Parameters
    ----------
    call : Call
        The valid call.
    rng : numpy.random.Generator
        The generator that draws the changes.
    wild : bool
        Whether to draw arguments of other types, missing or unknown options, and huge numbers too.
    """
    values = [np.array(v) if is_proper(v) else v for v in call.values]
    options = dict(call.options)
    arrays = [i for i, v in enumerate(values) if is_proper(v)]
    for _ in range(rng.integers(1, 3)):
        if options and (not arrays or rng.random() < 0.3):
            name = _one_of(rng, list(options))
            options[name] = _other_option(options[name], rng, wild)
            if wild and rng.random() < 0.1:
                options["unknown" if rng.random() < 0.5 else name + "s"] = options.pop(name)
        elif arrays:
            which = _one_of(rng, arrays)
            values[which] = _other_array(values, which, rng, wild)
            arrays = [i for i, v in enumerate(values) if is_proper(v)]
    return values, options


def _one_of(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _other_array(values: Sequence[Any], which: int, rng: np.random.Generator, wild: bool) -> Any:
    array = values[which]
    if array.dtype == object:
        return array
    if wild and rng.random() < 0.1:
        return _one_of(rng, [None, 1.5, array.tolist(), array.reshape(-1)[:1].sum(), array.astype(object)])
    kind = rng.random()
    if kind < 0.6:
        others = [v.shape for i, v in enumerate(values) if i != which and is_proper(v)]
        return _filled(array, _other_shape(array.shape, others, rng), rng)
    if kind < 0.8 or not array.ndim:
        return array.astype(_one_of(rng, WIDTHS))
    if kind < 0.9:
        return _filled(array, array.shape, rng)
    return _one_of(rng, [fortran, every_second, np.flip, _misaligned, _locked])(array)


def _filled(array: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return an array of another shape: random floats, or integers of the same range and beyond it."""
    if array.dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape)).astype(array.dtype)
    if array.dtype.kind not in "iu":
        return np.asarray(rng.random(shape) < 0.5).astype(array.dtype)
    most = np.iinfo(array.dtype)
    beyond = [most.min, most.max, int(array.max(initial=0)) + 1]
    known = np.concatenate([array.reshape(-1), np.array([n for n in beyond if most.min <= n <= most.max], array.dtype)])
    return np.asarray(rng.choice(known, shape)).astype(array.dtype)


def _other_shape(shape: Shape, others: Sequence[Shape], rng: np.random.Generator) -> Shape:
    lengths, kind = list(shape), rng.random()
    axis = int(rng.integers(len(lengths))) if lengths else 0
    if not lengths or kind < 0.1:
        lengths.insert(axis, int(rng.integers(1, 4)))
    elif kind < 0.6:
        lengths[axis] = max(0, _one_of(rng, [lengths[axis] + n for n in (-2, -1, 1, 2, 3)] + [2 * lengths[axis], 1, 0]))
    elif kind < 0.7:
        del lengths[axis]
    elif kind < 0.8 and others:
        lengths = list(_one_of(rng, others))
    else:
        lengths = [lengths[i] for i in rng.permutation(len(lengths))]
    return tuple(lengths) if np.prod(lengths) <= MOST_ELEMENTS else shape


def _misaligned(array: Array) -> Array:
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


def _locked(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _other_option(value: Any, rng: np.random.Generator, wild: bool) -> Any:
    if wild and rng.random() < 0.3:
        strange = [None, "1", True, 1.0, 2.5, float("nan"), float("inf"), -1, 1 << 40, 1 << 70, (), (1,), [1, 1]]
        if isinstance(value, tuple):
            strange += [list(value), (*value, 1), value[:-1]]
        return _one_of(rng, strange)
    if isinstance(value, tuple) and value:
        which = int(rng.integers(len(value)))
        return (*value[:which], _other_option(value[which], rng, wild), *value[which + 1 :])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return _one_of(rng, [value - 2, value - 1, value + 1, value + 2, 0, -1, 1, 2 * value])
    if isinstance(value, float):
        return _one_of(rng, [-value, 0.0, 1.0, value + 1.0])
    return value


def describe(primitive: Primitive, arguments: Arguments) -> str:
    """Return a call in words: dtypes and shapes of arrays, and options."""
    values, options = arguments
    given = [f"{v.dtype}{v.shape}" if hasattr(v, "dtype") else f"{v!r:.40}" for v in values]
    return f"{primitive}({', '.join([*given, *(f'{name}={value!r:.60}' for name, value in options.items())])})"


# ----------------------------------------------------------------------------------------------------- judging calls


def outcome(primitive: Primitive, provider: str, arguments: Arguments) -> tuple[str | list[Array], Kernel | None]:
    """Return a call's error or effects with the kernels of one provider (none if ""), and the kernel that ran."""
    values, options = arguments
    ran: list[Kernel] = []

    def observe(primitive: Primitive, xp: Any, values: list[Any], options: dict[str, Any]) -> Any:
        ran[:] = itertools.islice(primitive.kernels.serving(xp, values, options, any_size=True), 1)
        return ran[0].run if ran else None

    try:
        with using(providers=frozenset({provider} - {""})), observing(observe):
            out = primitive(*values, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}", None
    return [np.asarray(a) for a in visible(primitive, out, values)], ran[0] if ran else None


def judge(primitive: Primitive, make: Callable[[], Arguments], providers: Collection[str]) -> None:
    """Demand that a call has the same outcome with kernels and without.

    Parameters
    ----------
    primitive : Primitive
        The primitive to call.
    make : callable
        Returns new copies of the arguments, because an update changes them.
    providers : collection of str
        The providers of the kernels.

    Raises
    ------
    Violation
        The outcomes differ.
    """
    expected, _ = outcome(primitive, "", make())
    if isinstance(expected, str) and expected.startswith("MemoryError"):
        return
    for provider in providers:
        got, kernel = outcome(primitive, provider, make())
        if isinstance(got, str) and isinstance(expected, str) and got == expected:
            continue
        what = f"{describe(primitive, make())}: with kernel {provider!r}"
        if isinstance(got, str) or isinstance(expected, str):
            raise Violation(f"{what} expected {_in_short(expected)}, got {_in_short(got)}")
        if kernel is not None:
            _compare(what, primitive, kernel, got, expected, make())


def _in_short(found: str | list[Array]) -> str:
    return found if isinstance(found, str) else "a result of " + ", ".join(f"{a.dtype}{a.shape}" for a in found)


def _compare(
    what: str, primitive: Primitive, kernel: Kernel, got: list[Array], same: list[Array], arguments: Arguments
) -> None:
    values, options = arguments
    wide = [v.astype("float64") if carries_gradient(v) else v for v in values]
    try:
        exact = reference_of(primitive, wide, options)
        size = reference_of(primitive, [np.asarray(abs(v)) if carries_gradient(v) else v for v in wide], options)
    except Exception:  # the reference may refuse float64
        exact = size = same
    for a, x, b, s in zip(got, exact, same, size, strict=True):
        if not carries_gradient(b):
            demand(a.dtype == b.dtype and np.array_equal(a, b), f"{what} expected the reference's integers, got others")
            continue
        compare_kernel(what, kernel, a, x, b, np.where(np.isfinite(s), s, x), rough=ROUGH)


# --------------------------------------------------------------------------------------------------- child processes


IN_A_CHECK = 60  # misfits of each primitive that a layer runs
JUDGED: dict[Primitive, tuple[list[Kernel], str]] = {}  # the kernels that were checked, and what was wrong


def judge_once(calls: Calls) -> dict[Primitive, str]:
    """Return what is wrong with each primitive, found by `IN_A_CHECK` misfits of its calls.

    A primitive is checked again only if its kernels have changed.
    """
    here = {primitive: serving_kernels(primitive) for primitive in calls if calls[primitive]}
    new = {p: calls[p] for p in here if p not in JUDGED or [*map(id, JUDGED[p][0])] != [*map(id, here[p])]}
    found = hold_to_misfits(new, IN_A_CHECK)
    JUDGED.update({primitive: (here[primitive], found.get(primitive, "")) for primitive in new})
    return {primitive: JUDGED[primitive][1] for primitive in here}


def hold_to_misfits(calls: Calls, count: int, *, seed: int = 0, wild: bool = False) -> dict[Primitive, str]:
    """Make misfits of valid calls in a child process and return what is wrong, by primitive.

    If the system cannot fork, this process makes the calls.

    Parameters
    ----------
    calls : dict
        Valid calls of primitives.
    count : int
        The number of misfits of each primitive.
    seed, wild
        As in `draw_misfit`.
    """
    waiting, found = [primitive for primitive in calls if calls[primitive]], dict[Primitive, str]()

    def make(primitive: Primitive, number: int) -> Arguments:
        rng = np.random.default_rng([seed, number])
        return draw_misfit(_one_of(rng, calls[primitive]), rng, wild=wild)

    def work(say: Callable[[Any], None]) -> None:
        for primitive in waiting:
            say(try_all(primitive, lambda number: make(primitive, number), count, say))  # noqa: B023  # called at once

    while waiting:
        said, end = in_a_child(work)
        verdicts = [word for word in said if not isinstance(word, int)]
        found.update((p, verdict) for p, verdict in zip(waiting, verdicts, strict=False) if verdict)
        waiting = waiting[len(verdicts) :]
        if waiting:  # the child ended in the middle of this one
            number = next((word for word in reversed(said) if isinstance(word, int)), 0)
            found[waiting[0]] = f"{describe(waiting[0], make(waiting[0], number))}, or a misfit before it: {end}"
            waiting = waiting[1:]
    return found


def try_all(primitive: Primitive, make: Callable[[int], Arguments], count: int, say: Callable[[Any], None]) -> str:
    """Return what is wrong with the first misfit that fails, or ""; `say` gets the number of each misfit first."""
    providers = sorted({kernel.provider for kernel in serving_kernels(primitive)})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for number in range(count):
            say(number)
            try:
                judge(primitive, lambda: make(number), providers)  # noqa: B023  # called at once
            except Violation as violation:
                return str(violation)
    return ""


def in_a_child(work: Callable[[Callable[[Any], None]], None]) -> tuple[list[Any], str]:
    """Run a function in a fork of this process, if possible; return its messages, and how the fork ended."""
    said: list[Any] = []
    if not hasattr(os, "fork"):
        work(said.append)
        return said, ""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads; they are idle
        child = os.fork()
    if not child:
        _serve(work, theirs)
    os.close(theirs)
    text, end = b"", ""
    while not end:
        ready, _, _ = select.select([ours], [], [], PATIENCE)
        if not ready:
            os.kill(child, signal.SIGKILL)
            end = f"no result within {PATIENCE:g} s"
        elif piece := os.read(ours, 1 << 16):
            *lines, text = (text + piece).split(b"\n")
            said += map(json.loads, lines)
        else:
            end = said.pop()[0] if said and isinstance(said[-1], list) else "the process ended"
    os.close(ours)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said, f"{end} by {signal.Signals(-code).name}" if code < 0 and code != -signal.SIGKILL else end


def _serve(work: Callable[[Callable[[Any], None]], None], pipe: int) -> None:
    """Do the child's work without output, and end the process."""
    try:
        faulthandler.disable()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        with open(pipe, "w", encoding="utf-8") as answers:
            try:
                work(lambda word: print(json.dumps(word), file=answers, flush=True))
            except Exception as error:  # an error in the kit itself
                print(json.dumps([f"{type(error).__name__}: {error}"]), file=answers)
    finally:
        os._exit(0)
