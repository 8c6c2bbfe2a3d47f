"""Dry run of a recipe: a few steps whose results are discarded, to predict the time and memory of a run."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.backend import transfer
from tinygrad_lab.data import Loader
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.limits import peak_memory
from tinygrad_lab.tensor import tensor
from tinygrad_lab.train.evaluation import device_of
from tinygrad_lab.train.sums import scalar
from tinygrad_lab.train.trainer import Trainer

_TIMED = 3  # steps after the first, which includes the compilation of kernels


@dataclass(frozen=True)
class DryRun:
    """Measurements of a few steps, and what they predict for a run.

    Parameters
    ----------
    loss : float
        The loss of the first batch.
    start_up : float
        Seconds of the first step, with the compilation of kernels.
    epoch : float
        Predicted seconds of an epoch, with the evaluation after it.
    epochs : int
        The number of epochs in the recipe.
    host_memory : int
        The most bytes of the host's memory that the process has used; a GPU's memory is not included.
    """

    loss: float
    start_up: float
    epoch: float
    epochs: int
    host_memory: int

    @property
    def seconds(self) -> float:
        """The predicted seconds of the whole run."""
        return self.start_up + self.epochs * self.epoch


def dry_run(trainer: Trainer, epochs: int) -> DryRun:
    """Take up to four steps with a new trainer, and predict time and memory. Nothing is written.

    To predict the time of the evaluation, one batch of each evaluated split is evaluated too.
    The trainer is changed; make another one for training.

    Raises
    ------
    NonFiniteError
        The loss or a gradient of these steps is infinite or NaN.
    """
    device = device_of(trainer.model)
    trainer.model.train()
    with one_blas_thread(), np.errstate(all="ignore"), trainer.arithmetic.on(device):
        seconds, loss = _timed_steps(trainer, device)
        judged = sum(
            _timed_evaluation(trainer, part) for part in (trainer.validation, trainer.test) if part is not None
        )
    step = statistics.median(seconds[1:] or seconds)
    return DryRun(loss, seconds[0], step * len(trainer.batches) + judged, epochs, peak_memory())


def _timed_steps(trainer: Trainer, device: str) -> tuple[list[float], float]:
    """Return the seconds of each step, with the preparation of its batch, and the first loss."""
    seconds, losses = [], []
    start = time.perf_counter()
    for x, labels in itertools.islice(trainer.batches, 1 + _TIMED):
        loss, _ = trainer.train_step(transfer(x, device), transfer(labels, device))
        losses.append(float(loss))  # waits for the device
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    trainer.batches.close()
    return seconds, losses[0]


def _timed_evaluation(trainer: Trainer, batches: Loader) -> float:
    """Return the predicted seconds of an evaluation, from its first batch."""

    def evaluate(x: Any, labels: Any) -> None:
        with no_grad():
            float(scalar(trainer.loss(trainer.model(tensor(x)), labels)))

    trainer.model.eval()
    x, labels = next(iter(batches))
    batches.close()
    x, labels = transfer(x, device_of(trainer.model)), transfer(labels, device_of(trainer.model))
    evaluate(x, labels)  # compiles
    start = time.perf_counter()
    evaluate(x, labels)
    return (time.perf_counter() - start) * len(batches.dataset) / len(labels)
