"""The ways in for programs: check a layer, a function or a derivative in one line of a test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_lab.conformance.cases.case import MARGIN, Case, LayerCases
from tinygrad_lab.conformance.cases.defaults import default_cases
from tinygrad_lab.conformance.properties import FUNCTION, RULES, Property
from tinygrad_lab.conformance.runner import Run, add_adequacy, draw_and_judge, examine_layer
from tinygrad_lab.conformance.trials.results import LayerResult, NonconformanceError
from tinygrad_lab.conformance.trials.search import PROFILES, Profile
from tinygrad_lab.conformance.trials.subject import RuleSubject, Subject
from tinygrad_lab.conformance.trials.trial import ATTEMPTS, Effort, Trial
from tinygrad_lab.conformance.trials.values import constants_of, draw_input
from tinygrad_lab.conformance.trials.verdict import Undecided
from tinygrad_lab.errors import ConfigError, PluginError
from tinygrad_lab.registry import cases as registered_cases
from tinygrad_lab.registry import layers


def choose_profile(profile: str | Profile, examples: int | None, seed: int | None) -> Profile:
    """Return a profile by name, with another number of examples or another seed.

    Raises
    ------
    ConfigError
        No example is to be drawn.
    """
    if examples is not None and examples < 1:
        raise ConfigError(f"examples: expected at least 1, got {examples}")
    chosen = PROFILES[profile] if isinstance(profile, str) else profile
    changes = {"examples": examples, "seed": seed}
    return replace(chosen, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]  # ints


def find_layer(layer: Any, cases: Any) -> tuple[str, Any, LayerCases, list[str]]:
    """Return name, class and cases of a layer given by name or class, and what is to be said about them.

    Raises
    ------
    PluginError
        There is no such plugin.
    """
    cls = layers[layer] if isinstance(layer, str) else layer
    try:
        name = layer if isinstance(layer, str) else layers.name_of(layer)
    except PluginError:
        name = cls.__name__
    if cases is None and name in registered_cases:
        cases = registered_cases[name]
    if cases is None:
        note = "no cases are registered: the strategy is derived from annotations, and knows no reference and no law"
        return name, cls, default_cases(cls), [note]
    return name, cls, cases if isinstance(cases, LayerCases) else LayerCases(cases), []


def conclude(result: LayerResult) -> LayerResult:
    """Return a result that passes; raise the report of one that does not.

    Raises
    ------
    NonconformanceError
        A property does not hold.
    """
    if not result.passed:
        raise NonconformanceError("\n\n".join(["", *result.reports()]), result)
    return result


def inspect_layer(
    layer: Any,
    cases: Any = None,
    *,
    profile: str | Profile = "ci",
    examples: int | None = None,
    seed: int | None = None,
    properties: Collection[str] | None = None,
    devices: Collection[str] = (),
    case: Case | None = None,
) -> LayerResult:
    """Check a layer as `check_layer` does, and return the result whether it passes or not."""
    name, cls, cases, notes = find_layer(layer, cases)
    chosen = choose_profile(profile, examples, seed)
    result = examine_layer(name, cls, cases, chosen, devices=tuple(devices), only=properties, case=case)
    result.notes = notes + result.notes
    return result


def check_layer(
    layer: Any,
    cases: Any = None,
    *,
    profile: str | Profile = "ci",
    examples: int | None = None,
    seed: int | None = None,
    properties: Collection[str] | None = None,
    devices: Collection[str] = (),
    case: Case | None = None,
) -> LayerResult:
    """Check that a layer keeps every property of the kit.

    Parameters
    ----------
    layer : str or type
        Its registered name, or its class.
    cases : LayerCases or Hypothesis strategy of Case
        Its valid uses; by default those that its author registered, or else a strategy derived from its annotations.
    profile : {"ci", "thorough"} or Profile
        How long to look.
    examples, seed : int
        Other numbers than the profile's.
    properties : collection of str
        The properties to check; all by default.
    devices : collection of str
        Other backends to compare NumPy with.
    case : Case
        Check this one alone, as the report of a failure says.

    Returns
    -------
    LayerResult
        What each property found.

    Raises
    ------
    NonconformanceError
        A property does not hold. An AssertionError, whose message is the report.

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
    return conclude(
        inspect_layer(
            layer,
            cases,
            profile=profile,
            examples=examples,
            seed=seed,
            properties=properties,
            devices=devices,
            case=case,
        )
    )


