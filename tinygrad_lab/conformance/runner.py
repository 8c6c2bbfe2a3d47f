"""Runner of the kit: it checks every property on every drawn case, and finds a smallest case for each failure."""

from __future__ import annotations

import contextlib
import functools
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np

from tinygrad_lab.conformance.cases.case import BadInput, Case, Input, LayerCases
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.conformance.meta import adequacy
from tinygrad_lab.conformance.meta.fresh_process import FRESH, rebuilt_here
from tinygrad_lab.conformance.meta.misfits import IN_A_CHECK, Calls, judge_once, noting
from tinygrad_lab.conformance.properties import LAYER, ONCE
from tinygrad_lab.conformance.properties.agreement import check_law
from tinygrad_lab.conformance.properties.kernels import use
from tinygrad_lab.conformance.properties.laws import LAWS, find_law
from tinygrad_lab.conformance.report.failure import explain
from tinygrad_lab.conformance.trials.options import Options
from tinygrad_lab.conformance.trials.results import Failure, LayerResult, PropertyResult, follows
from tinygrad_lab.conformance.trials.search import Drawn, Rejected, explore, shrink
from tinygrad_lab.conformance.trials.subject import LayerSubject
from tinygrad_lab.conformance.trials.trial import BaseTrial, Trial, layer_trial
from tinygrad_lab.conformance.trials.values import draw_input
from tinygrad_lab.conformance.trials.verdict import Measure, Undecided, Violation
from tinygrad_lab.errors import PluginError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.registry import layers

MOST_REPORTS = 3  # failing properties to shrink and explain; a wrong rule breaks many at once
SOME_CASES = 3  # latest cases of a layer; their calls of primitives are repeated with arguments that do not fit
ROUND_TRIPS = 40  # latest cases of a layer that a fresh process computes again

Made = TypeVar("Made", bound=BaseTrial)  # the kind of trial


