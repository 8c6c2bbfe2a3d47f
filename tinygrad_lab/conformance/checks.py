"""Checks of a layer, a function or a derivative, each in one line of a test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from tinygrad_lab.conformance.cases.case import MARGIN, Case, LayerCases
from tinygrad_lab.conformance.cases.defaults import default_cases
from tinygrad_lab.conformance.properties import FUNCTION, RULES, Property
from tinygrad_lab.conformance.runner import Run, add_adequacy, add_misfits, draw_and_judge, examine_layer, use_float32
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.results import LayerResult, NonconformanceError
from tinygrad_lab.conformance.trials.subject import RuleSubject, Subject
from tinygrad_lab.conformance.trials.trial import ATTEMPTS, Trial
from tinygrad_lab.conformance.trials.values import constants_of, draw_input
from tinygrad_lab.conformance.trials.verdict import Undecided
from tinygrad_lab.errors import PluginError
from tinygrad_lab.registry import cases as registered_cases
from tinygrad_lab.registry import layers


def find_layer(layer: Any, cases: Any) -> tuple[str, Any, LayerCases, list[str]]:
    """Return the name, the class and the cases of a layer given by name or class, and notes for the report.

    Raises
    ------
    PluginError
        No plugin has this name.
    """
    cls = layers[layer] if isinstance(layer, str) else layer
    try:
        name = layer if isinstance(layer, str) else layers.name_of(layer)
    except PluginError:
        name = cls.__name__
    if cases is None and name in registered_cases:
        cases = registered_cases[name]
    if cases is None:
        note = "no cases are registered: the strategy comes from annotations, without a reference or a law"
        return name, cls, default_cases(cls), [note]
    return name, cls, cases if isinstance(cases, LayerCases) else LayerCases(cases), []


def conclude(result: LayerResult) -> LayerResult:
    """Return a result that passes; raise its report otherwise.

    Raises
    ------
    NonconformanceError
        A property does not hold.
    """
    if not result.passed:
        raise NonconformanceError("\n\n".join(["", *result.reports()]), result)
    return result


def inspect_layer(layer: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check a layer as `check_layer` does, and return the result whether it passes or not."""
    name, cls, cases, notes = find_layer(layer, cases)
    result = examine_layer(name, cls, cases, Options.pack(**options))
    result.notes = notes + result.notes
    return result


