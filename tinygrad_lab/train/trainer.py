"""The training loop: forward, loss, backward, update; and the evaluation between epochs."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from tinygrad_lab.arguments import expect
from tinygrad_lab.autograd.settings import detect_anomaly, no_grad
from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.backend import Array, fresh, is_finite, transfer
from tinygrad_lab.data import Loader
from tinygrad_lab.errors import CaptureError, NonFiniteError, OptionError, StateError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Buffer, Parameter
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.schedules import Constant, Schedule
from tinygrad_lab.train.allocator import keep_freed_memory
from tinygrad_lab.train.callbacks import Callback, EarlyStopping, Metrics
from tinygrad_lab.train.capture import CapturedSteps
from tinygrad_lab.train.evaluation import Loss, device_of, evaluate
from tinygrad_lab.train.precision import arithmetic_of
from tinygrad_lab.train.sums import Sums, of_batch, scalar

READ_EVERY = 50  # updates, on a device whose results would have to be waited for


def goes_by_metric(schedule: Schedule) -> bool:
    """Tell whether a schedule goes by a metric: by the position alone it would have no state."""
    return bool(schedule.state())


def _check_parts(model: Any, loss: Any, optimizer: Any, batches: Any, judging: Mapping[str, Any]) -> None:
    """Refuse what nothing can be trained with."""
    expect("Trainer", "model", model, Layer, "a layer")
    expect("Trainer", "loss", loss, Callable, "a function of logits and labels")
    expect("Trainer", "optimizer", optimizer, Optimizer, "one, such as SGD(model.parameters(), lr=0.1)")
    expect("Trainer", "batches", batches, Loader, "a Loader, such as Loader(data)")
    for name, part in judging.items():
        expect("Trainer", name, part, (Loader, type(None)), "a Loader, such as Loader(data, shuffle=False)")
    learned = {id(parameter) for parameter in model.parameters().values() if parameter.node is not None}
    if not learned:
        raise OptionError("Trainer: expected a model with parameters that learn, got none; unfreeze some?")
    if learned.isdisjoint(map(id, optimizer.parameters.values())):
        raise OptionError(
            "Trainer: expected an optimizer of the model's parameters, got one of others; make it of "
            "model.parameters(), after layers were replaced"
        )


def _check_company(schedule: Any, callbacks: Any, clip: Any, validation: Loader | None) -> None:
    """Refuse what cannot go with training, and what goes by a validation part where there is none."""
    expect("Trainer", "schedule", schedule, (Schedule, type(None)), "one, such as OneCycle(length=10)")
    expect("Trainer", "clip", clip, (Callable, type(None)), "a function, such as partial(clip_by_norm, max_norm=1.0)")
    expect("Trainer", "callbacks", callbacks, Sequence, "a list")
    for callback in callbacks:
        expect("Trainer", "each of callbacks", callback, Callback, "a Callback")
    if validation is None and any(isinstance(callback, EarlyStopping) for callback in callbacks):
        raise OptionError("Trainer: expected validation, the data by which EarlyStopping ends training, got none")
    if validation is None and schedule is not None and goes_by_metric(schedule):
        metric = schedule.metric
        raise OptionError(f"Trainer: expected validation, the data whose {metric} {schedule} goes by, got none")


class Trainer:
    """Trains a model epoch by epoch, on the device that the model is on.

    On a device whose results must be waited for, a step waits for nothing: sums stay there and are read every
    `read_every` updates. A loss that is not finite is then found late, so the trainer goes back to where it last read,
    and takes the steps from there one by one, until one raises the error that it raises everywhere.

    Parameters
    ----------
    model : Layer
        What is trained.
    loss : callable
        ``loss(logits, labels)``, a scalar: the mean over the batch. (With a sum, the loss that is told would be
        wrong, and so would the gradient of an update from several batches.) Evaluation uses it too, so that with
        smoothed labels the losses on test images are those of smoothed labels.
    optimizer : Optimizer
        Of the model's parameters.
    batches : Loader
        The training data.
    held_out : Loader, optional
        The test data: evaluated after each epoch, never trained on, and no choice depends on it.
    validation : Loader, optional
        A part of the training data that is set aside, by which choices are made: evaluated after each epoch.
    schedule : Schedule, optional
        From the position in training, in epochs and their fractions, to the factor of the optimizer's own rate. One
        that goes by a metric is told the loss on the validation part, or the accuracy if that is what it goes by.
    callbacks : sequence of Callback
        Told of every update and every epoch.
    accumulate : int
        How many batches one update is made from: the gradient is that of the mean over all of their images, as if they
        were one batch that is too large for the memory. (Statistics of batch normalisation remain those of each.)
    clip : callable, optional
        What is done to the gradients of the optimizer's parameters before each update, such as
        ``partial(clip_by_norm, max_norm=1.0)``.
    read_every : int, optional
        After how many updates the device is waited for and the metrics are read: by default 1 with NumPy, where there
        is nothing to wait for, and 50 elsewhere. Callbacks hear of every update, with the metrics as last read.
    capture : bool
        Whether to take steps by launching graphs; see `tinygrad_lab.train.capture`. Needs a GPU.
    precision : {"float32", "tf32", "bf16", "float16"}
        In which width steps compute; see `tinygrad_lab.train.precision`.

    Attributes
    ----------
    history : list of dict
        The metrics of each epoch so far: epoch, lr, loss, accuracy, seconds, images_per_second, and for the data above
        ``held_out`` and ``validation``, each with loss and accuracy.
    ended : str or None
        The reason for which a callback ended the training, part of the state. Set it to None to train on.

    Raises
    ------
    OptionError
        An update is to be made from less than one batch, or the schedule goes by a metric and there is no validation.
    ShapeError
        The loss is no scalar.
    CaptureError
        Steps are to be captured and cannot be.
    NonFiniteError
        The loss or a gradient became infinite or NaN; the message names the layer where that began, or the parameter.
        The model keeps the weights and statistics that it had before that update, whose first batch is the next one.
        Or, in float16, no update has had finite gradients for a while. (Where a step waits for nothing, gradients are
        not looked at, but the losses that they lead to.)
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
        clip: Callable[[Mapping[str, Parameter]], object] | None = None,
        read_every: int | None = None,
        capture: bool = False,
        precision: str = "float32",
    ) -> None:
        _check_parts(model, loss, optimizer, batches, {"held_out": held_out, "validation": validation})
        _check_company(schedule, callbacks, clip, validation)
        if accumulate < 1:
            raise OptionError(f"Trainer: expected at least one batch an update, got accumulate={accumulate}")
        if capture and accumulate > 1:
            raise CaptureError("Trainer: expected an update from each batch to capture steps, got accumulate > 1")
        if capture and clip is not None:
            raise CaptureError("Trainer: expected no clip to capture steps, got one, which may wait for the device")
        if read_every is not None and read_every < 1:
            raise OptionError(f"Trainer: expected metrics to be read every 1 update or more, got {read_every}")
        keep_freed_memory()  # what one step leaves is what the next one needs
        self.model, self.loss, self.optimizer, self.batches = model, loss, optimizer, batches
        self.held_out, self.validation, self.schedule = held_out, validation, schedule or Constant()
        self.callbacks, self.accumulate, self.clip = list(callbacks), accumulate, clip
        self.base_lr = optimizer.lr
        self.history: list[Metrics] = []
        self.ended: str | None = None
        self.epoch = 0
        self.steps = 0
        self.sums, self.seconds = Sums(), 0.0  # over the steps of this epoch
        self.read_every, self.capture = read_every, capture
        self.arithmetic = arithmetic_of(precision)
        self._captured: CapturedSteps | None = None
        self._careful = False  # whether every step is looked at, for one of this epoch went wrong
        self._read_state: dict[str, Any] | None = None  # as it was when metrics were last read

    def train(self, epochs: int) -> str | None:
        """Train until so many epochs are done in all, or a callback ends it; return its reason.

        After ``train(2)``, ``train(5)`` trains for three more, and a second ``train(2)`` for none.
        """
        expect("Trainer.train", "epochs", epochs, int, "a number of epochs")
        while not self.ended and self.epoch < epochs:
            self.train_epoch()
            for callback in self.callbacks:  # all of them hear of the last epoch too
                reason = callback.epoch(self.history)
                self.ended = self.ended or reason
        return self.ended

    def train_epoch(self) -> Metrics:
        """Train for one epoch, or for the rest of one that was resumed; evaluate, and return the epoch's metrics."""
        self.model.train()
        device = device_of(self.model)
        if self.capture and self._captured is None:
            arithmetic, coming = self.arithmetic, self._rate_in
            self._captured = CapturedSteps(self.model, self.optimizer, self._forward, device, arithmetic, coming)
        with self._captured.session() if self._captured else nullcontext(), self.arithmetic.on(device):
            return self._epoch_on(device)

    def _rate_in(self, steps: int) -> float:
        """Return the learning rate in so many steps."""
        position = self.epoch + (self.batches.position.batch - 1 + steps) / len(self.batches)
        return self.base_lr * self.schedule(position)

    def _epoch_on(self, device: str) -> Metrics:
        while not self._take_steps(device):
            self._careful = True
        self._careful, self._read_state = False, None
        metrics = {"epoch": self.epoch + 1, "lr": self.optimizer.lr, **self._metrics()}
        self.epoch += 1
        self.sums, self.seconds = Sums(), 0.0
        self.history.append(metrics | self._evaluate())
        return self.history[-1]

    def _take_steps(self, device: str) -> bool:
        """Take the steps of the rest of the epoch; return False if a loss was not finite, from where it last was."""
        every = 1 if self._careful else self.read_every or (1 if device == "numpy" else READ_EVERY)
        late = not self._careful and (every > 1 or self._captured is not None)  # losses are looked at afterwards
        start, steps = time.perf_counter() - self.seconds, len(self.batches)
        self._read_state = self.state() if late else None
        go_back = self._back_to_reading if late else self._way_back(self.batches.position.batch)
        for x, labels in self.batches:
            number = self.batches.position.batch
            x, labels = transfer(x, device), transfer(labels, device)
            self.optimizer.lr = self._rate_in(0)
            last = number % self.accumulate == 0 or number == steps
            share = len(labels) / self._images_of_update(number)
            usual = functools.partial(self._usual_step, x, labels, share=share, update=last, check=not late)
            before = self.steps
            if not late and (number - 1) % self.accumulate == 0:
                go_back = self._way_back(number - 1)
            try:
                batch = self._captured.take(x, labels, usual) if self._captured and not self._careful else usual()
            except NonFiniteError:
                go_back()
                raise
            self.sums.add(batch, len(labels))
            self.steps = before + last
            if last and (every == 1 or self.steps % every == 0 or number == steps):
                if not math.isfinite(self.sums.read()["loss"]) and self._read_state:
                    self.load_state(self._read_state)
                    return False
                self._read_state = self.state() if late and number < steps else None
                self._check_updates()
            self.seconds = time.perf_counter() - start
            if last:
                self._tell({"epoch": self.epoch + 1, "step": number, "steps": steps} | self._metrics())
        return True

    def _check_updates(self) -> None:
        try:
            self.arithmetic.check()
        except NonFiniteError:
            self.batches.load_state_dict(self.batches.state_dict())  # so that the next loop goes on here
            raise

    def _back_to_reading(self) -> None:
        if self._read_state is not None:
            self.load_state(self._read_state)

    def _way_back(self, batch: int) -> Callable[[], None]:
        """Return what takes back an update that fails: its first batch comes next, and nothing is left of it."""
        sums, steps, epoch = copy.copy(self.sums), self.model.steps, self.batches.position.epoch
        buffers = [(b, b.value) for b in self.model.buffers().values()]

        def go_back() -> None:
            self.sums = sums
            self._put_back(steps, buffers)
            self.batches.seek(epoch, batch)
            for parameter in self.optimizer.parameters.values():
                if parameter.node is not None:
                    parameter.node.grad = None

        return go_back

    def _usual_step(self, x: Array, labels: Array, **how: Any) -> Array:
        loss, logits = self.train_step(x, labels, **how)
        return of_batch(loss, logits, labels)

    def _forward(self, x: Any, labels: Array) -> tuple[Any, Any]:
        """Return the loss and the logits of a batch."""
        logits = self.arithmetic.forward(self.model, x)
        return scalar(self.loss(logits, labels)), logits

    def _metrics(self) -> Metrics:
        """Return the metrics of the epoch as they were last read."""
        known = self.sums.known
        images = max(1.0, known["images"])
        return {
            "loss": known["loss"] / images,
            "accuracy": known["right"] / images,
            "seconds": round(self.seconds, 4),
            "images_per_second": round(known["images"] / self.seconds, 1) if self.seconds else 0.0,
        }

    def _images_of_update(self, number: int) -> int:
        """How many images the update is made from that batch `number` belongs to."""
        size, images = self.batches.batch_size, len(self.batches) * self.batches.batch_size
        first = (number - 1) // self.accumulate * self.accumulate * size
        return min(first + self.accumulate * size, min(images, len(self.batches.dataset))) - first

    def _tell(self, metrics: Metrics) -> None:
        for callback in self.callbacks:
            callback.step(metrics)

    def _evaluate(self) -> Metrics:
        """Evaluate the model on the data that is not trained on, and tell the schedule of the validation part."""
        metrics: Metrics = {}
        for split, batches in (("held_out", self.held_out), ("validation", self.validation)):
            if batches is not None:
                result = evaluate(self.model, self.loss, batches)
                metrics[split] = {"loss": result.loss, "accuracy": result.accuracy}
        if "validation" in metrics:
            self.schedule.observe(metrics["validation"][self.schedule.metric])
        return metrics

    def state(self) -> dict[str, Any]:
        """Return all that it takes to go on bit for bit: at the end of an epoch, or between two steps.

        If the loss turns out not to be finite, that is the state of before, when it was.
        """
        sums = self.sums.read()
        if self._read_state is not None and not math.isfinite(sums["loss"]):
            return self._read_state
        more: dict[str, Any] = {"arithmetic": self.arithmetic.state(), "ended": self.ended}
        return {
            "model": self._model_state(),
            "model_steps": self.model.steps,
            "optimizer": self.optimizer.state(),
            "schedule": self.schedule.state(),
            "loader": self.batches.state_dict(),
            "base_lr": self.base_lr,
            "epoch": self.epoch,
            "steps": self.steps,
            "sums": {**sums, "seconds": self.seconds},
            "history": list(self.history),
        } | {key: value for key, value in more.items() if value}

    def _model_state(self) -> dict[str, Array]:
        """Return the model's arrays, copied where captured steps change them in place."""
        state = self.model.state()
        return {path: fresh(a) for path, a in state.items()} if self._captured else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was called, with the same recipe.

        Raises
        ------
        StateError
            The state is not one of such a trainer.
        """
        if missing := sorted(self.state().keys() - state.keys() - {"ended"}):
            raise StateError(f"Trainer: expected a state that it returned, missing {missing}")
        self.model.load_state(state["model"])
        self.model.steps = state["model_steps"]
        self.optimizer.load_state(state["optimizer"])
        self.schedule.load_state(state["schedule"])
        self.batches.load_state_dict(state["loader"])
        self.base_lr, self.epoch, self.steps = state["base_lr"], state["epoch"], state["steps"]
        self.ended = state.get("ended")
        self.arithmetic.load_state(state.get("arithmetic", {}))
        sums = dict(state["sums"])
        self.seconds, self.sums, self.history = sums.pop("seconds"), Sums(**sums), list(state["history"])

    def train_step(
        self, x: Array, labels: Array, *, share: float = 1.0, update: bool = True, check: bool = True
    ) -> tuple[Array, Any]:
        """Take one step of gradient descent on a batch and return (loss, logits), on the model's device.

        Parameters
        ----------
        x, labels : array
            The batch.
        share : float
            The part of the update's images that this batch is; its gradient counts that much.
        update : bool
            Whether to update the parameters now, or to let gradients gather.
        check : bool
            Whether to look at the loss and the gradients before they are gone by, which waits for the device.
        """
        steps, buffers = self.model.steps, [(b, b.value) for b in self.model.buffers().values()]
        loss, logits = self._forward(x, labels)
        if check and not is_finite(raw(loss)):
            self.model.steps = steps  # so that the same random numbers are drawn again
            where = self._explain(x, labels)
            self._put_back(steps, buffers)
            raise NonFiniteError(where)
        self.arithmetic.backward(loss if share == 1 else loss * share)
        if check and update and (path := self.arithmetic.not_finite(self.optimizer)):
            self._put_back(steps, buffers)
            raise NonFiniteError(
                f"gradient of {path!r} in step {self.steps + 1}: expected finite numbers, as the loss is; find their "
                "origin with detect_anomaly()"
            )
        if update:
            with self.arithmetic.guarding(self.optimizer):
                if self.clip is not None:
                    self.clip(self.optimizer.parameters)
                self.optimizer.step()
            self.steps += 1
        return raw(loss), logits

    def _put_back(self, steps: int, buffers: list[tuple[Buffer, Array]]) -> None:
        """Take back what a forward leaves in the model."""
        self.model.steps = steps
        for buffer, value in buffers:
            buffer.assign(value)

    def _explain(self, x: Any, labels: Any) -> str:
        """Run the batch again and say where infinities or NaN began."""
        where = f"loss of step {self.steps + 1}: expected a finite number; lower the learning rate, or look at the data"
        try:
            with detect_anomaly(), no_grad():
                self._forward(x, labels)
        except NonFiniteError as error:
            return "; ".join([where, str(error), *getattr(error, "__notes__", [])])
        return where