def draw_inputs(case: Case, cases: LayerCases) -> tuple[Case, list[Any]]:
    """Return a function's inputs, drawn again while a kink is too near.

    Raises
    ------
    Undecided
        No draw got clear.
    """
    seeds = np.random.default_rng([case.seed, 2])
    for attempt in range(ATTEMPTS):
        seeded = case if attempt == 0 else replace(case, seed=int(seeds.integers(2**32)))
        rng = np.random.default_rng(seeded.seed)
        inputs = [draw_input(given, rng) for given in case.inputs]
        if cases.kink_distance is None or float(cases.kink_distance(*inputs)) >= cases.margin:
            return seeded, inputs
    raise Undecided(f"{ATTEMPTS} draws of values all came nearer to a kink than {cases.margin}")


def inspect_function(
    name: str,
    function: Callable[..., Any],
    make_subject: Callable[[Case, list[Any]], Subject],
    cases: LayerCases,
    properties: Mapping[str, Property],
    profile: Profile,
    call: str,
    *,
    devices: Collection[str] = (),
    case: Case | None = None,
) -> LayerResult:
    """Check properties of a function of arrays, and return the result whether it passes or not."""
    effort = Effort(profile.full, profile.sampled, tuple(devices))

    def make_trial(drawn: Case) -> Trial:
        seeded, inputs = draw_inputs(drawn, cases)
        return Trial(seeded, cases, make_subject(seeded, inputs), None, effort)

    run = Run(name, cases, make_trial, dict(properties), profile, function, call, devices)
    drawn = draw_and_judge(run, case)
    result = run.finish(drawn)
    if case is None:
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
    profile: str | Profile = "ci",
    examples: int | None = None,
    seed: int | None = None,
    devices: Collection[str] = (),
    case: Case | None = None,
) -> LayerResult:
    """Check a function of tensors: its derivatives of first and second order, and how it handles arrays.

    Parameters
    ----------
    function : callable
        ``function(*inputs, **options)``, written in the engine's operations.
    cases : Hypothesis strategy, or LayerCases
        Draws a Case (its inputs and options), an Input, a shape, or a tuple of Inputs or shapes.
    reference, kink_distance : callable
        As in `LayerCases`, but called with the inputs alone (and, for the reference, the options).
    complex_safe, exemptions, margin
        As in `LayerCases`.
    profile, examples, seed, devices, case
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
        return Subject(lambda *xs: function(*xs, **drawn.options), inputs, constants_of(drawn))

    name = getattr(function, "__name__", repr(function))
    chosen = choose_profile(profile, examples, seed)
    call = f"check_function({name}, cases, case=case)"
    return conclude(
        inspect_function(name, function, make_subject, cases, FUNCTION, chosen, call, devices=devices, case=case)
    )


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
    profile: str | Profile = "ci",
    examples: int | None = None,
    seed: int | None = None,
    case: Case | None = None,
) -> LayerResult:
    """Check a vector-Jacobian product written by hand, or by another library, against its forward.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)``, NumPy arrays in, something that ``numpy.asarray`` takes out (or a tuple).
    vjp : callable
        ``vjp(cotangent, *arrays)``: the gradient of the one float array, or a tuple of one for each.
    names : sequence of str
        What the report calls the arrays; by default x, or x0, x1, ...
    cases, kink_distance, complex_safe, exemptions, margin
        As in `check_function`.
    profile, examples, seed, case
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Notes
    -----
    PyTorch takes no negative strides: ``torch.autograd.functional.vjp(f, tensor(x.copy()), tensor(g.copy()))[1]``.
    JAX: ``lambda g, x: jax.vjp(f, x)[1](g)``, with ``jax_enable_x64``: differences need float64.

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
    chosen = choose_profile(profile, examples, seed)

    def make_subject(drawn: Case, inputs: list[Any]) -> Subject:
        subject = RuleSubject(forward, vjp, inputs, constants_of(drawn))
        subject.names = [names[i] for i in subject.floats] if names else subject.names
        return subject

    call = f"check_vjp({name}, vjp, cases, case=case)"
    return conclude(inspect_function(name, forward, make_subject, cases, RULES, chosen, call, case=case))
