"""The training loop: forward, loss, backward, update; and the evaluation between epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.backend import is_finite
from tinygrad_lab.data import Loader
from tinygrad_lab.errors import NonFiniteError, OptionError, StateError
from tinygrad_lab.layer import Layer
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Constant, Schedule
from tinygrad_lab.settings import detect_anomaly, no_grad
from tinygrad_lab.tensor import tensor
from tinygrad_lab.train.callbacks import Callback, Metrics

Loss = Callable[[Any, Any], Any]

_SUMS = ("loss", "right", "images", "seconds")


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a data set: mean loss, the share of images it classes rightly, and how many there were."""

    loss: float
    accuracy: float
    images: int


def _right(logits: Any, labels: Any) -> Any:
    """How many rows have their largest logit at the label (or at the largest of a row of probabilities)."""
    wanted = labels if labels.ndim == 1 else labels.argmax(axis=1)
    return (raw(logits).argmax(axis=1) == wanted).sum()


def evaluate(model: Layer, loss: Loss, batches: Iterable[Any]) -> Evaluation:
    """Return the loss and accuracy of a model in evaluation mode; its mode afterwards is what it was."""
    modes = [(layer, layer.training) for layer in model.layers().values()]
    model.eval()
    total, right, images = 0.0, 0, 0
    try:
        with no_grad():
            for x, labels in batches:
                logits = model(tensor(x))
                total += float(raw(loss(logits, labels))) * len(labels)
                right += int(_right(logits, labels))
                images += len(labels)
    finally:
        for layer, training in modes:
            layer.training = training
    return Evaluation(total / max(1, images), right / max(1, images), images)


