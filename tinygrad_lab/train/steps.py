"""Strategies for training steps: when results are read, and how far a failed step rolls back."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import NonFiniteError
from tinygrad_lab.train.capture import CapturedSteps
from tinygrad_lab.train.metrics import Score
from tinygrad_lab.train.precision import Arithmetic
from tinygrad_lab.train.sums import of_batch
from tinygrad_lab.train.transaction import Training, Transaction

READ_EVERY = 50  # updates, on a device on which reading a result means waiting for it


class SteppedTraining(Training, Protocol):
    """The parts of a trainer that strategies use."""

    steps: int
    accumulate: int
    read_every: int | None
    capture: bool
    arithmetic: Arithmetic
    headline: Score

    def train_step(
        self, x: Array, labels: Array, *, share: float, update: bool, check: bool = True
    ) -> tuple[Array, Any]:
        """Take one step of gradient descent and return (loss, logits)."""

    def forward(self, x: Any, labels: Array) -> tuple[Any, Any]:
        """Return the loss and the logits of a batch."""

    def update(self) -> None:
        """Update the parameters from their gradients."""

    def check_gradients(self) -> None:
        """Raise a NonFiniteError if a gradient is not finite."""

    def explain(self, x: Any, labels: Any) -> str:
        """Return a message that says where the first infinity or NaN occurs in a batch."""

    def rate_in(self, steps: int) -> float:
        """Return the learning rate `steps` steps from now."""


class PlainSteps:
    """Steps whose loss and gradients are checked before each update; a failed step rolls back its own update.

    Parameters
    ----------
    trainer : SteppedTraining
        The trainer that takes the steps.
    """

    def __init__(self, trainer: SteppedTraining) -> None:
        self.trainer = trainer
        self.current: Transaction

    def session(self) -> AbstractContextManager[None]:
        """Return a ``with`` block for an epoch."""
        return nullcontext()

    def begin(self) -> None:
        """Prepare for the steps of an epoch, or of the rest of one."""
        self.current = Transaction(self.trainer, batch=self.trainer.batches.position.batch)

    def transaction(self, number: int) -> Transaction:
        """Return the transaction of batch `number`: the first batch of an update begins a new one."""
        if (number - 1) % self.trainer.accumulate == 0:
            self.current = Transaction(self.trainer, batch=number - 1)
        return self.current

    def take(self, x: Array, labels: Array, *, share: float, update: bool) -> Array:
        """Take a step and return its contribution to the sums."""
        loss, logits = self.trainer.train_step(x, labels, share=share, update=update)
        return of_batch(loss, logits, labels, self.trainer.headline)

    def read(self, *, last: bool) -> bool:
        """Read the metrics after an update; return False if the trainer was rolled back.

        `last` says whether this is the last update of the epoch.
        """
        self.trainer.sums.read()
        self._check_updates()
        return True

    def last_state(self) -> dict[str, Any] | None:
        """Return the trainer's state at the last reading, or None if it was not saved."""
        return self.current.state

    def _check_updates(self) -> None:
        batches = self.trainer.batches
        try:
            self.trainer.arithmetic.check()
        except NonFiniteError:
            batches.load_state(batches.state())  # so that the next loop continues here
            raise


class LateSteps(PlainSteps):
    """Steps that do not wait for the device: their losses are read every few updates.

    If a loss is not finite, the trainer is rolled back to the last reading and repeats the steps with `PlainSteps`,
    which raises the usual error at the step where it occurs.

    Parameters
    ----------
    trainer : SteppedTraining
        The trainer that takes the steps.
    every : int
        The number of updates between two readings.
    """

    def __init__(self, trainer: SteppedTraining, every: int) -> None:
        super().__init__(trainer)
        self.every = every

    def begin(self) -> None:
        """Save the state to which the first reading may roll back."""
        self.current = Transaction(self.trainer, everything=True)

    def transaction(self, number: int) -> Transaction:
        """Return the transaction of all steps since the last reading."""
        return self.current

    def take(self, x: Array, labels: Array, *, share: float, update: bool) -> Array:
        """Take a step without a check of its loss, and return its contribution to the sums."""
        loss, logits = self.trainer.train_step(x, labels, share=share, update=update, check=False)
        return of_batch(loss, logits, labels, self.trainer.headline)

    def read(self, *, last: bool) -> bool:
        """Read the metrics if that is due; roll back to the last reading if the loss is not finite."""
        if not last and self.trainer.steps % self.every:
            return True
        if not math.isfinite(self.trainer.sums.read()["loss"]):
            self.current.roll_back()
            return False
        if not last:
            self.begin()
        self._check_updates()
        return True


class GraphSteps(LateSteps):
    """Late steps that launch recorded graphs; see `tinygrad_lab.train.capture`.

    Parameters
    ----------
    trainer : SteppedTraining
        The trainer that takes the steps.
    every : int
        The number of updates between two readings.
    device : str
        The model's device, which must have graphs.
    """

    def __init__(self, trainer: SteppedTraining, every: int, device: str) -> None:
        super().__init__(trainer, every)
        self.graphs = CapturedSteps(
            trainer.model, trainer.optimizer, trainer.forward, device, trainer.arithmetic, trainer.rate_in,
            trainer.headline,
        )

    def session(self) -> AbstractContextManager[None]:
        """Return a ``with`` block for all work outside of the graphs."""
        return self.graphs.session()

    def take(self, x: Array, labels: Array, *, share: float, update: bool) -> Array:
        """Launch the graph of a step, or take the step as usual if there is no graph yet."""
        usual = super().take
        return self.graphs.take(x, labels, lambda: usual(x, labels, share=share, update=update))


def choose_steps(trainer: SteppedTraining, device: str, last: PlainSteps | None) -> PlainSteps:
    """Return the strategy for a device. The last one is kept if it has recorded graphs."""
    if trainer.capture:
        every = trainer.read_every or READ_EVERY
        if isinstance(last, GraphSteps):
            return last
        return GraphSteps(trainer, every, device)
    every = trainer.read_every or (1 if device == "cpu" else READ_EVERY)
    return PlainSteps(trainer) if every == 1 else LateSteps(trainer, every)
