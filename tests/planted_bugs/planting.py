"""Planting of bugs: a registered layer with a wrong rule or forward, or a subclass with a wrong part.

The damaged layer has the cases of the correct one. The kit must pass the correct layer and reject the damaged one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.conformance import Case, LayerCases, check_vjp, inspect_layer
from tinygrad_lab.conformance.checks import draw_inputs
from tinygrad_lab.conformance.kinds.table import INSPECT
from tinygrad_lab.conformance.trials.results import LayerResult, NonconformanceError
from tinygrad_lab.conformance.trials.search import PROFILES, Profile, explore
from tinygrad_lab.conformance.trials.subject import RuleSubject, Subject
from tinygrad_lab.conformance.trials.trial import Effort, layer_trial
from tinygrad_lab.conformance.trials.verdict import Undecided
from tinygrad_lab.registry import cases as registered_cases
from tinygrad_lab.registry import layers

CI = replace(PROFILES["ci"], shrink=False)  # failures need not be shrunk here

Rules = Mapping[str, Any]  # rules by argument, or by the arguments that share a rule
Inspect = Callable[[Collection[str] | None, Profile], LayerResult]


@dataclass(frozen=True)
class Bug:
    """A planted bug.

    Parameters
    ----------
    name : str
        Its name in the tests and in the table.
    layer : str
        The correct layer, or pair of functions, before the damage.
    wrong : str
        The mistake in words.
    by : str
        The property that must find the bug.
    inspect, inspect_twin : callable
        Check all or some properties of the damaged and of the correct layer.
    subjects : callable
        Yields the damaged layer or function as functions of arrays, on the kit's cases.
    file : str
        The module that plants it.
    """

    name: str
    layer: str
    wrong: str
    by: str
    inspect: Inspect
    inspect_twin: Inspect
    subjects: Callable[[Profile], Iterator[Subject]]
    file: str


BUGS: dict[str, Bug] = {}


def add(bug: Bug) -> None:
    """Add a bug to the corpus."""
    if bug.name in BUGS:
        raise ValueError(f"two planted bugs are called {bug.name!r}")
    BUGS[bug.name] = bug


@contextmanager
def damage(primitive: Primitive, rules: Rules, forward: Callable[..., Any] | None) -> Iterator[None]:
    """Give a primitive other rules or another forward inside the ``with`` block; tapes of the block keep the rules."""
    kept = dict(primitive.rules)
    for names, rule in rules.items():
        if "," in names:
            primitive.defvjp(*names.replace(" ", "").split(","), rule)
        else:
            primitive.defvjp(**{names: rule})
    try:
        with patch.object(primitive, "forward", forward or primitive.forward):
            yield
    finally:
        primitive.rules = kept
        primitive.plans.clear()


def plant(
    name: str,
    layer: str,
    wrong: str,
    *,
    by: str = "gradients",
    rules: Mapping[Primitive, Rules] | None = None,
    forwards: Mapping[Primitive, Callable[..., Any]] | None = None,
) -> None:
    """Plant wrong rules or forwards of primitives, which are active while the layer's forward runs."""
    correct, rules, forwards = layers[layer], rules or {}, forwards or {}

    def forward(self: Any, *inputs: Any) -> Any:
        with ExitStack() as stack:
            for primitive in {**rules, **forwards}:
                stack.enter_context(damage(primitive, rules.get(primitive, {}), forwards.get(primitive)))
            return correct.forward(self, *inputs)

    members = {"forward": forward, "__module__": __name__}
    plant_class(name, layer, wrong, by, type(correct.__name__, (correct,), members))


def plant_class(name: str, layer: str, wrong: str, by: str, damaged: Any) -> None:
    """Plant a damaged subclass of a registered layer."""
    cases = registered_cases[layer]

    def inspect(properties: Collection[str] | None, profile: Profile) -> LayerResult:
        return inspect_layer(damaged, cases, properties=properties, profile=profile)

    def inspect_twin(properties: Collection[str] | None, profile: Profile) -> LayerResult:
        return inspect_layer(layer, properties=properties, profile=profile)

    def subjects(profile: Profile) -> Iterator[Subject]:
        for case in drawn_cases(cases, profile):
            modes = (True, False) if cases.random or cases.updated_buffers else (bool(case.seed % 2),)
            for training in modes if case.training is None else (case.training,):
                with suppress(Undecided):
                    yield layer_trial(damaged, replace(case, training=training), cases, Effort()).subject

    add(Bug(name, layer, wrong, by, inspect, inspect_twin, subjects, planting_file()))


def planting_file() -> str:
    """Return the name of the module that calls into this one."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"] == __name__:
        frame = frame.f_back
    return str(frame.f_globals["__name__"])


def drawn_cases(cases: LayerCases, profile: Profile) -> list[Case]:
    """Return the cases that the kit uses."""
    return [*cases.examples, *explore(cases.strategy, profile, lambda case: None).structures]


def planted(name: str, layer: str, wrong: str, *, by: str) -> Callable[[Any], Any]:
    """Plant the decorated class, a subclass of a registered layer."""

    def decorate(damaged: Any) -> Any:
        plant_class(name, layer, wrong, by, damaged)
        return damaged

    return decorate


def plant_vjp(
    name: str,
    wrong: str,
    *,
    by: str,
    forward: Callable[..., Any],
    right: Callable[..., Any],
    damaged: Callable[..., Any],
    cases: Any,
) -> None:
    """Plant a wrong vector-Jacobian product among plain functions of arrays."""

    def inspect_with(vjp: Callable[..., Any]) -> Inspect:
        def inspect(properties: Collection[str] | None, profile: Profile) -> LayerResult:
            try:
                return check_vjp(forward, vjp, cases, profile=profile, properties=properties)
            except NonconformanceError as error:
                return error.result

        return inspect

    def subjects(profile: Profile) -> Iterator[Subject]:
        for case in drawn_cases(LayerCases(cases), profile):
            yield RuleSubject(forward, damaged, draw_inputs(case, LayerCases(cases))[1])

    title = f"{forward.__name__} (arrays)"
    add(Bug(name, title, wrong, by, inspect_with(damaged), inspect_with(right), subjects, planting_file()))


@dataclass(frozen=True)
class PluginBug:
    """A planted bug in a plugin that is not a layer.

    Parameters
    ----------
    kind, name : str
        The kind of plugin, and the bug's name.
    wrong : str
        The mistake in words.
    by : str
        The property that must find it.
    says : str
        A part of the message that names the likely mistake.
    damaged : object
        The wrong plugin.
    cases : object
        Its cases, if it needs any.
    """

    kind: str
    name: str
    wrong: str
    by: str
    says: str
    damaged: Any
    cases: Any

    def inspect(self, properties: Collection[str] | None, profile: Profile = CI) -> LayerResult:
        """Check all or some properties of the wrong plugin."""
        return INSPECT[self.kind](self.damaged, self.cases, properties=properties, profile=profile)


PLUGIN_BUGS: dict[str, PluginBug] = {}


def plant_plugin(kind: str, wrong: str, *, by: str, says: str = "", cases: Any = None) -> Callable[[Any], Any]:
    """Plant the decorated class or function."""

    def decorate(damaged: Any) -> Any:
        name = f"{kind}_{damaged.__name__}"
        if name in PLUGIN_BUGS:
            raise ValueError(f"two planted bugs are called {name!r}")
        PLUGIN_BUGS[name] = PluginBug(kind, name, wrong, by, says, damaged, cases)
        return damaged

    return decorate