class Run(Generic[Made]):
    """One run of the kit over one layer or function.

    Parameters
    ----------
    name : str
        The name in the report.
    cases : LayerCases
        The author's description of the valid uses.
    make_trial : callable
        Returns the trial of a case in a given mode.
    properties : dict
        The properties to check, by name.
    options : Options
        The options of the run, such as the number of cases and the devices.
    thing : object
        The class or function.
    call : str
        The call that checks one case again; ``{property}`` is replaced.
    """

    def __init__(
        self,
        name: str,
        cases: LayerCases,
        make_trial: Callable[[Case], Made],
        properties: Mapping[str, Callable[[Made], Measure | None]],
        options: Options,
        thing: Any,
        call: str,
    ) -> None:
        self.name, self.cases, self.make_trial = name, cases, make_trial
        self.properties, self.options, self.thing, self.call = properties, options, thing, call
        self.result = LayerResult(name)
        for key in properties:
            self.result.properties[key] = PropertyResult(key, exemption=cases.exemptions.get(key))
        self.kept_in = "LayerCases"  # the class in which an author keeps a case
        self.build = next(iter(properties), "forward")  # it fails if a case's trial cannot be built
        self.first: dict[str, tuple[Case, Exception, Case]] = {}  # of each failed property
        self.kept: deque[Made] = deque(maxlen=ROUND_TRIPS)  # the latest trials, for the round trip
        self.in_blocks: set[int] = set()  # kernels that ran on several blocks
        self.compared = 0  # elements of gradients
        self.varied = False  # whether random numbers differed from step to step
        self.is_layer = isinstance(thing, type) and issubclass(thing, Layer)
        path = adequacy.source_file(thing)
        self.coverage = adequacy.Coverage(path) if path else None

    def judge(self, drawn: Case) -> None:
        """Check one drawn case, in its mode or in both, for every property that has not failed in an earlier case.

        Raises
        ------
        Rejected
            Every draw of values lies too close to a kink.
        """
        for case in self.in_modes(drawn):
            if self.options.profile.hasty and self.first:
                return
            try:
                trial = self.attempt(self.build, drawn, case, functools.partial(self.make_trial, case))
            except Undecided as error:
                raise Rejected from error
            if trial is None:
                return
            self.watch(trial)
            trial.in_blocks |= self.in_blocks
            for name in self.properties:
                trial.shapes_hold = "output_shape" not in self.first
                if name not in self.first:
                    self.check(name, drawn, trial)
                if self.ended:
                    return
            self.result.reached |= trial.reached
            self.in_blocks |= trial.in_blocks
            self.compared += trial.compared
            for values in trial.inputs:
                self.result.widen(values)
            self.varied |= trial.varied
            self.kept.append(trial)

    @property
    def ended(self) -> bool:
        """Whether no other property can be checked: the layer does not run, or its results differ from call to call."""
        if self.build in self.first:
            return True
        found = self.first.get("determinism")
        return found is not None and isinstance(found[1], Violation) and "determinism" not in self.cases.exemptions

    def in_modes(self, case: Case) -> list[Case]:
        """Return the case in both modes if they can differ, else in one that its seed chooses."""
        if case.training is not None or not self.is_layer:
            return [case]
        both = [replace(case, training=True), replace(case, training=False)]
        if self.cases.random:
            return both
        try:
            layer = construct(self.thing, case.args, case.options, np.random.default_rng(0))
            differ = bool(layer.buffers())
        except Exception:
            differ = False
        return both if differ else [both[case.seed % 2]]

    def attempt(self, name: str, drawn: Case, case: Case, action: Callable[[], Any]) -> Any:
        """Run something that must not raise; an exception counts as a failure of the property `name`.

        Raises
        ------
        Undecided
            The oracle cannot decide.
        """
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return action()
        except Undecided:
            raise
        except Exception as error:
            self.first.setdefault(name, (drawn, error, case))
            return None

    def check(self, name: str, drawn: Case, trial: Made) -> None:
        """Check one property on one trial."""
        result, start = self.result.properties[name], time.perf_counter()
        try:
            measure = self.attempt(name, drawn, trial.case, lambda: self.measure(name, trial))
        except Undecided:
            result.undecided += 1
        else:
            if isinstance(measure, Measure):
                result.add(measure)
        result.seconds += time.perf_counter() - start

    def measure(self, name: str, trial: Made) -> Measure | None:
        """Return a property's measure of a trial; an error beyond the tolerance is a violation."""
        measure = self.properties[name](trial)
        if measure is not None and not measure.holds:
            raise Violation(f"error {measure.error:.3g}, tolerance {measure.tolerance:.3g}", measure)
        return measure

    def watch(self, trial: Made) -> None:
        """Run the layer once more and note the lines that run."""
        if self.coverage is None:
            return

        with warnings.catch_warnings(), contextlib.suppress(Exception):  # the properties report what it raises
            warnings.simplefilter("ignore")
            with self.coverage.watching():
                trial.exercise()

    def finish(self, drawn: Drawn) -> LayerResult:
        """Shrink and explain the failures, and return the result."""
        for number, (name, (structure, error, case)) in enumerate(self.first.items()):
            result = self.result.properties[name]
            shown = number < MOST_REPORTS and result.exemption is None and not follows(name, self.first)
            if self.options.profile.shrink and shown:
                small, error = self.smallest(name, structure, case, error)
                trial, first = self.made_real(small), self.made_real(case)
                call = self.call.replace("{property}", name)
                report = explain(self.name, name, call, small, error, trial, first, kept_in=self.kept_in)
                result.failure = Failure(small, error, report, trial)
            else:
                result.failure = Failure(case, error)
        self.add_notes(drawn)
        self.result.drawn = len(drawn.structures)
        self.result.sample = max(self.kept, key=lambda trial: trial.compared, default=None)
        return self.result

    def smallest(self, name: str, structure: Case, case: Case, error: Exception) -> tuple[Case, Exception]:
        """Return the smallest case that breaks a property."""

        def fails(drawn: Case) -> Exception | None:
            return next((e for c in self.in_modes(drawn) if (e := self.error_of(name, c)[1]) is not None), None)

        if any(structure is example for example in self.cases.examples):
            return case, error
        found = shrink(self.cases.strategy, self.options.profile, fails)
        if found is None:
            return case, error
        for candidate in self.in_modes(found[0]):
            seeded, again = self.error_of(name, candidate)
            if again is not None:
                return seeded, again
        return case, error

    def error_of(self, name: str, case: Case) -> tuple[Case, Exception | None]:
        """Return the case with its final seed, and the error that a property raises for it."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                trial = self.make_trial(case)
                case = trial.case
                self.measure(name, trial)
        except Undecided:
            return case, None
        except Exception as error:
            return case, error
        return case, None

    def made_real(self, case: Case) -> Made | None:
        """Return the trial of a case, or None if it cannot be built."""
        try:
            return self.make_trial(case)
        except Exception:
            return None

    def add_notes(self, drawn: Drawn) -> None:
        """Add notes on gaps in the cases and on needless exemptions."""
        notes = self.result.notes
        if drawn.rejected:
            notes.append(f"{drawn.rejection_rate:.0%} of the draws were too close to a kink and were drawn again")
        if self.varied and not self.cases.random and "statistics" in self.properties:
            notes.append("it draws random numbers in training; set random=True in its cases to check them")
        if self.is_layer and not self.ended:
            notes += adequacy.options_never_drawn(self.thing, [*drawn.structures, *self.cases.examples])
            notes += adequacy.lines_never_run(self.thing, self.coverage) if self.coverage is not None else []
        for result in self.result.properties.values():
            if result.needless:
                notes.append(f"exemption from {result.name} is needless: the property holds ({result.exemption})")
        unknown = sorted(self.cases.exemptions.keys() - self.result.properties.keys())
        if unknown and self.properties.keys() >= LAYER.keys():
            notes.append(f"exemptions from properties that do not exist: {', '.join(unknown)}")

    def once(self, name: str, check: Callable[[], Measure | int | None]) -> None:
        """Check a property of the whole layer."""
        result = PropertyResult(name, exemption=self.cases.exemptions.get(name))
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = check()
        except Exception as error:
            result.failure = Failure(None, error)
        else:
            if isinstance(found, Measure):
                result.add(found)
            elif found:
                result.examples = found
        result.seconds = time.perf_counter() - start
        self.result.properties[name] = result


def examine_layer(
    name: str, cls: Any, cases: LayerCases, options: Options, *, once: Collection[str] = ONCE
) -> LayerResult:
    """Check a layer and return the result; a layer that fails raises nothing.

    Parameters
    ----------
    name : str
        The name in the report.
    cls : type
        The layer's class.
    cases : LayerCases
        Its valid uses.
    options : Options
        The number of cases, the properties, and the devices.
    once : collection of str
        The properties that are checked once for the whole layer, unless `options` exclude them.
    """
    start = time.perf_counter()
    laws = {law.name: check_law(law) for law in map(find_law, cases.laws)}
    who = f'"{name}"' if name in layers else f"{name}, cases"
    call = f'check_layer({who}, case=case, properties=["{{property}}"])'

    def make_trial(case: Case) -> Trial:
        return layer_trial(cls, case, cases, options.effort)

    run = Run(name, cases, make_trial, options.chosen(LAYER | laws, LAWS), options, cls, call)
    for law in laws:
        if law in run.result.properties:
            run.result.properties[law].law = True
    drawn = draw_and_judge(run)
    if "bad_inputs" in once and options.includes("bad_inputs") and not run.ended:
        run.once("bad_inputs", lambda: check_bad_inputs(run))
    result = run.finish(drawn)
    if "fresh_process" in once and options.includes("fresh_process") and not run.ended:
        run.once("fresh_process", lambda: round_trips(run))
    if "misfits" in once:
        add_misfits(run, use_float32)
    if "adequacy" in once:
        add_adequacy(run, drawn)
    result.seconds = time.perf_counter() - start
    return result


def draw_and_judge(run: Run[Made]) -> Drawn:
    """Check the properties on the author's examples and on drawn cases, or on one given case."""
    rejected, case = 0, run.options.case
    for example in run.cases.examples if case is None else (case,):
        try:
            run.judge(example)
        except Rejected:
            rejected += 1
    if case is not None:
        return Drawn()
    explored = explore(run.cases.strategy, run.options.profile, run.judge)
    return Drawn(explored.structures, explored.rejected + rejected)


