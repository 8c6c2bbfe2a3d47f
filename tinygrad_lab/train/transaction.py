"""Transaction of an update: it restores the trainer if the loss or a gradient is not finite."""

from __future__ import annotations

import copy
from types import TracebackType
from typing import Any, Protocol

from tinygrad_lab.data import Loader
from tinygrad_lab.errors import NonFiniteError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.train.sums import Sums


class Training(Protocol):
    """The parts of a trainer that an update changes."""

    model: Layer
    optimizer: Optimizer
    batches: Loader
    sums: Sums

    def state(self) -> dict[str, Any]:
        """Return the whole state."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a `state`."""


class Transaction:
    """A part of training that is undone if its loss or gradients are not finite.

    A `NonFiniteError` inside the ``with`` block rolls it back: step counters, buffers and gradients get the values that
    they had when the transaction was made. (Weights do not change before the check.)

    Parameters
    ----------
    trainer : Training
        The trainer that takes the update.
    batch : int, optional
        The batch of this epoch at which the loader continues after a rollback. By default the loader does not move.
    everything : bool
        Whether to save the whole state of the trainer, including the weights. It is needed if an error is found only
        some updates after it happened.
    """

    def __init__(self, trainer: Training, *, batch: int | None = None, everything: bool = False) -> None:
        self.trainer = trainer
        self.state: dict[str, Any] | None = trainer.state() if everything else None
        self.steps, self.sums = trainer.model.steps, copy.copy(trainer.sums)
        self.buffers = [(buffer, buffer.value) for buffer in trainer.model.buffers().values()]
        nodes = [parameter.node for parameter in trainer.optimizer.parameters.values()]
        self.gradients = [(node, node.grad) for node in nodes if node is not None]
        self.position = None if batch is None else (trainer.batches.position.epoch, batch)

    def roll_back(self) -> None:
        """Restore the state at the time when the transaction was made."""
        if self.state is not None:
            self.trainer.load_state(self.state)
            return
        self.trainer.model.steps, self.trainer.sums = self.steps, self.sums
        for buffer, value in self.buffers:
            buffer.assign(value)
        for node, gradient in self.gradients:
            node.grad = gradient
        if self.position is not None:
            self.trainer.batches.seek(*self.position)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(value, NonFiniteError):
            self.roll_back()
