"""Sums over batches, gathered where the batches are and read only when somebody asks."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.tape import raw
from tinygrad_lab.backend import Array, backend_of, namespace


def right_answers(logits: Any, labels: Array) -> Array:
    """Return how many rows have their largest logit at the label (or at the largest of a row of probabilities).

    Of a tuple the first logits count: the others are those of auxiliary classifiers.
    """
    logits = logits[0] if isinstance(logits, tuple) else logits
    wanted = labels if labels.ndim == 1 else labels.argmax(axis=1)
    return (raw(logits).argmax(axis=1) == wanted).sum()


class Sums:
    """Loss and right answers over a number of images.

    On a GPU, `add` waits for nothing; `read` waits once for all that was added since. Loss is summed in float64, in the
    order of the batches, so that every device finds the same sum for the same losses.

    Parameters
    ----------
    loss, right, images : float
        What to begin with.

    Examples
    --------
    >>> sums = Sums()
    >>> sums.add(np.float32(0.5), np.int64(3), 4)
    >>> sums.read()
    {'loss': 2.0, 'right': 3.0, 'images': 4.0}
    """

    def __init__(self, *, loss: float = 0.0, right: float = 0.0, images: float = 0.0) -> None:
        self.known = {"loss": float(loss), "right": float(right), "images": float(images)}
        self._there: Any = None  # loss and right answers on the device, where they are more than what is known
        self._images = float(images)

    def add(self, loss: Array, right: Array, images: int) -> None:
        """Add a batch: its mean loss, how many of its images were classified rightly, and how many it has."""
        xp = namespace(loss)
        before = (self.known["loss"], self.known["right"]) if self._there is None else self._there
        self._there = (loss.astype(xp.float64) * images + before[0], right + before[1])
        self._images += images

    def read(self) -> dict[str, float]:
        """Return the sums over all batches so far; only this waits for the device."""
        if self._there is not None:
            xp = namespace(self._there[0])
            both = xp.stack([total.astype(xp.float64) for total in self._there])
            loss, right = (float(total) for total in backend_of(both).to_numpy(both))
            self.known = {"loss": loss, "right": right, "images": self._images}
            self._there = None
        return dict(self.known)
