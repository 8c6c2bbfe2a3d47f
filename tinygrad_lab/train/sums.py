"""Sums of loss and headline score, kept on the device until they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, backend_of, device_name, fresh, namespace, transfer
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.train.metrics import HEADLINES, Score


def scalar(loss: Any) -> Any:
    """Return a batch's loss after a check that it is a scalar, the mean over the images.

    Raises
    ------
    ShapeError
        The loss is not a scalar.
    """
    if shape := unbox(loss).shape:
        raise ShapeError(f"loss: expected a scalar, the mean over a batch, got shape {shape}; use reduction='mean'")
    return loss


def of_batch(loss: Array, outputs: Any, labels: Array, headline: Score = HEADLINES["accuracy"]) -> Array:
    """Return a batch's summed loss and the sums of its headline score, for `Sums.add`.

    Shapes
    ------
    loss (), outputs (N, K), labels (N,) or (N, K) -> (1 + S,), float64 on the batch's device
    """
    xp, sums = namespace(loss), headline.sums(outputs, labels)
    both = xp.empty((1 + len(sums),), xp.float64)
    both[0], both[1:] = loss.astype(xp.float64) * len(labels), sums
    return both


class Sums:
    """Summed loss and headline score over a number of images.

    On a GPU, `add` does not wait; `read` waits once for everything added before. The sums are float64, in the order of
    the batches, so every device returns the same sum for the same losses.

    Parameters
    ----------
    loss, images : float
        The initial values.
    right : float or sequence of float
        The initial sums of the headline score: the number of right answers, if the score is accuracy.

    Examples
    --------
    >>> sums = Sums()
    >>> sums.add(np.array([2.0, 3.0]), 4)
    >>> sums.read()
    {'loss': 2.0, 'right': 3.0, 'images': 4.0}
    """

    def __init__(self, *, loss: float = 0.0, right: float | Sequence[float] = 0.0, images: float = 0.0) -> None:
        self.known: dict[str, Any] = {"loss": float(loss), "right": _plain(right), "images": float(images)}
        self._there: Any = None  # all sums, on the device
        self._images = float(images)

    def add(self, batch: Array, images: int) -> None:
        """Add the result of `of_batch` and the number of the batch's images."""
        before = self._there
        if before is None and self._images:  # continue from the values that were read before
            before = transfer(np.hstack([self.known["loss"], self.known["right"]]), device_name(batch))
        self._there = fresh(batch) if before is None else before + batch
        self._images += images

    def read(self) -> dict[str, Any]:
        """Return the sums over all batches so far. Only this method waits for the device."""
        if self._images != self.known["images"]:
            loss, *right = backend_of(self._there).to_numpy(self._there).tolist()
            self.known = {"loss": loss, "right": _plain(right), "images": self._images}
        return dict(self.known)


def _plain(right: float | Sequence[float]) -> float | list[float]:
    """Return one sum as a number, and several as a list."""
    sums = [float(one) for one in np.atleast_1d(np.asarray(right))]
    return sums[0] if len(sums) == 1 else sums
