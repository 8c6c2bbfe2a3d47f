"""Tests that need a GPU; the other files of this folder test the rest of the GPU's code on the processor."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.gpu.hooks import watching
from tests.gpu.test_training_on_a_device import trainer
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.backend import find_backend
from tinygrad_lab.conformance.session import check_plugins
from tinygrad_lab.kernels.cupy import cudnn, using_gpu_options
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x
from tinygrad_lab.train import Callback, Trainer

pytestmark = pytest.mark.gpu


def host(state: dict[str, Any]) -> dict[str, np.ndarray]:
    to_numpy = find_backend("cuda").to_numpy
    return {path: to_numpy(a) if hasattr(a, "get") else np.asarray(a) for path, a in state.items()}


def same(left: Trainer, right: Trainer) -> bool:
    ours, theirs = host(left.model.state()), host(right.model.state())
    return all(np.array_equal(ours[path], theirs[path]) for path in ours)


def test_training_agrees_with_numpy() -> None:
    here, there = trainer("cpu"), trainer("cuda")
    for t in (here, there):
        t.train(3)
    ours, theirs = host(here.model.state()), host(there.model.state())
    assert all(np.allclose(ours[path], theirs[path], atol=1e-3) for path in ours)


def test_the_same_seed_gives_the_same_bits() -> None:
    both = [trainer("cuda") for _ in range(2)]
    for t in both:
        t.train(2)
    assert same(*both)


@pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
def test_captured_steps_equal_usual_steps_bit_for_bit(precision: str) -> None:
    """A capture fails if a step waits or transfers anything, so these steps have no hidden transfers."""
    both = [trainer("cuda", capture=c, precision=precision) for c in (False, True)]
    for t in both:
        t.train(3)
    assert same(*both)
    assert both[0].history[-1]["loss"] == both[1].history[-1]["loss"]


class Noted(Callback):
    """A callback that notes the counts of each step."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts, self.before = counts, counts.copy()
        self.steps: list[Counter[str]] = []

    def step(self, metrics: dict[str, Any]) -> None:
        self.steps.append(self.counts - self.before)
        self.before = self.counts.copy()


@pytest.mark.parametrize("capture", [False, True])
def test_a_step_does_not_wait_and_has_only_the_documented_transfers(capture: bool) -> None:
    """By the counters of tests/gpu/hooks.py, no step reads from the GPU, except for metrics once an interval."""
    with watching() as counts:
        noted = Noted(counts)
        trainer("cuda", read_every=4, callbacks=[noted], capture=capture).train(6)  # epochs of 6 steps
        before = counts.copy()
        find_backend("cuda").from_numpy(np.ones(3))
        assert (counts - before)["to the device"] == 1, "transfers are also counted after a recording"
    numbered = [(number, step) for number, step in enumerate(noted.steps, 1) if number > 12]  # after allocation
    reads = [step for number, step in numbered if number % 4 == 0]
    assert reads
    assert all(step["to the host"] == 1 for step in reads), "metrics"
    between = [step for number, step in numbered if number % 12 in (2, 3, 10, 11)]  # no epoch ends in these steps
    assert between
    for what in ("to the host", "waits", "memory from the driver"):
        assert [step[what] for step in between] == [0] * len(between), what
    moved = sum(step["to the device"] for step in between)
    assert moved <= 2 * capture, "rates are sent for 1, 2, 4, ... steps"


def test_the_whole_kit() -> None:
    """Layers, losses and optimizers on CuPy agree with NumPy, and every kernel with its reference."""
    with using(providers=frozenset({"cupy"})):
        results = check_plugins(examples=3, devices=["cuda"], properties=["devices", "kernels", "adequacy"])
    assert [report for result in results for report in result.reports()] == []


@pytest.mark.parametrize("plans", ["deterministic", "fastest"])
@pytest.mark.parametrize(("products", "tolerance"), [("float32", 1e-4), ("tf32", 2e-2), ("bf16", 1e-1)])
def test_cudnn_computes_convolutions(products: str, tolerance: float, plans: str) -> None:
    to_device, to_host = find_backend("cuda").from_numpy, find_backend("cuda").to_numpy
    rng = np.random.default_rng(0)
    x, w, g = (rng.uniform(-1, 1, s).astype("float32") for s in ((4, 16, 16, 32), (3, 3, 32, 64), (4, 16, 16, 64)))
    how: dict[str, Any] = {"padding": ((1, 1), (1, 1))}
    cudnn.forget_plans()
    with using_gpu_options(products=products, plans=plans):
        found = [
            conv2d(to_device(x), to_device(w), None, **how),
            conv2d_grad_x(to_device(g), to_device(w), size=(16, 16), **how),
            conv2d_grad_w(to_device(x), to_device(g), kernel_size=(3, 3), **how),
        ]
    expected = [
        conv2d.forward(np, x, w, None, **how),
        conv2d_grad_x.forward(np, g, w, size=(16, 16), **how),
        conv2d_grad_w.forward(np, x, g, kernel_size=(3, 3), **how),
    ]
    assert len([plan for plan in cudnn._PLANS.values() if plan]) == 3, "cuDNN declined"
    for got, reference in zip(found, expected, strict=True):
        assert np.abs(to_host(got) - reference).max() < tolerance * reference.std()


def test_the_device_cuda_is_a_gpu() -> None:
    assert tgl.tensor(np.ones(2)).to("cuda").device == "cuda"
