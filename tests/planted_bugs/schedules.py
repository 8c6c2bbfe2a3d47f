"""Planted bugs of schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.optim.schedules import ReduceOnPlateau, Schedule


@plant_plugin("schedule", "a straight line goes on below 0 after its end", by="factors", says="hold the last value")
@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    length: float

    def __call__(self, t: float) -> float:
        return 1.0 - t / self.length


@plant_plugin("schedule", "a root of a negative number after the end", by="factors", says="got (")
@dataclass(frozen=True, kw_only=True)
class Root(Schedule):
    length: float

    def __call__(self, t: float) -> float:
        return (1.0 - t / self.length) ** 0.5


@plant_plugin("schedule", "1 / t, without a care for t = 0", by="factors", says="ZeroDivisionError")
class Harmonic(Schedule):
    def __call__(self, t: float) -> float:
        return 1.0 / t


@plant_plugin("schedule", "growth that overflows in a long training", by="factors", says="OverflowError")
class Growing(Schedule):
    def __call__(self, t: float) -> float:
        return 2.0 ** (t * t)


@plant_plugin("schedule", "the number of calls in place of the position", by="position_alone", says="number of calls")
class Counting(Schedule):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, t: float) -> float:
        self.calls += 1
        return 0.99**self.calls


@plant_plugin("schedule", "the smallest factor so far", by="position_alone", says="an earlier result")
class Lowest(Schedule):
    def __init__(self) -> None:
        self.lowest = 1.0

    def __call__(self, t: float) -> float:
        self.lowest = min(self.lowest, 1 / (1 + t))
        return self.lowest


@plant_plugin("schedule", "it reacts to a metric, but declares none", by="observes", says="`metric` names")
class Undeclared(Schedule):
    def __init__(self) -> None:
        self.factor = 1.0

    def __call__(self, t: float) -> float:
        return self.factor

    def observe(self, metric: float) -> None:
        self.factor *= 0.5


@plant_plugin("schedule", "the metric is declared as a list", by="observes", says="expected the name of a metric")
class Several(ReduceOnPlateau):
    @property
    def metric(self) -> Any:
        return ["loss", "accuracy"]


@plant_plugin("schedule", "the state has the first factor, not the present one", by="resumes", says="state() must hold")
class Forgetful(ReduceOnPlateau):
    def state(self) -> dict[str, Any]:
        return {**super().state(), "now": 1.0}


@plant_plugin("schedule", "a state that is refused when it is restored", by="resumes")
class Renamed(ReduceOnPlateau):
    def state(self) -> dict[str, Any]:
        return {f"plateau_{key}": value for key, value in super().state().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)


class Decay(Schedule):
    """Halves after each observed epoch; the base of wrong ones."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {"factor": 1.0}

    metric = "loss"  # type: ignore[assignment]  # a class may name it plainly

    def __call__(self, t: float) -> float:
        return float(self.now["factor"])

    def observe(self, metric: float) -> None:
        self.now["factor"] *= 0.5

    def state(self) -> dict[str, Any]:
        return dict(self.now)

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.now = dict(state)


@plant_plugin("schedule", "state() returns the schedule's own dict", by="state", says="return a copy")
class Live(Decay):
    def state(self) -> dict[str, Any]:
        return self.now


@plant_plugin("schedule", "a state of another class is taken", by="state", says="super().load_state(state) first")
class Credulous(Decay):
    def load_state(self, state: Mapping[str, Any]) -> None:
        self.now = {"factor": state.get("factor", 1.0)}


@plant_plugin("schedule", "a state with a list", by="resumes", says="names and numbers")
class Listing(Decay):
    def state(self) -> dict[str, Any]:
        return {"factor": self.now["factor"], "history": [1.0]}


SHARED: dict[str, Any] = {"factor": 1.0}


@plant_plugin("schedule", "all schedules of the class share one dict", by="apart", says="not in the class")
class Sharing(Decay):
    def __init__(self) -> None:
        self.now = SHARED

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        SHARED.update(state)


@plant_plugin("schedule", "a function with two methods, not a Schedule", by="product", says="subclass of")
class Alone:
    metric = None

    def __call__(self, t: float) -> float:
        return math.exp(-t)

    def observe(self, metric: float) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


@dataclass(kw_only=True)
class Steps(Schedule):
    """Correct: a twin of the wrong ones above, with a state."""

    factor: float = 0.5
    seen: int = field(default=0, init=False)

    def __call__(self, t: float) -> float:
        return self.factor**self.seen

    @property
    def metric(self) -> str:
        return "loss"

    def observe(self, metric: float) -> None:
        self.seen += 1

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.seen = int(state["seen"])


TWINS = (Steps, Decay)
