"""Mixed precision with float32 master weights: float16 on every device, TF32 and bfloat16 products on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.gpu.simulated import needs_a_compiler, simulated_gpu
from tests.gpu.test_capture import Graphs
from tests.gpu.test_training_on_a_device import Counted, images, network, same, trainer, values
from tests.strict_device import STRICT
from tinygrad_lab.data import Loader
from tinygrad_lab.errors import NonFiniteError, OptionError
from tinygrad_lab.kernels.cupy.graphs import MAKERS
from tinygrad_lab.kernels.cupy.options import OPTIONS
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import Adam
from tinygrad_lab.train import Callback, Trainer
from tinygrad_lab.train.precision import HalfPrecision
from tinygrad_lab_layers import BatchNorm, Conv2d


def half(t: Trainer) -> HalfPrecision:
    assert isinstance(t.arithmetic, HalfPrecision)
    return t.arithmetic


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), STRICT.name])
def test_training_in_float16_follows_float32(device: str) -> None:
    wide, narrow = (trainer(device, precision=p) for p in ("float32", "float16"))
    wide.train(3)
    narrow.train(3)
    ours, theirs = values(wide.model.state()), values(narrow.model.state())
    for path, array in ours.items():
        assert theirs[path].dtype == array.dtype == np.float32
        scale = np.abs(array).max()
        assert np.abs(theirs[path] - array).max() < 0.03 * scale + 0.01, path
    assert narrow.history[-1]["test"]["accuracy"] == wide.history[-1]["test"]["accuracy"] == 1.0


class Looks(tgl.Layer):
    """A layer that notes the dtype of its input."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = [seen.append]

    def forward(self, x: Any) -> Any:
        self.seen[0](x.dtype.name)
        return x


def test_layers_get_float16_and_layers_with_statistics_float32() -> None:
    between: list[str] = []
    inside: list[str] = []

    class Norm(BatchNorm):
        def forward(self, x: Any) -> Any:
            inside.append(x.dtype.name)
            return super().forward(x)

    model = tgl.Sequential(Conv2d(3, 4, kernel_size=3, rng=0), Looks(between), Norm(4), Looks(between))
    out = HalfPrecision().forward(model, np.zeros((2, 8, 8, 3), "float32"))
    assert inside == ["float32"]
    assert between == ["float16"] * 2
    assert out.dtype == "float32"


def test_no_float16_step_waits_for_the_device() -> None:
    counted = Counted()
    t = trainer(STRICT.name, read_every=100, callbacks=[counted], precision="float16")
    t.train_epoch()
    assert [moved["waits"] + moved["to the host"] for moved in counted.steps[1:-1]] == [0] * 4


def overflowing(t: Trainer, step: int) -> None:
    """Let the gradients of one step overflow."""
    walk = t.arithmetic.backward

    def backward(loss: Any) -> None:
        walk(loss * 1e30 if t.model.steps == step else loss)

    t.arithmetic.backward = backward  # type: ignore[method-assign]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_update_with_overflowing_gradients_changes_only_the_scale(optimizer: str) -> None:
    t = trainer("cpu", precision="float16")
    if optimizer == "adam":
        t.optimizer = Adam(t.model.parameters(), lr=0.01)
    overflowing(t, 3)
    states: list[dict[str, Any]] = []

    class Keeps(Callback):
        def step(self, metrics: dict[str, Any]) -> None:
            parameters = {path: p.value * 1 for path, p in t.model.parameters().items()}
            memory = {k: v for k, v in t.optimizer.state().items() if not k.endswith("/step")}
            states.append({**parameters, **memory, "scale": float(half(t)._scale)})

    t.callbacks.append(Keeps())
    with np.errstate(all="ignore"):
        t.train_epoch()
    scales = [state.pop("scale") for state in states]
    assert scales == [2.0**15] * 2 + [2.0**14] * 4
    assert same(states[1], states[2]), "the third update was undone"
    assert not same(states[2], states[3])


@pytest.mark.parametrize("device", ["cpu", STRICT.name])
def test_gradients_that_are_never_finite_are_an_error(device: str) -> None:
    t = trainer(device, precision="float16", read_every=None if device == "cpu" else 4)
    before = {path: p.value * 1 for path, p in t.model.parameters().items()}
    walk = t.arithmetic.backward
    t.arithmetic.backward = lambda loss: walk(loss * float("nan"))  # type: ignore[method-assign]
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"float16: .*in 2\d updates"):
        t.train(9)
    assert half(t).state()["scale"] == 1.0
    assert same(before, {path: p.value for path, p in t.model.parameters().items()})
    t.arithmetic.backward = walk  # type: ignore[method-assign]
    t.train(t.epoch + 1)
    assert half(t).state()["good"] > 0


def test_the_scale_grows_after_good_updates_and_is_part_of_the_state() -> None:
    t = trainer("cpu", precision="float16")
    half(t).patience = 4
    t.train_epoch()
    assert half(t).state() == {"scale": 2.0**16, "good": 2.0}
    other = trainer("cpu", precision="float16")
    other.load_state(t.state())
    half(other).patience = 4
    for one in (t, other):
        one.train(2)
    assert same(t.model.state(), other.model.state())
    assert half(t).state() == half(other).state()


def test_float16_steps_can_be_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MAKERS, STRICT.name, Graphs)
    both = [trainer(STRICT.name, precision="float16", capture=c) for c in (False, True)]
    for t in both:
        half(t).patience, half(t)._first["scale"] = 4, 2.0**8
        t.train(2)
    assert same(both[0].model.state(), both[1].model.state())
    assert half(both[0]).state() == half(both[1]).state() == {"scale": 2.0**11, "good": 0.0}


@needs_a_compiler
@pytest.mark.slow
def test_training_in_float16_with_raw_kernels() -> None:
    usual = trainer("cpu", precision="float16")
    usual.train(2)
    with simulated_gpu():
        t = trainer(STRICT.name, precision="float16")
        t.train(2)
    ours, theirs = values(usual.model.state()), values(t.model.state())
    assert all(np.abs(ours[path] - theirs[path]).max() < 0.05 for path in ours)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_narrow_products_need_a_gpu(precision: str) -> None:
    with pytest.raises(OptionError, match="expected a GPU, got device 'cpu'"):
        trainer("cpu", precision=precision).train(1)
    seen = []

    class Notes(Callback):
        def step(self, metrics: dict[str, Any]) -> None:
            seen.append(OPTIONS.get().products)

    trainer(STRICT.name, precision=precision, callbacks=[Notes()]).train(1)
    assert set(seen) == {precision}
    assert OPTIONS.get().products == "float32"
    with pytest.raises(OptionError, match="expected one of"):
        trainer("cpu", precision="fp8")


def test_a_layer_in_place_of_a_sequence_trains_in_float16() -> None:
    class Twice(tgl.Layer):
        def __init__(self) -> None:
            self.inner = network()

        def forward(self, x: Any) -> Any:
            return self.inner(x) * 2.0

    model = Twice()
    batches = Loader(images(), batch_size=8, seed=0, workers=0)
    optimizer = Adam(model.parameters(), lr=0.01)
    t = Trainer(model, softmax_cross_entropy, optimizer, batches, precision="float16")
    t.train(3)
    assert t.history[-1]["loss"] < t.history[0]["loss"]
    assert t.model.steps == 18
