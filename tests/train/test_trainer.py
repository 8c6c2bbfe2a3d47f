"""The training loop: learning, evaluation, early stopping, and losses that are not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.errors import CaptureError, NonFiniteError, OptionError, ShapeError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD, clip_by_norm
from tinygrad_lab.optim.schedules import Constant, CosineDecay, ReduceOnPlateau, WarmUp
from tinygrad_lab.train import Callback, EarlyStopping, Trainer, evaluate
from tinygrad_lab.train.metrics import accuracy
from tinygrad_lab_layers.batch_norm import BatchNorm
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.flatten import Flatten


def stripes(count: int = 64) -> Dataset:
    """Return images whose class is the number of the bright row."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    images = rng.integers(0, 60, (count, 4, 4, 1)).astype(np.uint8)
    images[np.arange(count), labels] += 150
    return Dataset(images, labels, name="stripes")


def trainer(lr: float = 0.5, **options: Any) -> Trainer:
    data = stripes()
    model = tgl.Sequential({"flatten": Flatten(), "dense": Dense(16, 4, rng=0)})
    batches, test = (Loader(data, batch_size=16, seed=0, workers=0, shuffle=s) for s in (True, False))
    return Trainer(model, softmax_cross_entropy, SGD(model.parameters(), lr=lr), batches, test=test, **options)