def add_adequacy(run: Run[Made], drawn: Drawn) -> None:
    """Check that the cases test something, unless the layer does not even run."""
    if run.options.includes("adequacy") and not run.ended:
        run.once("adequacy", lambda: check_adequacy(run, drawn))


def check_adequacy(run: Run[Made], drawn: Drawn) -> int:
    """The strategy tests something, and reaches the kernels of the layer's own primitives."""
    if run.cases.random and "statistics" in run.properties and not run.varied:
        raise Violation("the cases declare random=True, but in no case do the results differ from step to step")
    adequacy.demand_adequate(drawn, run.compared, len(run.cases.examples))
    adequacy.demand_reached(adequacy.own_kernels(run.thing, run.options.devices), run.result.reached)
    return len(drawn.structures)


def round_trips(run: Run[Trial]) -> Measure:
    """A layer that a fresh process builds from config() and state() computes the same result."""
    measures = []
    for trial in run.kept:
        assert isinstance(trial.subject, LayerSubject)
        try:
            measures.append(FRESH.round_trip(trial.layer, trial.inputs))
        except PluginError:  # the class is not registered
            measures.append(rebuilt_here(trial.layer, trial.inputs))
    return Measure.worst(measures)


def add_misfits(run: Run[Made], use_kernels: Callable[[Made], None]) -> None:
    """Check misfits of the primitives that `use_kernels` calls for a trial, unless `forward` fails."""
    if run.options.includes("misfits") and run.build not in run.first:
        run.once("misfits", lambda: check_misfits(run, use_kernels))


