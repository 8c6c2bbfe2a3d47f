"""Optimizers, clipping, averages and schedules compared with PyTorch's over a hundred steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.optim.problems import STEPS, Bowl
from tinygrad_lab.optim import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    ExponentialMovingAverage,
    RMSprop,
    StochasticWeightAverage,
    clip_by_norm,
    clip_by_value,
)
from tinygrad_lab.optim.schedules import (
    CosineDecay,
    ExponentialDecay,
    MultiStepDecay,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sgd": (lambda p: SGD(p, lr=0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (
        lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    ),
    "nesterov": (
        lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adagrad": (
        lambda p: AdaGrad(p, lr=0.1, weight_decay=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.01),
    ),
    "rmsprop": (
        lambda p: RMSprop(p, lr=0.01, weight_decay=0.01),
        lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.01),
    ),
    "rmsprop, momentum": (
        lambda p: RMSprop(p, lr=0.01, rho=0.9, momentum=0.5),
        lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.5),
    ),
    "adadelta": (
        lambda p: AdaDelta(p, weight_decay=0.01),
        lambda p: torch.optim.Adadelta(p, weight_decay=0.01),
    ),
    "adam": (
        lambda p: Adam(p, lr=0.02, weight_decay=0.01),
        lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.01),
    ),
    "adamw": (
        lambda p: AdamW(p, lr=0.02, beta1=0.8, beta2=0.99, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.8, 0.99), weight_decay=0.1),
    ),
}


def their_parameters(bowl: Bowl) -> dict[str, Any]:
    return {path: torch.tensor(array, requires_grad=True) for path, array in bowl.start.items()}


def their_gradients(bowl: Bowl, parameters: dict[str, Any], step: int) -> None:
    for path, p in parameters.items():
        p.grad = torch.tensor(bowl.gradient(path, p.detach().numpy(), step))


def compare(ours: Any, theirs: dict[str, Any], dtype: str = "float64") -> None:
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    for path, p in theirs.items():
        np.testing.assert_allclose(ours[path].numpy(), p.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_optimizers(name: str, dtype: str) -> None:
    bowl = Bowl(dtype=dtype)
    optimizer, theirs = PAIRS[name][0](bowl.parameters()), their_parameters(bowl)
    peer = PAIRS[name][1](list(theirs.values()))
    for step in range(STEPS):
        bowl.loss(optimizer.parameters, step).backward()
        optimizer.step()
        their_gradients(bowl, theirs, step)
        peer.step()
        compare(optimizer.parameters, theirs, dtype)


def test_groups() -> None:
    bowl = Bowl()
    groups = {"*.bias": {"weight_decay": 0, "lr_factor": 0.1, "momentum": 0.5}}
    optimizer = SGD(bowl.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1, groups=groups)
    theirs = their_parameters(bowl)
    own = {"params": [theirs["layer.bias"]], "weight_decay": 0, "lr": 0.005, "momentum": 0.5}
    peer = torch.optim.SGD([{"params": [theirs["layer.weight"]]}, own], lr=0.05, momentum=0.9, weight_decay=0.1)
    for step in range(STEPS):
        bowl.loss(optimizer.parameters, step).backward()
        optimizer.step()
        their_gradients(bowl, theirs, step)
        peer.step()
    compare(optimizer.parameters, theirs)


@pytest.mark.parametrize("kind", ["norm", "value"])
def test_clipping(kind: str) -> None:
    bowl = Bowl()
    optimizer, theirs = SGD(bowl.parameters(), lr=0.05), their_parameters(bowl)
    peer = torch.optim.SGD(theirs.values(), lr=0.05)
    for step in range(STEPS):
        bowl.loss(optimizer.parameters, step).backward()
        their_gradients(bowl, theirs, step)
        if kind == "norm":
            norm = clip_by_norm(optimizer.parameters, 1.0)
            assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)))
        else:
            clip_by_value(optimizer.parameters, 0.5)
            torch.nn.utils.clip_grad_value_(theirs.values(), 0.5)
        optimizer.step()
        peer.step()
    compare(optimizer.parameters, theirs, "float32")  # PyTorch adds 1e-6 to the norm


@pytest.mark.parametrize("kind", ["ema", "mean"])
def test_averages(kind: str) -> None:
    averages = torch.optim.swa_utils
    rng = np.random.default_rng(0)
    model, theirs = tgl.Sequential(), torch.nn.Linear(3, 1, bias=False).double()
    model.weight = tgl.Parameter(np.zeros((1, 3)))
    ours = ExponentialMovingAverage(model, decay=0.9) if kind == "ema" else StochasticWeightAverage(model)
    rule = averages.get_ema_multi_avg_fn(0.9) if kind == "ema" else averages.get_swa_multi_avg_fn()
    peer = averages.AveragedModel(theirs, multi_avg_fn=rule)
    for _ in range(STEPS):
        weight = rng.normal(size=(1, 3))
        model.weight.assign(weight)
        with torch.no_grad():
            theirs.weight.copy_(torch.tensor(weight))
        ours.update()
        peer.update_parameters(theirs)
    theirs = peer.module.weight.detach().numpy()
    np.testing.assert_allclose(ours.weights()["weight"], theirs, atol=1e-7)  # PyTorch divides in float32


LR = torch.optim.lr_scheduler
SCHEDULES = {
    "step": (StepDecay(start=7, interval=7, factor=0.5), lambda o: LR.StepLR(o, 7, 0.5)),
    "multi-step": (MultiStepDecay(milestones=[10, 15, 60], factor=0.3), lambda o: LR.MultiStepLR(o, [10, 15, 60], 0.3)),
    "exponential": (ExponentialDecay(factor=0.95), lambda o: LR.ExponentialLR(o, 0.95)),
    "cosine": (CosineDecay(length=99, final=0.1), lambda o: LR.CosineAnnealingLR(o, 99, 0.1)),
    "one cycle": (  # PyTorch counts intervals between steps: 99, with the peak after 0.3 * 100 - 1
        OneCycle(length=99, rise=29 / 99),
        lambda o: LR.OneCycleLR(o, 1.0, total_steps=100, cycle_momentum=False),
    ),
    "warm-up": (
        WarmUp(length=10, start=0.2, after=CosineDecay(length=89)),
        lambda o: LR.SequentialLR(o, [LR.LinearLR(o, 0.2, 1.0, 10), LR.CosineAnnealingLR(o, 89)], [10]),
    ),
    "product": (
        WarmUp(length=10, start=0.2) * ExponentialDecay(factor=0.95),
        lambda o: LR.ChainedScheduler([LR.LinearLR(o, 0.2, 1.0, 10), LR.ExponentialLR(o, 0.95)]),
    ),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # PyTorch's composed schedules warn about their own calls
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    schedule, make = SCHEDULES[name]
    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs, rates = make(peer), []
    for _ in range(STEPS):
        rates.append(peer.param_groups[0]["lr"])
        peer.step()
        theirs.step()
    np.testing.assert_allclose([schedule(t) for t in range(STEPS)], rates, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("seed", range(5))
def test_plateau(mode: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sign = 1 if mode == "min" else -1
    metrics = 1.0 + sign * (np.exp(-np.arange(STEPS) / 15) + 0.1 * rng.normal(size=STEPS))
    schedule = ReduceOnPlateau(factor=0.5, patience=3, threshold=0.02, mode=mode, cooldown=2, lowest=0.01)
    peer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = LR.ReduceLROnPlateau(peer, mode, factor=0.5, patience=3, threshold=0.02, cooldown=2, min_lr=0.01)
    for metric in metrics:
        schedule.observe(metric)
        theirs.step(metric)
        assert schedule(0) == pytest.approx(peer.param_groups[0]["lr"])
    assert schedule(0) < 1