class Told(Callback):
    """Passes the metrics of every step to a function."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.step = hear  # type: ignore[method-assign]


def test_training_learns_and_counts_steps() -> None:
    seen: list[dict[str, Any]] = []
    t = trainer(callbacks=[Told(seen.append)])
    history = [t.train_epoch() for _ in range(10)]
    assert history[-1]["test"]["accuracy"] == 1.0
    assert history[-1]["test"]["loss"] < history[0]["test"]["loss"]
    assert [m["epoch"] for m in history] == list(range(1, 11))
    assert len(seen) == 40
    assert seen[-1]["step"] == seen[-1]["steps"] == 4
    assert seen[-1]["epochs"] == seen[-1]["epoch"]
    assert t.steps == t.model.steps == 40


def test_the_accuracy_is_the_share_of_right_answers() -> None:
    t = trainer()
    result = evaluate(t.model, t.loss, t.test)  # type: ignore[arg-type]
    x = stripes().images.astype("float32") / 255
    logits = t.model(tgl.tensor(x)).numpy()
    assert result.images == 64
    assert result.accuracy == pytest.approx((logits.argmax(1) == stripes().labels).mean())
    expected = -tgl.log_softmax(logits.astype("float64"))[np.arange(64), stripes().labels].mean()
    assert result.loss == pytest.approx(expected, rel=1e-5)


def test_evaluation_changes_nothing() -> None:
    t = trainer()
    before, steps = t.model.state(), t.model.steps
    evaluate(t.model, t.loss, t.test)  # type: ignore[arg-type]
    assert t.model.training
    assert t.model.steps == steps
    assert all(after is before[path] for path, after in t.model.state().items())


def test_the_same_seed_gives_the_same_bits() -> None:
    states = []
    for _ in range(2):
        t = trainer()
        t.train_epoch()
        states.append(t.model.state())
    assert all(np.array_equal(states[0][path], states[1][path]) for path in states[0])


def test_the_schedule_sets_the_rate_of_every_step() -> None:
    rates: list[float] = []
    t = trainer(lr=0.8, schedule=CosineDecay(length=2))
    t.callbacks.append(Told(lambda metrics: rates.append(t.optimizer.lr)))
    t.train_epoch()
    assert rates == pytest.approx([0.4 * (1 + np.cos(np.pi * i / 8)) for i in range(4)])


def test_a_loss_that_is_not_finite_names_the_layer_and_keeps_the_weights() -> None:
    t = trainer()
    t.model["dense"].weight.assign(np.full((16, 4), np.inf, "float32"))  # type: ignore[union-attr]
    before = t.model.state()
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"loss of step 1.*'dense'"):
        t.train_epoch()
    assert all(after is before[path] for path, after in t.model.state().items())


def test_a_loss_that_is_not_finite_does_not_change_statistics_and_steps() -> None:
    model = tgl.Sequential({"flatten": Flatten(), "norm": BatchNorm(16), "dense": Dense(16, 4, rng=0)})
    batches = Loader(stripes(), batch_size=16, seed=0, workers=0)
    t = Trainer(model, softmax_cross_entropy, SGD(model.parameters(), lr=0.1), batches)
    model["dense"].bias.assign(np.full(4, np.nan, "float32"))  # type: ignore[union-attr]
    before = model.state()
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError):
        t.train_epoch()
    assert all(np.array_equal(after, before[path], equal_nan=True) for path, after in model.state().items())
    assert model.steps == 0


def test_a_gradient_that_is_not_finite_names_the_parameter_and_keeps_the_weights() -> None:
    t, usual = trainer(), softmax_cross_entropy
    before = t.model.state()
    t.loss = lambda logits, labels: usual(logits, labels) + tgl.sqrt(logits.sum() * 0)  # 0, with an infinite slope
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteError, match=r"gradient of 'dense.weight' in step 1: "),
    ):
        t.train_epoch()
    assert all(after is before[path] for path, after in t.model.state().items())
    assert (t.model.steps, t.state()["loader"]["batch"]) == (0, 0)
    t.loss = usual
    t.train_epoch()
    again = trainer()
    again.train_epoch()
    assert all(np.array_equal(a, again.model.state()[path]) for path, a in t.model.state().items())


@pytest.mark.parametrize("columns", [False, True])
def test_one_logit_is_right_if_its_sign_is_right(columns: bool) -> None:
    logits, labels = np.array([[2.0], [-1.0], [3.0], [-2.0]]), np.array([1, 1, 0, 0])
    assert accuracy(logits, labels.astype("float32")[:, None] if columns else labels).sum() == 2


def test_evaluation_restores_the_mode_of_each_layer() -> None:
    t = trainer()
    t.model["dense"].eval()  # type: ignore[union-attr]
    evaluate(t.model, t.loss, t.test)  # type: ignore[arg-type]
    assert t.model.training
    assert not t.model["dense"].training  # type: ignore[union-attr]


def test_an_update_from_several_batches_equals_one_from_a_large_batch() -> None:
    data = stripes(60)
    updates = []
    for batch_size, accumulate in ((32, 1), (8, 4)):  # 60 images: one update of 32 and one of 28
        model = tgl.Sequential({"flatten": Flatten(), "dense": Dense(16, 4, rng=0)})
        batches = Loader(data, batch_size=batch_size, seed=0, workers=0)
        optimizer = SGD(model.parameters(), lr=0.5, momentum=0.9)
        t = Trainer(model, softmax_cross_entropy, optimizer, batches, accumulate=accumulate)
        t.train_epoch()
        assert t.steps == 2
        updates.append(model.state())
    assert all(np.allclose(updates[0][path], updates[1][path], atol=1e-6) for path in updates[0])


def test_training_ends_early_once_validation_no_longer_improves() -> None:
    part = Loader(stripes(32), batch_size=16, shuffle=False, workers=0)
    t = trainer(lr=0.0, callbacks=[EarlyStopping(patience=3)], validation=part)
    reason = t.train(50)
    assert t.epoch == 4, "the first epoch is the best, and three more follow"
    assert reason is not None
    assert "of epoch 1 for 3 epochs" in reason


def test_an_equal_accuracy_is_no_improvement_even_if_the_loss_falls() -> None:
    history = [{"validation": {"accuracy": 0.9, "loss": 1.0 - 0.1 * epoch}} for epoch in range(3)]
    assert (
        EarlyStopping(patience=2).epoch(history) == "no better validation accuracy than 90.00% of epoch 1 for 2 epochs"
    )


def test_history_is_part_of_the_state() -> None:
    t, other = trainer(), trainer()
    t.train(2)
    other.load_state(t.state())
    assert other.history == t.history
    other.train(3)
    assert [m["epoch"] for m in other.history] == [1, 2, 3]
    assert len(t.history) == 2


@pytest.mark.parametrize("schedule", [ReduceOnPlateau(patience=0), WarmUp(length=1, after=ReduceOnPlateau(patience=0))])
def test_a_schedule_gets_the_metric_of_validation_and_not_of_test_images(schedule: Any) -> None:
    with pytest.raises(OptionError, match="expected validation"):
        trainer(schedule=schedule)
    seen: list[float] = []

    class Hears(Constant):
        metric = "loss"

        def observe(self, metric: float) -> None:
            seen.append(metric)

    with pytest.raises(OptionError, match="expected validation, the data whose loss drives"):
        trainer(schedule=Hears())
    assert not seen
    t = trainer(schedule=Hears(), validation=Loader(stripes(32), batch_size=16, shuffle=False, workers=0))
    t.train(1)
    assert seen == [t.history[0]["validation"]["loss"]]


def test_a_schedule_with_a_state_needs_no_validation_images() -> None:
    class Counts(Constant):
        def state(self) -> dict[str, Any]:
            return {"calls": 1}

    trainer(schedule=Counts()).train(1)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: s * Constant(), lambda s: WarmUp(length=0, after=s)])
def test_a_plateau_of_mode_max_gets_the_accuracy(wrap: Any) -> None:
    plateau = ReduceOnPlateau(mode="max")
    t = trainer(schedule=wrap(plateau), validation=Loader(stripes(32), batch_size=16, shuffle=False, workers=0))
    t.train(1)
    assert plateau.best == t.history[0]["validation"]["accuracy"]


def test_all_callbacks_get_the_last_epoch_and_the_state_keeps_the_reason() -> None:
    heard: list[int] = []

    class Hears(Callback):
        def epoch(self, history: Any) -> None:
            heard.append(len(history))

    class Ends(Callback):
        def __init__(self, reason: str) -> None:
            self.reason = reason

        def epoch(self, history: Any) -> str | None:
            return self.reason if len(history) == 2 else None

    t = trainer(callbacks=[Ends("enough"), Ends("later"), Hears()])
    assert t.train(5) == "enough"
    assert heard == [1, 2]
    other = trainer()
    other.load_state(t.state())
    assert other.train(5) == "enough"
    assert other.epoch == 2
    other.load_state(trainer().state())
    assert other.train(1) is None


@pytest.mark.parametrize(("accumulate", "step"), [(1, 3), (2, 4)])
def test_after_a_loss_that_is_not_finite_its_update_is_repeated(accumulate: int, step: int) -> None:
    """The batch is neither skipped nor counted, and the gradients of its update are accumulated again."""
    model = tgl.Sequential({"flatten": Flatten(), "norm": BatchNorm(16), "dense": Dense(16, 4, rng=0)})
    trainers = []
    for one in (model, tgl.Sequential({"flatten": Flatten(), "norm": BatchNorm(16), "dense": Dense(16, 4, rng=0)})):
        batches = Loader(stripes(), batch_size=16, seed=0, workers=0)
        trainers.append(
            Trainer(one, softmax_cross_entropy, SGD(one.parameters(), lr=0.1), batches, accumulate=accumulate)
        )
    t, whole = trainers
    usual = t.loss
    t.loss = lambda logits, labels: usual(logits, labels) * (np.float32("nan") if model.steps == step else 1)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError):
        t.train_epoch()
    first = step - accumulate  # batches of the earlier updates
    state = t.state()
    assert (state["loader"]["batch"], state["model_steps"], state["steps"]) == (first, first, first // accumulate)
    assert state["sums"]["images"] == 16 * first
    assert not any(p.node.grad is not None for p in model.parameters().values() if p.node)
    t.loss = usual
    t.train_epoch()
    whole.train_epoch()
    assert all(np.array_equal(a, whole.model.state()[path]) for path, a in model.state().items())
    assert t.history[0]["loss"] == whole.history[0]["loss"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": "lenet5"}, "model to be a layer, got 'lenet5'"),
        ({"loss": "softmax_cross_entropy"}, "loss to be a function of logits and labels"),
        ({"optimizer": SGD}, "optimizer to be one, .*, got the class SGD"),
        ({"batches": stripes()}, r"batches to be a Loader, such as Loader\(data\), got Dataset"),
        ({"validation": stripes()}, "validation to be a Loader"),
        ({"test": stripes()}, "test to be a Loader"),
        ({"schedule": "one_cycle"}, "schedule to be one"),
        ({"callbacks": EarlyStopping(patience=1)}, "callbacks to be a list"),
        ({"callbacks": [print]}, "each of callbacks to be a Callback"),
        ({"callbacks": [EarlyStopping(patience=1)]}, "validation, the data whose headline score drives EarlyStopping"),
        ({"clip": 1.0}, "clip to be a function"),
        ({"optimizer": SGD(Dense(2, 2).parameters(), lr=0.1)}, "an optimizer of the model's parameters"),
    ],
)
def test_wrong_arguments_of_a_trainer_are_refused(wrong: dict[str, Any], told: str) -> None:
    model = Dense(4, 4)
    usual: dict[str, Any] = {
        "model": model,
        "loss": softmax_cross_entropy,
        "optimizer": SGD(model.parameters(), lr=0.1),
        "batches": Loader(stripes()),
    }
    with pytest.raises(OptionError, match=f"^Trainer: expected {told}"):
        Trainer(**usual | wrong)


def test_a_model_without_parameters_to_learn_is_refused() -> None:
    model = Dense(4, 4)
    optimizer = SGD(model.parameters(), lr=0.1)
    model.freeze()
    with pytest.raises(OptionError, match="expected a model with parameters that learn, got none; unfreeze"):
        Trainer(model, softmax_cross_entropy, optimizer, Loader(stripes()))


def test_a_data_set_in_place_of_batches_is_refused() -> None:
    with pytest.raises(OptionError, match="evaluate: expected batches to be pairs of images and labels"):
        evaluate(Dense(4, 4), softmax_cross_entropy, stripes())  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"Trainer\.train: expected epochs to be a number"):
        trainer().train(2.5)  # type: ignore[arg-type]


def test_a_loss_must_be_a_scalar() -> None:
    t = trainer()
    t.loss = lambda logits, labels: softmax_cross_entropy(logits, labels, reduction="none")
    with pytest.raises(ShapeError, match=r"the mean over a batch, got shape \(16,\)"):
        t.train_epoch()
    with pytest.raises(ShapeError, match="reduction='mean'"):
        evaluate(t.model, t.loss, t.batches)


def test_accumulated_gradients_are_clipped_once_an_update() -> None:
    norms: list[float] = []
    t = trainer(lr=1.0, accumulate=2, clip=lambda parameters: norms.append(clip_by_norm(parameters, 0.01)))
    before = t.model.state()
    t.train_epoch()
    assert len(norms) == t.steps == 2
    assert min(norms) > 0.01
    moved = sum(((array - before[path]) ** 2).sum() for path, array in t.model.state().items())
    assert 0 < moved <= (2 * 0.01) ** 2 * 1.001
    with pytest.raises(CaptureError, match="expected no clip"):
        trainer(clip=lambda parameters: None, capture=True)
