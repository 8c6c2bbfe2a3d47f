"""Captured training steps on the strict device, whose graphs repeat operations with the same numbers and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.gpu.simulated import needs_a_compiler, simulated_gpu
from tests.gpu.test_training_on_a_device import Counted, images, network, same, trainer
from tests.strict_device import STRICT, Recording
from tinygrad_lab.data import Loader
from tinygrad_lab.errors import CaptureError, NonFiniteError
from tinygrad_lab.kernels.cupy.graphs import MAKERS
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import AdaDelta, AdaGrad, Adam, AdamW, Optimizer, RMSprop
from tinygrad_lab.optim.schedules import CosineDecay
from tinygrad_lab.train import Callback, Trainer
from tinygrad_lab_layers import Dropout


class Graphs:
    """The graphs of the strict device."""

    recorded = launched = 0

    @contextmanager
    def session(self) -> Iterator[None]:
        yield

    def record(self, work: Callable[[], Any]) -> Recording:
        Graphs.recorded += 1
        with np.errstate(all="ignore"), Recording() as recording:
            work()
        return recording

    def launch(self, graph: Recording) -> None:
        Graphs.launched += 1
        with np.errstate(all="ignore"):  # as on a GPU, which does not warn
            graph.launch()


@pytest.fixture(autouse=True)
def _graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, STRICT.name, Graphs)
    Graphs.recorded = Graphs.launched = 0


def metrics(t: Trainer) -> list[dict[str, Any]]:
    return [{k: v for k, v in m.items() if k not in ("seconds", "images_per_second")} for m in t.history]


def check_same(usual: Trainer, captured: Trainer) -> None:
    assert same(usual.model.state(), captured.model.state())
    assert same(usual.optimizer.state(), captured.optimizer.state())
    assert metrics(usual) == metrics(captured)
    assert usual.steps == captured.steps
    assert usual.model.steps == captured.model.steps


def test_captured_steps_equal_usual_steps_bit_for_bit() -> None:
    """This includes random draws, statistics, metrics, and rates that a schedule changes."""
    both = [trainer(STRICT.name, schedule=CosineDecay(length=3), capture=c) for c in (False, True)]
    for t in both:
        t.train(3)
    check_same(*both)
    assert Graphs.recorded == 1
    assert Graphs.launched == 3 * 6 - 1, "all but the first step"


@needs_a_compiler
@pytest.mark.slow
def test_captured_steps_of_raw_kernels_equal_usual_steps() -> None:
    with simulated_gpu():
        both = [trainer(STRICT.name, schedule=CosineDecay(length=2), capture=c) for c in (False, True)]
        for t in both:
            t.train(2)
        check_same(*both)


def with_optimizer(optimizer: type[Optimizer], *, capture: bool, count: int = 48, **options: Any) -> Trainer:
    model = network().to(STRICT.name)
    batches = Loader(images(count), batch_size=8, seed=0, workers=0, device=STRICT.name)
    return Trainer(
        model, softmax_cross_entropy, optimizer(model.parameters(), lr=0.01, **options), batches, capture=capture
    )


@pytest.mark.parametrize("optimizer", [Adam, AdamW, AdaGrad, AdaDelta, RMSprop])
def test_every_optimizer_can_be_captured(optimizer: type[Optimizer]) -> None:
    both = [with_optimizer(optimizer, capture=c, weight_decay=0.01) for c in (False, True)]
    for t in both:
        t.train(2)
    check_same(*both)


def test_each_batch_shape_has_its_own_graph() -> None:
    both = [with_optimizer(Adam, capture=c, count=20) for c in (False, True)]  # 8, 8, 4
    for t in both:
        t.train(3)
    check_same(*both)
    assert Graphs.recorded == 2
    assert Graphs.launched == 9 - 2


def test_a_launch_transfers_nothing_and_does_not_wait() -> None:
    """Rates are sent for several steps at once, and the order of the images once an epoch."""
    counted = Counted()
    t = trainer(STRICT.name, schedule=CosineDecay(length=20), read_every=1000, callbacks=[counted], capture=True)
    t.train(20)  # epochs of 6 steps
    moved = [step["to the device"] for number, step in enumerate(counted.steps) if number % 6 and number > 1]
    assert len(moved) > 70
    assert not any(step["waits"] for step in counted.steps[2:])
    assert sum(moved) <= 8, "rates are sent for 1, 2, 4, ... steps"


def test_rates_that_a_callback_changes_are_sent_again() -> None:
    """The rate that the host sets overrides rates that were sent ahead."""

    class Chooses(Callback):
        def step(self, metrics: dict[str, Any]) -> None:
            t.base_lr = 0.1 / (1 + metrics["step"] % 5)

    found = []
    for capture in (False, True):
        t = trainer(STRICT.name, callbacks=[Chooses()], capture=capture)
        t.train(4)
        found.append(t)
    check_same(*found)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_draws_under_a_checkpoint_are_the_same_in_forward_and_recomputation(precision: str) -> None:
    class Forgets(tgl.Layer):
        def __init__(self) -> None:
            self.dropout = Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return tgl.checkpoint(lambda x: self.dropout(x) * x, x)

        def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return shape

    found = []
    for capture in (False, True):
        t = trainer(STRICT.name, capture=capture, precision=precision)
        t.model["dropout"].forward = Forgets().train().forward  # type: ignore[index, union-attr]
        t.train(3)
        found.append(t)
    check_same(*found)


def test_a_captured_step_uses_a_changed_seed_and_step_number() -> None:
    found = []
    for capture in (False, True):
        t = trainer(STRICT.name, capture=capture)
        t.train(1)
        t.model.seed, t.model.steps = 77, 1000
        t.train(2)
        found.append(t)
    check_same(*found)


def test_captured_training_continues_after_a_state_was_loaded() -> None:
    both = [trainer(STRICT.name, capture=c) for c in (False, True)]
    for t in both:
        t.train(1)
        state = t.state()
        t.train(2)
        t.load_state(state)
        t.train(3)
    check_same(*both)


def test_freezing_and_unfreezing_records_a_new_graph() -> None:
    both = [with_optimizer(Adam, capture=c) for c in (False, True)]
    for t in both:
        t.train(1)
        t.model["conv"].freeze()  # type: ignore[index]
        t.train(2)
        t.model["conv"].unfreeze()  # type: ignore[index]
        t.train(3)
    check_same(*both)
    assert Graphs.recorded == 2


def test_the_state_of_a_captured_trainer_is_a_copy() -> None:
    t = trainer(STRICT.name, capture=True)
    t.train(1)
    state = t.state()
    before = {path: a * 1 for path, a in state["model"].items()}
    t.train(2)
    assert same(before, state["model"])


@pytest.mark.parametrize("every", [1, 4])
def test_a_loss_that_is_not_finite_is_located_by_usual_steps(every: int) -> None:
    """A weight that is infinite from the second epoch on makes the loss of its first step NaN."""
    t, expected = (trainer(STRICT.name, read_every=every, capture=c) for c in (True, False))
    states = []
    for one in (t, expected):
        one.train(1)
        weight = one.model["dense"].weight  # type: ignore[index, union-attr]
        weight.assign(weight.value * float("inf"))
        states.append({path: a * 1 for path, a in one.model.state().items()})
        with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"loss of step 7.*'dense'"):
            one.train(2)
    assert same(t.model.state(), states[0])
    assert same(t.model.state(), expected.model.state())
    assert t.steps == expected.steps == 6


def test_changed_options_and_modes_record_a_new_graph() -> None:
    both = [with_optimizer(Adam, capture=c, weight_decay=0.01) for c in (False, True)]
    for t in both:
        t.train(1)
        for own in t.optimizer.options.values():
            own["weight_decay"] = 0.2
        t.train(2)
        t.model["norm"].frozen = True  # type: ignore[index, union-attr]
        t.train(3)
    check_same(*both)
    assert Graphs.recorded == 3


class Unnamed(Adam):
    by_rates = False


class Waits(tgl.Layer):
    """A layer that reads its input on the host."""

    def forward(self, x: Any) -> Any:
        return x if float(x.value.sum()) > 0 else x * 2

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


def test_what_cannot_be_captured_is_refused_with_the_reason() -> None:
    with pytest.raises(CaptureError, match=r"a device with graphs.*'cpu'.*capture=False"):
        trainer("cpu", capture=True).train(1)
    with pytest.raises(CaptureError, match="accumulate"):
        trainer(STRICT.name, capture=True, accumulate=2)
    with pytest.raises(CaptureError, match="Unnamed without by_rates=True"):
        with_optimizer(Unnamed, capture=True).train(1)
    t = trainer(STRICT.name, capture=True)
    t.model["dropout"].forward = Waits().forward  # type: ignore[index, union-attr]
    reason = r"must neither wait for the device nor move.*waits while a graph is being captured"
    with pytest.raises(CaptureError, match=reason):
        t.train(1)
