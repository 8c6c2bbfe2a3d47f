"""Misfits (arguments that do not fit): every kernel here accepts or refuses them as its reference does."""

from __future__ import annotations

import functools
import itertools
import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.planted_bugs.planting import drawn_cases
from tinygrad_lab import losses
from tinygrad_lab.autograd.primitive import Primitive
from tinygrad_lab.conformance.meta import misfits
from tinygrad_lab.conformance.meta.adequacy import kernels_in
from tinygrad_lab.conformance.meta.misfits import Calls, draw_misfit, hold_to_misfits, noting
from tinygrad_lab.conformance.properties.kernels import use
from tinygrad_lab.conformance.trials.search import PROFILES
from tinygrad_lab.conformance.trials.trial import Effort, layer_trial
from tinygrad_lab.conformance.trials.verdict import Undecided
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_x
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import cases, layers

COUNT = int(os.environ.get("TINYGRAD_LAB_MISFITS", "60"))  # misfits of each primitive
FEW = replace(PROFILES["ci"], examples=3)


def run_layers() -> None:
    for name in layers:
        modes = (True, False) if name == "batch_norm" else (True,)
        for case, training in itertools.product(drawn_cases(cases[name], FEW)[:4], modes):
            with suppress(Undecided):
                trial = layer_trial(layers[name], replace(case, training=training), cases[name], Effort())
                use(trial.subject, *trial.cast("float32"))


def run_loss_and_optimizer(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameter = tgl.Parameter(rng.standard_normal(shape, dtype="float32"))
    labels = rng.integers(0, shape[-1], shape[:-1])
    wanted = labels if seed % 2 else np.eye(shape[-1], dtype="float32")[labels]
    losses.softmax_cross_entropy(parameter, wanted, label_smoothing=0.1 * (seed // 2)).backward()
    SGD({"p": parameter}, lr=0.1, momentum=0.9, nesterov=seed % 2 == 0).step()


@functools.cache
def right_calls() -> Calls:
    """Return correct calls of every primitive that has kernels on this machine."""
    calls: Calls = {}
    with noting(calls), np.errstate(all="ignore"):
        run_layers()
        for shape in ((6, 5), (3, 2, 7)):
            for seed in range(4):
                run_loss_and_optimizer(shape, seed)
    return {primitive: made for primitive, made in calls.items() if made}


def with_kernels() -> dict[str, Primitive]:
    """Return the primitives that have kernels on this machine, including those of the layers, by name."""
    for name in layers:
        layers[name]
    found = [
        primitive
        for package in ("tinygrad_lab.", "tinygrad_lab_layers.")
        for differentiable in (True, False)
        for primitive, _ in kernels_in(package, differentiable=differentiable).values()
    ]
    return {str(primitive): primitive for primitive in found}


WITH_KERNELS = with_kernels()


LONG = {"local_response_norm", "local_response_norm_grad"}  # their kernels take longest to compile


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in sorted(WITH_KERNELS)]
)
def test_same_outcome_as_the_reference(name: str) -> None:
    primitive = WITH_KERNELS[name]
    assert hold_to_misfits({primitive: right_calls()[primitive]}, COUNT, wild=True) == {}


def test_a_kernel_without_its_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for primitive in (conv2d, conv2d_grad_x):
        monkeypatch.setattr(primitive, "shape_check", None)
        calls = {primitive: right_calls()[primitive]}
        found = hold_to_misfits(calls, COUNT)
        assert any(text in found[primitive] for text in ("expected", "the process ended by"))


def halves(kernel: Any) -> Calls:
    """Return correct calls of a primitive with a given kernel."""

    @tgl.primitive
    def halved(xp: Any, x: Any, y: Any) -> Any:
        return (x + y) / 2

    halved.kernel("numpy", error_bound=1e-6)(kernel)
    return {halved: [misfits.Call([np.ones((2, 3), "float32")] * 2, {})]}


def ends_the_process(x: Any, y: Any) -> Any:
    if x.shape != y.shape:
        os.kill(os.getpid(), signal.SIGSEGV)
    return (x + y) / 2


def hangs(x: Any, y: Any) -> Any:
    while x.shape != y.shape:
        pass
    return (x + y) / 2


def accepts(x: Any, y: Any) -> Any:
    return (x.reshape(-1)[: y.size] + y.reshape(-1)[: x.size]).reshape(x.shape) / 2 if x.size <= y.size else x


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.slow
def test_a_kernel_that_ends_the_process_does_not_end_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = hold_to_misfits(halves(ends_the_process), COUNT).values()
    assert first.endswith("or a misfit before it: the process ended by SIGSEGV")
    assert first.startswith("halved(float32")
    monkeypatch.setattr(misfits, "PATIENCE", 2.0)
    (second,) = hold_to_misfits(halves(hangs), COUNT).values()
    assert second.endswith("no result within 2 s")
    both = hold_to_misfits(halves(ends_the_process) | halves(lambda x, y: (x + y) / 2) | halves(accepts), COUNT)
    assert len(both) == 2


def test_a_kernel_that_accepts_what_the_reference_refuses_fails() -> None:
    (text,) = hold_to_misfits(halves(accepts), COUNT).values()
    assert "with kernel 'numpy'" in text
    assert "expected" in text
    assert hold_to_misfits(halves(lambda x, y: (x + y) / 2), COUNT) == {}


def test_misfits_are_reproducible_and_differ_from_the_correct_call() -> None:
    ((call,),) = halves(accepts).values()
    drawn = [[v.shape for v in draw_misfit(call, np.random.default_rng(n))[0]] for n in range(50)]
    assert drawn == [[v.shape for v in draw_misfit(call, np.random.default_rng(n))[0]] for n in range(50)]
    assert sum(shapes != [(2, 3), (2, 3)] for shapes in drawn) > 20
