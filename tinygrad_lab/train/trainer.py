"""The training loop: forward, loss, backward, clip, update, and evaluation after each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_lab.arguments import expect
from tinygrad_lab.autograd.anomaly import detect_anomaly
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, fresh, is_finite, transfer
from tinygrad_lab.data import Loader
from tinygrad_lab.distributed import Group
from tinygrad_lab.errors import NonFiniteError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Constant, Schedule
from tinygrad_lab.train.allocator import keep_freed_memory
from tinygrad_lab.train.blocks import BlockSteps, Parallel
from tinygrad_lab.train.callbacks import Callback, Metrics
from tinygrad_lab.train.checks import check_compatible, check_parallel, check_parts, check_steps
from tinygrad_lab.train.evaluation import Loss, device_of, evaluate
from tinygrad_lab.train.metrics import TASKS, Metric, check_metrics
from tinygrad_lab.train.precision import arithmetic_of
from tinygrad_lab.train.state import check_trainer_state
from tinygrad_lab.train.steps import PlainSteps, choose_steps
from tinygrad_lab.train.sums import Sums, scalar
from tinygrad_lab.train.transaction import Transaction


class Trainer:
    """Trains a model epoch by epoch, on the device that the model is on.

    `train_epoch` and `train_step` are the training loop. The strategies of `tinygrad_lab.train.steps` decide when the
    results of a step are read: on a CPU before each update, on other devices every `read_every` updates.

    Parameters
    ----------
    model : Layer
        The model to train.
    loss : callable
        ``loss(outputs, labels)``, a scalar: the mean over the batch. (With a sum, the reported loss and the gradient of
        an update from several batches would be wrong.) Evaluation uses the same function, with label smoothing if it
        has any.
    optimizer : Optimizer
        The optimizer of the model's parameters.
    batches : Loader
        The training data.
    test : Loader, optional
        The test data. It is evaluated after each epoch, but never used for training or for a choice.
    validation : Loader, optional
        A part of the training data that is set aside for choices: evaluated after each epoch.
    schedule : Schedule, optional
        Maps the position in training, in epochs and their fractions, to a factor of the optimizer's own rate. A
        metric-driven schedule observes its metric on the validation data after each epoch.
    callbacks : sequence of Callback
        Called after every update and every epoch.
    accumulate : int
        The number of batches in one update. The gradient is that of the mean loss over all their images, as for one
        larger batch. (Batch normalization still computes statistics of each batch.)
    clip : callable, optional
        A function of the optimizer's parameters, called before each update to change their gradients, such as
        ``partial(clip_by_norm, max_norm=1.0)``.
    read_every : int, optional
        The number of updates between two readings of the metrics. A reading waits for the device. The default is 1 with
        NumPy, where there is nothing to wait for, and 50 elsewhere. Callbacks get the metrics as last read.
    capture : bool
        Whether to take steps by launching recorded graphs; see `tinygrad_lab.train.capture`. Needs a GPU.
    precision : {"float32", "tf32", "bf16", "float16"}
        The precision of a step's arithmetic; see `tinygrad_lab.train.precision`.
    metrics : mapping of name to function, optional
        What to measure on test and validation data besides loss and headline score: ``metric(outputs, labels)`` returns
        one number for each example, of which the mean is reported; see `tinygrad_lab.train.metrics`.
    parallel : Parallel, optional
        The ranks that share the training; see `tinygrad_lab.train.blocks`. The loader of the training data then has a
        `Shard`.

    Attributes
    ----------
    history : list of dict
        The metrics of each epoch so far: epoch, lr, loss, accuracy, seconds and images_per_second. With test or
        validation data, ``test`` or ``validation`` holds their loss, accuracy and other metrics. If the targets of the
        training data are numbers, ``r2`` takes the place of ``accuracy``.
    headline : Score
        The headline score, accuracy or R².
    ended : str or None
        The reason why a callback ended the training; part of the state. Set it to None to continue.

    Raises
    ------
    OptionError
        `accumulate` is less than one batch, the schedule is driven by a metric and there is no validation data, or a
        metric has the name of another entry of a result, such as ``loss``.
    ShapeError
        The loss is not a scalar.
    CaptureError
        The steps cannot be captured.
    NonFiniteError
        The loss or a gradient became infinite or NaN; the message names the layer where that began, or the parameter.
        The model keeps the weights and statistics from before that update, and training continues at its first batch.
        With float16, the error means that many updates in a row had gradients that were not finite. (If
        ``read_every`` is above 1, only losses are checked, not gradients.)
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        batches: Loader,
        *,
        test: Loader | None = None,
        validation: Loader | None = None,
        schedule: Schedule | None = None,
        callbacks: Sequence[Callback] = (),
        accumulate: int = 1,
        clip: Callable[[Mapping[str, Parameter]], object] | None = None,
        read_every: int | None = None,
        capture: bool = False,
        precision: str = "float32",
        metrics: Mapping[str, Metric] | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        check_parts(model, loss, optimizer, batches, {"test": test, "validation": validation})
        check_compatible(schedule, callbacks, clip, validation)
        check_steps(accumulate, clip, capture, read_every)
        check_parallel(parallel, batches, capture, precision)
        self.headline = TASKS[batches.dataset.task]
        check_metrics("Trainer", metrics or {}, batches.dataset.task)
        keep_freed_memory()  # each step frees arrays that the next one needs again
        self.model, self.loss, self.optimizer, self.batches = model, loss, optimizer, batches
        self.test, self.validation, self.schedule = test, validation, schedule or Constant()
        self.callbacks, self.accumulate, self.clip = list(callbacks), accumulate, clip
        self.base_lr = optimizer.lr
        self.history: list[Metrics] = []
        self.ended: str | None = None
        self.epoch = self.epochs = 0  # epochs so far, and epochs in all
        self.steps = 0  # updates so far
        self.sums, self.seconds = Sums(), 0.0  # over the steps of this epoch
        self.read_every, self.capture, self.parallel = read_every, capture, parallel
        self.arithmetic, self.metrics = arithmetic_of(precision), dict(metrics or {})
        self.strategy: PlainSteps | None = None  # how steps are taken; chosen when the device is known

    @property
    def group(self) -> Group:
        """The ranks that share the training; a group of one without `parallel`."""
        return self.parallel.group if self.parallel else Group()

    def train(self, epochs: int) -> str | None:
        """Train up to a total number of epochs, or until a callback ends the training; return the callback's reason.

        After ``train(2)``, ``train(5)`` trains for three more epochs, and a second ``train(2)`` for none.
        """
        expect("Trainer.train", "epochs", epochs, int, "a number of epochs")
        self.epochs = epochs
        while not self.ended and self.epoch < epochs:
            self.train_epoch()
            for callback in self.callbacks:  # each of them sees the last epoch
                reason = callback.epoch(self.history)
                self.ended = self.ended or reason
        return self.ended

    def train_epoch(self) -> Metrics:
        """Train for one epoch or the rest of a resumed one, evaluate, and return the epoch's metrics."""
        self.model.train()
        device = device_of(self.model)
        steps = self.strategy = self._strategy(device)
        with steps.session(), self.arithmetic.on(device):
            while not self._take_steps(steps, device):
                steps = PlainSteps(self)  # a loss was not finite: check each step since the last reading
        metrics = {"epoch": self.epoch + 1, "lr": self.optimizer.lr, **self._metrics()}
        self.epoch += 1
        self.sums, self.seconds = Sums(), 0.0
        self.history.append(metrics | self._evaluate())
        return self.history[-1]

    def _strategy(self, device: str) -> PlainSteps:
        return BlockSteps(self, self.parallel) if self.parallel else choose_steps(self, device, self.strategy)

    def _take_steps(self, steps: PlainSteps, device: str) -> bool:
        """Take the remaining steps of the epoch; return False after a rollback to the last reading of the metrics."""
        start, count = time.perf_counter() - self.seconds, len(self.batches)
        steps.begin()
        for x, labels in self.batches:
            x, labels = transfer(x, device), transfer(labels, device)
            number = self.batches.position.batch
            update = number % self.accumulate == 0 or number == count
            self.optimizer.lr = self.rate_in(0)
            with steps.transaction(number):
                images = self.batches.images_in(number - 1)
                share = images / self._images_of_update(number)
                self.sums.add(steps.take(x, labels, share=share, update=update), images)
            self.steps += update
            if update and not steps.read(last=number == count):
                return False
            self.seconds = time.perf_counter() - start
            if update:
                for callback in self.callbacks:
                    place = {"epoch": self.epoch + 1, "epochs": max(self.epoch + 1, self.epochs), "step": number}
                    callback.step({**place, "steps": count, **self._metrics()})
        return True

    def train_step(
        self, x: Array, labels: Array, *, share: float = 1.0, update: bool = True, check: bool = True
    ) -> tuple[Array, Any]:
        """Take one step of gradient descent on a batch and return (loss, logits), on the model's device.

        Parameters
        ----------
        x, labels : array
            The batch.
        share : float
            The batch's share of the images of the update, which weights its gradient.
        update : bool
            Whether to update the parameters now, or to accumulate gradients.
        check : bool
            Whether to check the loss and the gradients for NaN and infinity, which waits for the device.
        """
        with Transaction(self) as before:
            loss, logits = self.forward(x, labels)
            if check and not is_finite(unbox(loss)):
                self.model.steps = before.steps  # so that the same random numbers are drawn again
                raise NonFiniteError(self.explain(x, labels))
            self.arithmetic.backward(loss if share == 1 else loss * share)
            if check and update:
                self.check_gradients()
        if update:
            self.update()
        return unbox(loss), logits

    def update(self) -> None:
        """Clip the gradients and update the parameters."""
        with self.arithmetic.guarding(self.optimizer):
            if self.clip is not None:
                self.clip(self.optimizer.parameters)
            self.optimizer.step()

    def forward(self, x: Any, labels: Array) -> tuple[Any, Any]:
        """Return the loss and the logits of a batch."""
        logits = self.arithmetic.forward(self.model, x)
        return scalar(self.loss(logits, labels)), logits

    def rate_in(self, steps: int) -> float:
        """Return the learning rate `steps` steps from now."""
        position = self.epoch + (self.batches.position.batch - 1 + steps) / len(self.batches)
        return self.base_lr * self.schedule(position)

    def check_gradients(self) -> None:
        """Raise a NonFiniteError if a gradient is not finite; this waits for the device."""
        if path := self.arithmetic.not_finite(self.optimizer):
            raise NonFiniteError(
                f"gradient of {path!r} in step {self.steps + 1}: expected finite numbers, got NaN or infinity although "
                "the loss is finite; find the origin with detect_anomaly()"
            )

    def explain(self, x: Any, labels: Any) -> str:
        """Run the batch again, and return a message that says where the first infinity or NaN occurred."""
        where = f"loss of step {self.steps + 1}: expected a finite number; lower the learning rate, or look at the data"
        try:
            with detect_anomaly(), no_grad():
                self.forward(x, labels)
        except NonFiniteError as error:
            return "; ".join([where, str(error), *getattr(error, "__notes__", [])])
        return where

    def _metrics(self) -> Metrics:
        """Return the metrics of the epoch as they were last read."""
        known = self.sums.known
        images = max(1.0, known["images"])
        return {
            "loss": known["loss"] / images,
            self.headline.name: self.headline.value(known["right"], known["images"]),
            "seconds": round(self.seconds, 4),
            "images_per_second": round(known["images"] / self.seconds, 1) if self.seconds else 0.0,
        }

    def _images_of_update(self, number: int) -> int:
        """Return the number of images of the update that batch `number` belongs to."""
        size, images = self.batches.batch_size, len(self.batches) * self.batches.batch_size
        first = (number - 1) // self.accumulate * self.accumulate * size
        return min(first + self.accumulate * size, min(images, len(self.batches.dataset))) - first

    def _evaluate(self) -> Metrics:
        """Evaluate the model on the data that is not trained on, and let the schedule observe its metric."""
        metrics: Metrics = {}
        for split, batches in (("test", self.test), ("validation", self.validation)):
            if batches is not None:
                found = evaluate(
                    self.model, self.loss, batches, self.metrics, headline=self.headline, group=self.group
                )
                metrics[split] = found.scores
        if self.schedule.metric is not None:
            name = self.headline.name if self.schedule.metric == "accuracy" else self.schedule.metric
            self.schedule.observe(metrics["validation"][name])
        return metrics

    def state(self) -> dict[str, Any]:
        """Return everything that training needs to resume bit for bit, after an epoch or between two steps.

        If the loss is not finite, this is the state at the last reading, when the loss was finite.
        """
        sums = self.sums.read()
        if self.strategy is not None and not math.isfinite(sums["loss"]) and (before := self.strategy.last_state()):
            return before
        more: dict[str, Any] = {"arithmetic": self.arithmetic.state(), "ended": self.ended}
        return {
            "model": self._model_state(),
            "model_steps": self.model.steps,
            "optimizer": self.optimizer.state(),
            "schedule": self.schedule.state(),
            "loader": self.batches.state(),
            "base_lr": self.base_lr,
            "epoch": self.epoch,
            "steps": self.steps,
            "sums": {**sums, "seconds": self.seconds},
            "history": list(self.history),
        } | {key: value for key, value in more.items() if value}

    def _model_state(self) -> dict[str, Array]:
        """Return the model's arrays, copied where captured steps change them in place."""
        state = self.model.state()
        return {path: fresh(a) for path, a in state.items()} if self.capture else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of a trainer with the same recipe.

        Raises
        ------
        StateError
            The state does not fit this trainer.
        """
        judged = {"test": self.test, "validation": self.validation}
        splits = [split for split, batches in judged.items() if batches is not None]
        targets = self.batches.dataset.labels[:1]
        expected = 1 if self.headline.finish is None else len(self.headline.sums(targets, targets))
        check_trainer_state(state, splits, headline=self.headline.name, sums=expected)
        self.model.load_state(state["model"])
        self.model.steps = state["model_steps"]
        self.optimizer.load_state(state["optimizer"])
        self.schedule.load_state(state["schedule"])
        self.batches.load_state(state["loader"])
        self.base_lr, self.epoch, self.steps = state["base_lr"], state["epoch"], state["steps"]
        self.ended = state.get("ended")
        self.arithmetic.load_state(state.get("arithmetic", {}))
        sums = dict(state["sums"])
        self.seconds, self.sums, self.history = sums.pop("seconds"), Sums(**sums), list(state["history"])
