"""Checks of schedules: finite factors of 0 or more that depend only on the position and the declared metric."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Unpack

from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.cases.plugins import ScheduleCases
from tinygrad_lab.conformance.checks import conclude
from tinygrad_lab.conformance.kinds.kind import Kind, accepted, drawn_options, rng_of, without_options
from tinygrad_lab.conformance.trials.options import Keywords
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, demand
from tinygrad_lab.errors import LabError
from tinygrad_lab.optim.schedules import Constant, Schedule
from tinygrad_lab.registry import schedules

EPOCHS = 12  # of an imitated training
WITHIN = (0.0, 0.25, 0.5)  # positions within an epoch
FAR = 1000.0  # epochs, beyond the end of any schedule
ROUNDING = 1e-12


class ScheduleTrial(BaseTrial):
    """A schedule's options, positions, and the metrics of an imitated training.

    Parameters
    ----------
    make : callable
        The schedule's class.
    case : Case
        The options and the seed.
    cases : ScheduleCases
        What the author states.
    """

    def __init__(self, make: Callable[..., Any], case: Case, cases: ScheduleCases) -> None:
        super().__init__(case, [])
        self.make, self.cases = make, cases
        rng = rng_of(case, 1)
        numbers = [n for n in numbers_in(case.options.values()) if 0 < n < FAR]
        edges = [n + shift for n in (*numbers, sum(numbers)) for shift in (-1e-9, 0.0, 1e-9)]
        drawn = rng.uniform(0, 2 * max([*numbers, EPOCHS]), 8).tolist()
        self.positions = sorted({0.0, FAR, *(t for t in (*edges, *drawn) if t >= 0)})
        losses = [float(loss) for loss in (1 / (1 + rng.uniform(0, 2, EPOCHS).cumsum()))]
        plateau = int(rng.integers(1, EPOCHS))
        self.metrics = [losses[min(k, plateau)] for k in range(EPOCHS)]  # they improve, and then no longer
        self.schedule()

    @property
    def compared(self) -> int:
        """The number of positions."""
        return len(self.positions)

    def exercise(self) -> None:
        """Train for a few epochs."""
        self.train(self.schedule(), range(EPOCHS))

    def schedule(self) -> Any:
        """Return a new schedule with the case's options."""
        return self.make(**self.case.options)

    def train(self, schedule: Any, epochs: range) -> list[float]:
        """Imitate training: return the factors of some epochs, whose metrics the schedule observes."""
        factors = []
        for epoch in epochs:
            factors += [schedule(epoch + t) for t in WITHIN]
            schedule.observe(self.metrics[epoch])
        return factors