class Trainer:
    """Trains a model epoch by epoch.

    Parameters
    ----------
    model : Layer
        What is trained.
    loss : callable
        ``loss(logits, labels)``, a scalar.
    optimizer : Optimizer
        Of the model's parameters.
    batches : Loader
        The training data.
    held_out : Loader, optional
        The test data: evaluated after each epoch, never trained on, and no choice depends on it.
    validation : Loader, optional
        A part of the training data that is set aside, by which choices are made: evaluated after each epoch.
    schedule : Schedule, optional
        From the position in training, in epochs and their fractions, to the factor of the optimizer's own rate.
    callbacks : sequence of Callback
        Told of every update and every epoch.
    accumulate : int
        How many batches one update is made from: the gradient is that of the mean over all of their images, as if they
        were one batch that is too large for the memory. (Statistics of batch normalisation remain those of each.)

    Attributes
    ----------
    history : list of dict
        The metrics of each epoch so far: epoch, lr, loss, accuracy, seconds, images_per_second, and for the data above
        ``held_out`` and ``validation``, each with loss and accuracy.

    Raises
    ------
    OptionError
        An update is to be made from less than one batch.
    NonFiniteError
        The loss became infinite or NaN; the message names the layer where that began. The model keeps the weights
        and statistics that it had before that step.
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        batches: Loader,
        *,
        held_out: Loader | None = None,
        validation: Loader | None = None,
        schedule: Schedule | None = None,
        callbacks: Sequence[Callback] = (),
        accumulate: int = 1,
    ) -> None:
        if accumulate < 1:
            raise OptionError(f"Trainer: expected at least one batch an update, got accumulate={accumulate}")
        self.model, self.loss, self.optimizer, self.batches = model, loss, optimizer, batches
        self.held_out, self.validation, self.schedule = held_out, validation, schedule or Constant()
        self.callbacks, self.accumulate = list(callbacks), accumulate
        self.base_lr = optimizer.lr
        self.history: list[Metrics] = []
        self.epoch = 0
        self.steps = 0
        self.sums = dict.fromkeys(_SUMS, 0.0)  # over the steps of this epoch

    def train(self, epochs: int) -> str | None:
        """Train until so many epochs are done in all, or a callback ends it; return its reason."""
        while self.epoch < epochs:
            self.train_epoch()
            for callback in self.callbacks:
                if reason := callback.epoch(self.history):
                    return reason
        return None

    def train_epoch(self) -> Metrics:
        """Train for one epoch, or for the rest of one that was resumed; evaluate, and return the epoch's metrics."""
        self.model.train()
        sums, start, steps = self.sums, time.perf_counter() - self.sums["seconds"], len(self.batches)
        for number, (x, labels) in enumerate(self.batches, self.batches.position.batch + 1):
            self.optimizer.lr = self.base_lr * self.schedule(self.epoch + (number - 1) / steps)
            last = number % self.accumulate == 0 or number == steps
            loss, logits = self.train_step(x, labels, share=len(labels) / self._images_of_update(number), update=last)
            sums["loss"] += loss * len(labels)
            sums["right"] += int(_right(logits, labels))
            sums["images"] += len(labels)
            sums["seconds"] = time.perf_counter() - start
            if last:
                self._tell({"epoch": self.epoch + 1, "step": number, "steps": steps} | _summary(sums))
        self.epoch += 1
        self.sums = dict.fromkeys(_SUMS, 0.0)
        self.history.append({"epoch": self.epoch, "lr": self.optimizer.lr, **_summary(sums)} | self._evaluate())
        return self.history[-1]

    def _images_of_update(self, number: int) -> int:
        """How many images the update is made from that batch `number` belongs to."""
        size, images = self.batches.batch_size, len(self.batches) * self.batches.batch_size
        first = (number - 1) // self.accumulate * self.accumulate * size
        return min(first + self.accumulate * size, min(images, len(self.batches.dataset))) - first

    def _tell(self, metrics: Metrics) -> None:
        for callback in self.callbacks:
            callback.step(metrics)

    def _evaluate(self) -> Metrics:
        """Evaluate the model on the data that is not trained on, and tell the schedule."""
        metrics: Metrics = {}
        for split, batches in (("held_out", self.held_out), ("validation", self.validation)):
            if batches is not None:
                result = evaluate(self.model, self.loss, batches)
                metrics[split] = {"loss": result.loss, "accuracy": result.accuracy}
        observed = metrics.get("validation") or metrics.get("held_out")
        if observed:
            self.schedule.observe(observed["loss"])
        return metrics

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on bit for bit: at the end of an epoch, or between two steps."""
        return {
            "model": self.model.state(),
            "model_steps": self.model.steps,
            "optimizer": self.optimizer.state(),
            "schedule": self.schedule.state(),
            "loader": self.batches.state_dict(),
            "base_lr": self.base_lr,
            "epoch": self.epoch,
            "steps": self.steps,
            "sums": dict(self.sums),
            "history": list(self.history),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was called, with the same recipe.

        Raises
        ------
        StateError
            The state is not one of such a trainer.
        """
        if missing := sorted(self.state().keys() - state.keys()):
            raise StateError(f"Trainer: expected a state that it returned, missing {missing}")
        self.model.load_state(state["model"])
        self.model.steps = state["model_steps"]
        self.optimizer.load_state(state["optimizer"])
        self.schedule.load_state(state["schedule"])
        self.batches.load_state_dict(state["loader"])
        self.base_lr, self.epoch, self.steps = state["base_lr"], state["epoch"], state["steps"]
        self.sums, self.history = dict(state["sums"]), list(state["history"])

    def train_step(self, x: Any, labels: Any, *, share: float = 1.0, update: bool = True) -> tuple[float, Any]:
        """Take one step of gradient descent on a batch and return (loss, logits).

        Parameters
        ----------
        x, labels : array
            The batch.
        share : float
            The part of the update's images that this batch is; its gradient counts that much.
        update : bool
            Whether to update the parameters now, or to let gradients gather.
        """
        steps, buffers = self.model.steps, [(b, b.value) for b in self.model.buffers().values()]
        logits = self.model(tensor(x))
        loss = self.loss(logits, labels)
        if not is_finite(raw(loss)):
            self.model.steps = steps  # so that the same random numbers are drawn again
            where = self._explain(x, labels)
            self.model.steps = steps
            for buffer, value in buffers:
                buffer.assign(value)
            raise NonFiniteError(where)
        (loss if share == 1 else loss * share).backward()
        if update:
            self.optimizer.step()
            self.steps += 1
        return float(raw(loss)), logits

    def _explain(self, x: Any, labels: Any) -> str:
        """Run the batch again and say where infinities or NaN began."""
        where = f"loss of step {self.steps + 1}: expected a finite number; lower the learning rate, or look at the data"
        try:
            with detect_anomaly(), no_grad():
                self.loss(self.model(tensor(x)), labels)
        except NonFiniteError as error:
            return "; ".join([where, str(error), *getattr(error, "__notes__", [])])
        return where


def _summary(sums: dict[str, float]) -> Metrics:
    images, seconds = max(1, sums["images"]), sums["seconds"]
    return {
        "loss": sums["loss"] / images,
        "accuracy": sums["right"] / images,
        "seconds": round(seconds, 4),
        "images_per_second": round(sums["images"] / seconds, 1) if seconds else 0.0,
    }
