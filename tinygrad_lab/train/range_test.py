"""Learning-rate range test: short training at rising rates, which shows where the loss falls and where it explodes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_lab.backend import transfer
from tinygrad_lab.errors import NonFiniteError, OptionError
from tinygrad_lab.kernels.blas import one_blas_thread
from tinygrad_lab.train.evaluation import device_of
from tinygrad_lab.train.trainer import Trainer

_SMOOTHING = 0.9  # the share of the old mean in the mean of losses
_EXPLODED = 4.0  # times the smallest mean loss


@dataclass(frozen=True)
class RangeTest:
    """Losses at rising learning rates.

    Parameters
    ----------
    rates : list of float
        The learning rate of each update.
    losses : list of float
        The loss of each update's images, computed before the update.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def means(self) -> list[float]:
        """Exponential moving means of the losses, without the bias toward 0 at the beginning."""
        mean, found = 0.0, []
        for count, loss in enumerate(self.losses, 1):
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            found.append(mean / (1 - _SMOOTHING**count))
        return found

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at which the mean loss is smallest; None if the loss did not fall by at least 10 %.

        The smallest mean is close to the rate at which training becomes unstable, hence the tenth.
        """
        means = self.means
        lowest = min(range(len(means)), key=means.__getitem__, default=0)
        if not means or means[lowest] > 0.9 * means[0]:
            return None
        return self.rates[lowest] / 10


def range_test(trainer: Trainer, *, low: float = 1e-5, high: float = 10.0, steps: int = 100) -> RangeTest:
    r"""Train at rates that rise exponentially, from update to update, until the loss explodes.

    .. math:: \eta_i = \eta_0 (\eta_1 / \eta_0)^{i / (n - 1)}

    Only training images are used: batches as in training, through several epochs if necessary. The trainer is changed;
    make another one for training.

    Parameters
    ----------
    trainer : Trainer
        A new trainer. Its schedule is not applied.
    low, high : float
        The first and the last rate.
    steps : int
        The largest number of updates.

    Raises
    ------
    OptionError
        The rates are not positive and rising, or there are fewer than 2 steps.
    NonFiniteError
        The loss or a gradient is infinite or NaN at the lowest rate already.

    References
    ----------
    L. N. Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3, where the rates rise
    linearly. The end of the test and the suggestion are those of fastai.
    """
    if not 0 < low < high or steps < 2:
        raise OptionError(
            f"range_test: expected 0 < low < high and at least 2 steps, got low={low}, high={high}, steps={steps}"
        )
    found, batches, device = RangeTest(), _endless(trainer), device_of(trainer.model)
    trainer.model.train()
    with one_blas_thread(), np.errstate(all="ignore"), trainer.arithmetic.on(device):
        for number in range(steps):
            trainer.optimizer.lr = low * (high / low) ** (number / (steps - 1))
            try:
                loss = _update(trainer, batches, device)
            except NonFiniteError as error:
                if number:
                    break
                raise NonFiniteError(
                    f"range_test: expected a finite loss at the lowest rate, {low:g}, before any update, got: {error}; "
                    "look at the data, the initial weights and the loss"
                ) from error
            found.rates.append(trainer.optimizer.lr)
            found.losses.append(loss)
            if not math.isfinite(found.means[-1]) or found.means[-1] > _EXPLODED * min(found.means):
                break
    trainer.batches.close()
    return found


def _endless(trainer: Trainer) -> Iterator[Any]:
    while True:
        yield from trainer.batches


def _update(trainer: Trainer, batches: Iterator[Any], device: str) -> float:
    """Do one update and return its mean loss."""
    total = 0.0
    for number in range(1, trainer.accumulate + 1):
        x, labels = (transfer(array, device) for array in next(batches))
        last = number == trainer.accumulate
        loss, _ = trainer.train_step(x, labels, share=1 / trainer.accumulate, update=last)
        total += float(loss) / trainer.accumulate
    return total