def numbers_in(values: Any) -> list[float]:
    """Return the numbers among some values, also inside sequences and mappings."""
    found: list[float] = []
    for value in values:
        if isinstance(value, dict):
            found += numbers_in(value.values())
        elif isinstance(value, (list, tuple)):
            found += numbers_in(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(float(value))
    return found


def same(what: str, got: Sequence[float], expected: Sequence[float], why: str) -> Measure:
    """Compare factors, which must be equal to the bit.

    Raises
    ------
    Violation
        They differ. The message ends with the likely mistake.
    """
    try:
        return agree(what, got, expected, 0.0)
    except Violation as error:
        raise Violation(f"{error}; {why}", error.measure) from error


def factors(trial: ScheduleTrial) -> Measure:
    """Every factor is a real, finite number of 0 or more, from position 0 to far beyond the end.

    Catches a line that goes on below 0, a root or logarithm of a negative number, and a division by 0.
    """
    schedule = trial.schedule()
    for t in trial.positions:
        try:
            factor = schedule(t)
        except (ArithmeticError, ValueError) as error:
            raise Violation(f"the factor at t = {t:g}: {type(error).__name__}: {error}") from error
        what = f"the factor at t = {t:.10g}: expected a finite number of 0 or more, got {factor!r}"
        demand(isinstance(factor, Real) and not isinstance(factor, bool), f"{what} ({type(factor).__name__})")
        demand(math.isfinite(factor), what)
        demand(factor >= 0, f"{what}; hold the last value beyond the end, as in max(0.0, ...) or min(t, length)")
    return Measure()


def position_alone(trial: ScheduleTrial) -> Measure:
    """The factor at a position does not depend on the positions that were asked for before.

    Catches a count of calls in place of the position: resuming would begin again, and a log that reads the rate twice
    would change the training.
    """
    schedule, fresh = trial.schedule(), trial.schedule()
    once = [schedule(t) for t in trial.positions]
    again = [schedule(t) for t in reversed(trial.positions)][::-1]
    why = "compute it from t alone, not from the number of calls or an earlier result"
    same("factors at the same positions, asked for in reverse order", again, once, why)
    return same("the factor of a new schedule, first asked at the end", [fresh(trial.positions[-1])], once[-1:], why)


def observes(trial: ScheduleTrial) -> Measure:
    """A schedule that declares no metric does not react to one; a declared metric is a name that does not change."""
    watching, blind = trial.schedule(), trial.schedule()
    declared = watching.metric
    demand(
        declared is None or (isinstance(declared, str) and declared != ""),
        f"metric: expected the name of a metric such as 'loss', or None, got {declared!r}",
    )
    found = trial.train(watching, range(EPOCHS))
    demand(watching.metric == declared, f"metric was {declared!r} at first, and {watching.metric!r} after observing")
    if declared is not None:
        return Measure()
    expected = [blind(epoch + t) for epoch in range(EPOCHS) for t in WITHIN]
    why = "the schedule reacts to observe(...), but a trainer calls that only if `metric` names what to observe"
    return same("factors of a schedule without a metric, after observing", found, expected, why)


def resumes(trial: ScheduleTrial) -> Measure:
    """A training that continues in a new schedule, by state() and load_state(), has the factors of an unbroken one."""
    expected = trial.train(trial.schedule(), range(EPOCHS))
    for stop in range(0, EPOCHS, 3):
        first, second = trial.schedule(), trial.schedule()
        trial.train(first, range(stop))
        second.load_state(plain(first.state()))
        found = trial.train(second, range(stop, EPOCHS))
        why = "state() must hold, and load_state() restore, everything that observe(...) changes"
        same(f"factors after resuming in epoch {stop}", found, expected[stop * len(WITHIN) :], why)
    return Measure()


def plain(state: Any) -> Any:
    """Return a state as a checkpoint stores it.

    Raises
    ------
    Violation
        It is not a flat dict of numbers.
    """
    demand(isinstance(state, dict), f"state(): expected a dict, got {type(state).__name__}")
    for key, value in state.items():
        demand(
            isinstance(key, str) and isinstance(value, (int, float)),
            f"state(): expected names and numbers, as a checkpoint stores them, got {key!r}: {value!r}",
        )
    return json.loads(json.dumps(state))


def state(trial: ScheduleTrial) -> Measure:
    """The state that state() returns does not change later, and load_state() refuses the state of another class."""
    schedule = trial.schedule()
    trial.train(schedule, range(EPOCHS // 2))
    kept = schedule.state()
    before = dict(plain(kept))
    trial.train(schedule, range(EPOCHS // 2, EPOCHS))
    demand(repr(plain(kept)) == repr(before), "later epochs change a state that state() has returned; return a copy")
    for wrong in ({**before, "nobody": 1}, dict(list(before.items())[1:]) if before else {"nobody": 1}):
        try:
            trial.schedule().load_state(wrong)
        except LabError:
            continue
        except Exception as error:
            raise Violation(f"load_state({wrong}): expected StateError, got {type(error).__name__}: {error}") from error
        raise Violation(f"load_state({wrong}): expected StateError, got no error; call super().load_state(state) first")
    return Measure()


def apart(trial: ScheduleTrial) -> Measure:
    """Two schedules with the same options share nothing, and the options are not changed."""
    options = repr(trial.case.options)
    expected = trial.train(trial.schedule(), range(EPOCHS))
    other, busy = trial.schedule(), trial.schedule()
    trial.train(busy, range(EPOCHS))
    why = "keep what changes in the instance (self.count = 0 in the constructor), not in the class or in a default"
    same("factors of a schedule, after another one was used", trial.train(other, range(EPOCHS)), expected, why)
    demand(repr(trial.case.options) == options, f"the options {options} became {trial.case.options!r}")
    return Measure()


def product(trial: ScheduleTrial) -> Measure:
    """A schedule times `Constant` has the factors of the schedule, so that it can be combined with others."""
    schedule = trial.schedule()
    demand(
        isinstance(schedule, Schedule),
        f"expected a subclass of tinygrad_lab.optim.schedules.Schedule, got {type(schedule).__name__}",
    )
    both = schedule * Constant()
    demand(both.metric == schedule.metric, f"times Constant(), the metric {schedule.metric!r} became {both.metric!r}")
    found = trial.train(both, range(EPOCHS))
    return same("factors times 1", found, trial.train(trial.schedule(), range(EPOCHS)), "do not override __mul__")


def reference(trial: ScheduleTrial) -> Measure | None:
    """The factors are those of the author's reference."""
    if trial.cases.reference is None:
        return None
    schedule, measures = trial.schedule(), []
    for t in trial.positions:
        expected = trial.cases.reference(schedule, t)
        what = f"the factor at t = {t:.10g}, against the reference"
        measures.append(agree(what, schedule(t), expected, ROUNDING * (1 + abs(expected))))
    return Measure.worst(measures)


PROPERTIES: dict[str, Callable[[ScheduleTrial], Measure | None]] = {
    p.__name__: p for p in (factors, position_alone, observes, resumes, state, apart, product, reference)
}


def strategy(make: Any, cases: ScheduleCases) -> Any:
    """Return a strategy of cases."""
    return accepted(make, drawn_options(make, cases), cases).map(lambda options: Case(options=options))


SCHEDULE = Kind("schedule", schedules, ScheduleCases, strategy, without_options(ScheduleTrial), PROPERTIES)


def check_schedule(schedule: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check a schedule: its factors, its state, and that it depends on the position and the declared metric alone.

    Parameters
    ----------
    schedule : str or type
        Its registered name, or its class.
    cases : ScheduleCases or Hypothesis strategy of dict
        Its cases, or a strategy of its options alone. By default the cases that its author registered; if there are
        none, options are drawn according to the constructor's annotations.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_schedule("cosine", examples=5).passed
    True
    """
    return conclude(SCHEDULE.inspect(schedule, cases, **options))
