"""Planted bugs of optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.conformance.cases.plugins import OptimizerCases

RATES = OptimizerCases(options=st.fixed_dictionaries({"lr": st.sampled_from((0.1, 0.05))}))


class Momentum:
    """Gradient descent with momentum; correct, and the base of the wrong ones."""

    def __init__(self, parameters: Mapping[str, Any], *, lr: float) -> None:
        self.parameters, self.lr = parameters, lr
        self.velocity = {name: np.zeros(p.shape, p.dtype) for name, p in parameters.items()}

    def step(self) -> None:
        for name, p in self.parameters.items():
            if p.node is not None and p.node.grad is not None:
                self.update(name, p, p.node.grad)
                p.node.grad = None

    def update(self, name: str, p: Any, g: Any) -> None:
        v = self.velocity[name]
        v *= p.dtype.type(0.5)
        v += g
        p.assign(p.value - p.dtype.type(self.lr) * v)

    def state(self) -> dict[str, Any]:
        return {name: v.copy() for name, v in self.velocity.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.velocity = {name: np.array(state[name]) for name in self.velocity}


@plant_plugin("optimizer", "the parameter's array is updated in place", by="fresh_arrays", cases=RATES)
class InPlace(Momentum):
    def update(self, name: str, p: Any, g: Any) -> None:
        value = p.value
        value.flags.writeable = True
        value -= p.dtype.type(self.lr) * g
        p.assign(value)


@plant_plugin("optimizer", "the gradient is overwritten", by="fresh_arrays", cases=RATES)
class Scales(Momentum):
    def update(self, name: str, p: Any, g: Any) -> None:
        g *= self.lr
        p.assign(p.value - g)


@plant_plugin("optimizer", "every parameter must have a gradient", by="leaves_alone", says="Error", cases=RATES)
class NeedsAll(Momentum):
    def step(self) -> None:
        for name, p in self.parameters.items():
            self.update(name, p, p.node.grad)


@plant_plugin("optimizer", "float32 becomes float64", by="width", cases=RATES)
class Widens(Momentum):
    def update(self, name: str, p: Any, g: Any) -> None:
        p.assign(p.value - np.float64(self.lr) * g.astype("float64"))


@plant_plugin("optimizer", "a frozen parameter decays", by="leaves_alone", cases=RATES)
class Decays(Momentum):
    def step(self) -> None:
        super().step()
        for p in self.parameters.values():
            p.assign(p.value * p.dtype.type(1 - 0.01 * self.lr))


@plant_plugin("optimizer", "the state of a run is not restored", by="resumes", cases=RATES)
class Forgets(Momentum):
    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


@plant_plugin("optimizer", "the state holds what no checkpoint stores", by="resumes", says="Generator", cases=RATES)
class Random(Momentum):
    def state(self) -> dict[str, Any]:
        return {**super().state(), "rng": np.random.default_rng(0)}


@plant_plugin("optimizer", "state() returns the arrays that later steps change", by="private_state", cases=RATES)
class Live(Momentum):
    def state(self) -> dict[str, Any]:
        return dict(self.velocity)


@plant_plugin("optimizer", "a step is divided by the number of parameters", by="independence", cases=RATES)
class Shares(Momentum):
    def update(self, name: str, p: Any, g: Any) -> None:
        super().update(name, p, g / p.dtype.type(len(self.parameters)))


@plant_plugin("optimizer", "it climbs", by="descends", cases=RATES)
class Climbs(Momentum):
    def update(self, name: str, p: Any, g: Any) -> None:
        super().update(name, p, -g)


TWINS = ((Momentum, RATES),)