def check_layer(layer: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check that a layer keeps every property of the kit.

    Parameters
    ----------
    layer : str or type
        Its registered name, or its class.
    cases : LayerCases or Hypothesis strategy of Case
        Its valid uses; by default those that its author registered, or else a strategy derived from its annotations.
    **options
        ``profile`` ("quick", "ci", "thorough" or a Profile): how long to search. ``examples`` and ``seed`` (int): the
        number of drawn cases and their seed, instead of the profile's. ``properties`` (collection of str): the
        properties to check; all by default. ``devices`` (collection of str): other devices to compare the CPU with.
        ``case`` (Case): the only case to check, copied from the report of a failure.

    Returns
    -------
    LayerResult
        The finding of each property.

    Raises
    ------
    NonconformanceError
        A property does not hold. It is an AssertionError, and its message is the report.

    Examples
    --------
    >>> from hypothesis import strategies as st
    >>> from tinygrad_lab.conformance import Case, Input
    >>> class Double(tgl.Layer):
    ...     def forward(self, x):
    ...         return 2.0 * x
    ...     def output_shape(self, shape):
    ...         return shape
    >>> strategy = st.integers(1, 3).map(lambda n: Case(inputs=(Input((n, 2)),)))
    >>> check_layer(Double, strategy, examples=5).passed
    True
    """
    return conclude(inspect_layer(layer, cases, **options))


def draw_inputs(case: Case, cases: LayerCases) -> tuple[Case, list[Any]]:
    """Return a function's inputs, drawn again while a kink is closer than the margin.

    Raises
    ------
    Undecided
        Every draw lies too close to a kink.
    """
    seeds = np.random.default_rng([case.seed, 2])
    for attempt in range(ATTEMPTS):
        seeded = case if attempt == 0 else replace(case, seed=int(seeds.integers(2**32)))
        rng = np.random.default_rng(seeded.seed)
        inputs = [draw_input(given, rng) for given in case.inputs]
        if cases.kink_distance is None or float(cases.kink_distance(*inputs)) >= cases.margin:
            return seeded, inputs
    raise Undecided(f"each of {ATTEMPTS} draws of values lies nearer to a kink than {cases.margin}")


def inspect_function(
    name: str,
    function: Callable[..., Any],
    make_subject: Callable[[Case, list[Any]], Subject],
    cases: LayerCases,
    properties: Mapping[str, Property],
    options: Options,
    call: str,
    *,
    once: Collection[str] = ("adequacy",),
) -> LayerResult:
    """Check properties of a function of arrays, and return the result whether it passes or not."""

    def make_trial(drawn: Case) -> Trial:
        seeded, inputs = draw_inputs(drawn, cases)
        return Trial(seeded, cases, make_subject(seeded, inputs), None, options.effort)

    run = Run(name, cases, make_trial, options.chosen(properties), options, function, call)
    drawn = draw_and_judge(run)
    result = run.finish(drawn)
    if "misfits" in once:
        add_misfits(run, use_float32)
    if "adequacy" in once:
        add_adequacy(run, drawn)
    return result


def check_function(
    function: Callable[..., Any],
    cases: Any,
    *,
    reference: Callable[..., Any] | None = None,
    kink_distance: Callable[..., float] | None = None,
    complex_safe: bool = False,
    exemptions: Mapping[str, str] | None = None,
    margin: float = MARGIN,
    **options: Unpack[Keywords],
) -> LayerResult:
    """Check a function of tensors: its derivatives of first and second order, and how it handles arrays.

    Parameters
    ----------
    function : callable
        ``function(*inputs, **options)``, written in operations of the engine.
    cases : Hypothesis strategy, or LayerCases
        Draws a Case (its inputs and options), an Input, a shape, or a tuple of Inputs or shapes.
    reference, kink_distance : callable
        As in `LayerCases`, but called with the inputs alone; the reference gets the options too.
    complex_safe, exemptions, margin
        As in `LayerCases`.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> from hypothesis import strategies as st
    >>> shapes = st.tuples(st.integers(1, 3), st.integers(1, 3))
    >>> check_function(lambda x: tgl.exp(x) * x, shapes, examples=5).passed
    True
    """
    if not isinstance(cases, LayerCases):
        cases = LayerCases(
            cases,
            reference=reference,
            kink_distance=kink_distance,
            complex_safe=complex_safe,
            exemptions=exemptions,
            margin=margin,
        )

    def make_subject(drawn: Case, inputs: list[Any]) -> Subject:
        return Subject(function, inputs, constants_of(drawn), drawn.options)

    name = getattr(function, "__name__", repr(function))
    call = f"check_function({name}, cases, case=case)"
    packed = Options.pack(**options)
    return conclude(inspect_function(name, function, make_subject, cases, FUNCTION, packed, call))


def check_vjp(
    forward: Callable[..., Any],
    vjp: Callable[..., Any],
    cases: Any,
    *,
    names: Sequence[str] = (),
    kink_distance: Callable[..., float] | None = None,
    complex_safe: bool = False,
    exemptions: Mapping[str, str] | None = None,
    margin: float = MARGIN,
    **options: Unpack[Keywords],
) -> LayerResult:
    """Check a vector-Jacobian product written by hand, or by another library, against its forward.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` takes NumPy arrays and returns what ``numpy.asarray`` accepts, or a tuple of these.
    vjp : callable
        ``vjp(cotangent, *arrays)`` returns the gradient with respect to the only float array, or a tuple with one
        gradient for each float array.
    names : sequence of str
        The arrays' names in the report; by default x, or x0, x1, ...
    cases, kink_distance, complex_safe, exemptions, margin
        As in `check_function`.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Notes
    -----
    For PyTorch, copy the arrays, because it accepts no negative strides:
    ``lambda g, x: torch.autograd.functional.vjp(f, tensor(x.copy()), tensor(g.copy()))[1]``.
    For JAX, set ``jax_enable_x64``, because finite differences need float64: ``lambda g, x: jax.vjp(f, x)[1](g)``.

    Examples
    --------
    >>> from hypothesis import strategies as st
    >>> rows = st.tuples(st.integers(1, 3), st.integers(1, 3))
    >>> check_vjp(np.tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), rows, complex_safe=True, examples=5).passed
    True
    """
    if not isinstance(cases, LayerCases):
        cases = LayerCases(
            cases, kink_distance=kink_distance, complex_safe=complex_safe, exemptions=exemptions, margin=margin
        )
    name = getattr(forward, "__name__", repr(forward))

    def make_subject(drawn: Case, inputs: list[Any]) -> Subject:
        subject = RuleSubject(forward, vjp, inputs, constants_of(drawn))
        subject.names = [names[i] for i in subject.floats] if names else subject.names
        return subject

    call = f"check_vjp({name}, vjp, cases, case=case)"
    return conclude(inspect_function(name, forward, make_subject, cases, RULES, Options.pack(**options), call))