def use_float32(trial: Trial) -> None:
    """Run a trial's forward and its derivatives in float32."""
    use(trial.subject, *trial.cast("float32"))


def check_misfits(run: Run[Made], use_kernels: Callable[[Made], None]) -> int:
    """For arguments that do not fit together, kernels give the same result or error as the reference forward."""
    calls: Calls = {}
    for trial in list(run.kept)[-SOME_CASES:]:
        with noting(calls), np.errstate(all="ignore"):
            use_kernels(trial)
    judged = judge_once(calls)
    if wrong := next(filter(None, judged.values()), ""):
        raise Violation(wrong)
    return IN_A_CHECK * len(judged)


def check_bad_inputs(run: Run[Trial]) -> int:
    """Each documented bad input raises the documented error, with a message that matches."""
    for bad in run.cases.bad_inputs:
        if run.coverage is None:
            provoke(run.thing, bad)
            continue
        with run.coverage.watching():
            provoke(run.thing, bad)
    return len(run.cases.bad_inputs)


def provoke(make: Any, bad: BadInput) -> None:
    """Use a layer in a forbidden way and demand the documented error.

    Raises
    ------
    Violation
        There is no error, another error, or a message that does not match.
    """
    rng = np.random.default_rng(0)
    given = [i if isinstance(i, Input) else Input(tuple(i)) for i in bad.inputs]
    try:
        layer = construct(make, bad.args, bad.options, rng).train(bad.training)
        layer(*(np.asarray(a, "float32") if a.dtype.kind == "f" else a for a in (draw_input(i, rng) for i in given)))
    except bad.error as error:
        if not re.search(bad.match, str(error)):
            raise Violation(f"{bad}: expected a message that matches {bad.match!r}, got {str(error)!r}") from error
    except Exception as error:
        raise Violation(f"{bad}: expected {bad.error.__name__}, got {type(error).__name__}: {error}") from error
    else:
        raise Violation(f"{bad}: expected {bad.error.__name__}, got no error")
