"""Sums of loss and right answers, kept on the device until they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, backend_of, device_name, fresh, namespace, transfer
from tinygrad_lab.errors import ShapeError
from tinygrad_lab.train.metrics import accuracy


def right_answers(logits: Any, labels: Array) -> Array:
    """Return the number of right answers; see `accuracy`."""
    return accuracy(logits, labels).sum()


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


def of_batch(loss: Array, logits: Any, labels: Array) -> Array:
    """Return a batch's summed loss and number of right answers, in float64 on the batch's device, for `Sums.add`."""
    xp = namespace(loss)
    right = right_answers(logits, labels)
    both = xp.empty((2,), xp.float64)
    both[0], both[1] = loss.astype(xp.float64) * len(labels), right
    return both


class Sums:
    """Summed loss and right answers over a number of images.

    On a GPU, `add` does not wait; `read` waits once for everything added before. The sums are float64, in the order of
    the batches, so every device returns the same sum for the same losses.

    Parameters
    ----------
    loss, right, images : float
        The initial values.

    Examples
    --------
    >>> sums = Sums()
    >>> sums.add(np.array([2.0, 3.0]), 4)
    >>> sums.read()
    {'loss': 2.0, 'right': 3.0, 'images': 4.0}
    """

    def __init__(self, *, loss: float = 0.0, right: float = 0.0, images: float = 0.0) -> None:
        self.known = {"loss": float(loss), "right": float(right), "images": float(images)}
        self._there: Any = None  # both sums, on the device
        self._images = float(images)

    def add(self, batch: Array, images: int) -> None:
        """Add the result of `of_batch` and the number of the batch's images."""
        before = self._there
        if before is None and any(self.known.values()):  # continue from the values that were read before
            before = transfer(np.array([self.known["loss"], self.known["right"]]), device_name(batch))
        self._there = fresh(batch) if before is None else before + batch
        self._images += images

    def read(self) -> dict[str, float]:
        """Return the sums over all batches so far. Only this method waits for the device."""
        if self._images != self.known["images"]:
            loss, right = (float(total) for total in backend_of(self._there).to_numpy(self._there))
            self.known = {"loss": loss, "right": right, "images": self._images}
        return dict(self.known)
