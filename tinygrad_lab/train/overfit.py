"""Training on a single batch: a check that network, loss and optimizer can learn at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygrad_lab.backend import Array, transfer
from tinygrad_lab.errors import NonFiniteError, OptionError
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.train.evaluation import device_of
from tinygrad_lab.train.trainer import Trainer

_FACTORS = (1.0, 0.1, 0.01)  # of the learning rate
_ENOUGH = 0.01  # the share of the first loss at which the training ends


@dataclass(frozen=True)
class Overfit:
    """Losses of repeated updates on one batch.

    Parameters
    ----------
    examples : int
        The number of examples in the batch.
    rate : float
        The learning rate.
    losses : list of float
        The loss before each update.

    Examples
    --------
    >>> Overfit(32, 0.1, [2.4, 1.8, 0.3]).learned, Overfit(32, 0.1, [2.4, 2.3, 2.3]).learned
    (True, False)
    """

    examples: int
    rate: float
    losses: list[float]

    @property
    def learned(self) -> bool:
        """Whether the loss fell to less than half; label smoothing and dropout keep it above 0."""
        return self.losses[-1] < self.losses[0] / 2


def overfit_batch(trainer: Trainer, *, steps: int = 200) -> Overfit:
    """Update a network on the first batch of the training data again and again, until it has learned it by heart.

    Every network that is put together right can do that. If the loss does not fall, the training is repeated from the
    initial weights with a tenth of the learning rate, then with a hundredth. If it does not fall then either, the cause
    is a mistake in the labels, the loss or the layers, not a lack of data. The trainer is changed; make another one for
    training.

    Parameters
    ----------
    trainer : Trainer
        A new trainer. Its schedule is not applied.
    steps : int
        The largest number of updates with a rate; fewer are done if the loss falls to 1 % of its first value.

    Returns
    -------
    Overfit
        The losses with the first rate at which the loss fell, or with the last one.

    Raises
    ------
    OptionError
        There are fewer than 2 steps.
    NonFiniteError
        The loss or a gradient is infinite or NaN with the smallest rate too.

    Examples
    --------
    >>> from tinygrad_lab.train.build import build_trainer
    >>> from tinygrad_lab.train.recipe import find_recipe
    >>> recipe = find_recipe("lenet5").override(["data.per_class=2", "data.batch_size=10"])
    >>> overfit_batch(build_trainer(recipe), steps=40).learned
    True
    """
    if steps < 2:
        raise OptionError(f"overfit_batch: expected at least 2 steps, got {steps}")
    device, rate = device_of(trainer.model), trainer.optimizer.lr
    x, labels = (transfer(array, device) for array in next(iter(trainer.batches)))
    weights, state = trainer.model.state(), trainer.optimizer.state()
    trainer.model.train()
    with one_blas_thread(), np.errstate(all="ignore"), trainer.arithmetic.on(device):
        for factor in _FACTORS:
            trainer.model.load_state(weights)
            trainer.optimizer.load_state(state)
            trainer.optimizer.lr = rate * factor
            try:
                found = Overfit(len(labels), trainer.optimizer.lr, _losses(trainer, x, labels, steps))
            except NonFiniteError:
                if factor == _FACTORS[-1]:
                    raise
                continue
            if found.learned:
                break
    trainer.batches.close()
    return found


def _losses(trainer: Trainer, x: Array, labels: Array, steps: int) -> list[float]:
    """Return the losses of repeated updates."""
    losses: list[float] = []
    while len(losses) < steps and (not losses or losses[-1] > _ENOUGH * losses[0]):
        losses.append(float(trainer.train_step(x, labels)[0]))
    return losses
