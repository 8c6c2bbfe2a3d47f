"""Description of a kind of plugins: its registry, its cases, its trials and its properties.

The runner, ``tinygrad-lab check`` and the pytest plugin use this description. To add a property of a kind, write a
function of its trial and add it to the kind's table.
"""

from __future__ import annotations

import inspect
import re
import time
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, MappingProxyType
from typing import Any, Generic, TypeVar, Unpack

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import Case, LayerCases
from tinygrad_lab.conformance.cases.defaults import UNDRAWN, annotation_strategy
from tinygrad_lab.conformance.cases.plugins import PluginCases
from tinygrad_lab.conformance.runner import Run, draw_and_judge
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.search import Drawn
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.verdict import Measure, Violation
from tinygrad_lab.errors import ConfigError, LabError
from tinygrad_lab.registry import Registry
from tinygrad_lab.registry import cases as registered_cases

FLOATS = (0.1, 0.5, 1.0)  # drawn for an option of type float without a default

Made = TypeVar("Made", bound=BaseTrial)
Stated = TypeVar("Stated", bound=PluginCases)


@dataclass(frozen=True)
class Kind(Generic[Made, Stated]):
    """A kind of plugins.

    Parameters
    ----------
    name : str
        The word for one plugin, as in `tinygrad_lab.registry.KINDS`.
    registry : Registry
        The registered plugins.
    cases : type
        The class of the cases that an author may register.
    strategy : callable
        ``strategy(plugin, cases)`` returns a Hypothesis strategy of Case.
    trial : callable
        ``trial(plugin, case, cases, options)`` builds the plugin of a case.
    properties : mapping
        The properties to check on each case by name; the first one fails if a trial cannot be built.
    once : mapping
        Properties to check once for each plugin: functions of the run.
    """

    name: str
    registry: Registry
    cases: type[Stated]
    strategy: Callable[[Any, Stated], Any]
    trial: Callable[[Any, Case, Stated, Options], Made]
    properties: Mapping[str, Callable[[Made], Measure | None]]
    once: Mapping[str, Callable[[Run[Made]], Measure | int | None]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """The names of all properties."""
        return frozenset({*self.properties, *self.once, "adequacy", "bad_inputs"})

    def find(self, plugin: Any, cases: Any) -> tuple[str, Any, Stated]:
        """Return the name, the object and the cases of a plugin given by name or as an object.

        Raises
        ------
        PluginError
            No plugin has this name, or it is broken.
        ConfigError
            The plugin is neither a name nor a class or function, or the cases are those of another kind.
        """
        expect_plugin(f"check_{self.name}", plugin)
        name = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", repr(plugin))
        thing = self.registry[plugin] if isinstance(plugin, str) else plugin
        if cases is None and isinstance(plugin, str):
            registered = registered_cases.get(plugin)
            cases = registered if isinstance(registered, (self.cases, st.SearchStrategy)) else None
        if isinstance(cases, st.SearchStrategy):
            cases = self.cases(options=cases)
        if cases is None:
            cases = self.cases()
        if not isinstance(cases, self.cases):
            raise ConfigError(
                f"{self.name} {name}: expected cases of type {self.cases.__name__}, got {type(cases).__name__}"
            )
        return name, thing, cases

    def inspect(self, plugin: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
        """Check a plugin and return the result, whether it passes or not.

        Parameters
        ----------
        plugin : str or object
            Its registered name, or the class or function.
        cases : PluginCases or Hypothesis strategy of dict
            Its cases, or a strategy of its options alone; by default the cases that its author registered.
        **options
            As in `check_layer`.
        """
        start, packed = time.perf_counter(), Options.pack(**options)
        name, thing, stated = self.find(plugin, cases)

        def make_trial(case: Case) -> Made:
            return self.trial(thing, case, stated, packed)

        who = f'"{name}"' if isinstance(plugin, str) else name if cases is None else f"{name}, cases"
        known = LayerCases(self.strategy(thing, stated), examples=stated.examples, exemptions=stated.exemptions)
        properties = packed.chosen(self.properties, self.names)
        run = Run(name, known, make_trial, properties, packed, thing, f"check_{self.name}({who}, case=case)")
        run.kept_in = self.cases.__name__
        drawn = draw_and_judge(run)
        result = run.finish(drawn)
        once: dict[str, Callable[[], Measure | int | None]] = {"adequacy": lambda: adequate(drawn, stated)}
        once |= {key: partial(check, run) for key, check in self.once.items()}
        if stated.bad_inputs:
            once["bad_inputs"] = lambda: refuses(run, stated)
        for key, check in once.items():
            if packed.includes(key) and not run.ended:
                run.once(key, check)
        result.kind, result.seconds = self.name, time.perf_counter() - start
        return result


def without_options(trial: Callable[[Any, Case, Stated], Made]) -> Callable[[Any, Case, Stated, Options], Made]:
    """Return the `trial` of a kind whose trials do not depend on the options of the check."""
    return lambda plugin, case, cases, options: trial(plugin, case, cases)


def expect_plugin(who: str, plugin: Any) -> None:
    """Check that a plugin is given as its name, or as its class or function.

    Raises
    ------
    ConfigError
        It is an instance of a class, or something else.
    """
    if not isinstance(plugin, (str, type, FunctionType, partial)):
        raise ConfigError(
            f"{who}: expected a registered name, a class or a function, got {plugin!r:.60} ({type(plugin).__name__}); "
            "give the class itself and not an instance"
        )


def adequate(drawn: Drawn, cases: PluginCases) -> int:
    """Some of the drawn cases could be used."""
    if not drawn.structures and not cases.examples:
        raise Violation(
            "no case could be used: the plugin refuses all options that the kit draws by its annotations; state valid "
            "ones in its cases"
        )
    return len(drawn.structures)


def refuses(run: Run[Made], cases: PluginCases) -> int:
    """Each forbidden option raises the documented error, with a message that matches."""
    for bad in cases.bad_inputs:
        try:
            run.make_trial(Case(args=bad.args, options=bad.options))
        except bad.error as error:
            if not re.search(bad.match, str(error)):
                raise Violation(f"{bad}: expected a message that matches {bad.match!r}, got {str(error)!r}") from error
        except Exception as error:
            raise Violation(f"{bad}: expected {bad.error.__name__}, got {type(error).__name__}: {error}") from error
        else:
            raise Violation(f"{bad}: expected {bad.error.__name__}, got no error")
    return len(cases.bad_inputs)


def drawn_options(
    make: Any,
    cases: PluginCases,
    *,
    fixed: Mapping[str, Any] = MappingProxyType({}),
    leave: frozenset[str] = frozenset(),
    skip: int = 0,
) -> Any:
    """Return a strategy of a constructor's keyword arguments: the stated one, or one by its annotations.

    Parameters
    ----------
    make : callable
        The class or function.
    cases : PluginCases
        What the author states.
    fixed : mapping of option to strategy
        Strategies in place of those by annotation.
    leave : frozenset of str
        Options that keep their defaults.
    skip : int
        The number of leading arguments that are not options.

    Raises
    ------
    ConfigError
        An option has neither a default nor an annotation that the kit can draw from.
    """
    if cases.options is not None:
        return cases.options
    try:
        hints = typing.get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]  # of the class
    except Exception:  # a plugin's annotation may raise anything
        hints = {}
    drawn = {}
    for name, parameter in list(inspect.signature(make).parameters.items())[skip:]:
        if name in fixed:
            drawn[name] = fixed[name]
            continue
        if name in UNDRAWN or name in leave or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if hints.get(name) is float and parameter.default is parameter.empty:
            drawn[name] = st.sampled_from(FLOATS)
            continue
        strategy = annotation_strategy(hints.get(name), parameter.default)
        if strategy is None and parameter.default is parameter.empty:
            raise ConfigError(
                f"{make.__name__}: expected cases, or an annotation of {name!r} to draw from (int, float, bool, a "
                f"Literal), got {hints.get(name)!r}; register cases under tinygrad_lab.cases"
            )
        if strategy is not None:
            drawn[name] = strategy
    return st.fixed_dictionaries(drawn)


def accepted(make: Callable[..., Any], options: Any, cases: PluginCases) -> Any:
    """Return a strategy of options without those that a plugin refuses, unless the author states the options."""
    if cases.options is not None:
        return options

    def accepts(drawn: Mapping[str, Any]) -> bool:
        try:
            make(**drawn)
        except LabError:
            return False
        except Exception:  # not a refusal: the kit reports it
            return True
        return True

    return options.filter(accepts)


def rng_of(case: Case, stream: int) -> np.random.Generator:
    """Return a generator that depends only on the case's seed and the number of a stream."""
    return np.random.default_rng([case.seed, stream])
