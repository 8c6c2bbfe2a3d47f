"""Cutout and mixup, augmentations that cover or blend images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tinygrad_lab.backend import Array, device_name, namespace, transfer
from tinygrad_lab.data.augment.base import Augmentation
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Cutout(Augmentation):
    """Cover a square of each image, centered at a random pixel and clipped at the border.

    out[i, j] = value if (i, j) is inside the square around (a, b), and in[i, j] otherwise

    Parameters
    ----------
    size : int
        The square's side.
    value : float
        The brightness of the square. After a `Normalize`, as in the paper, 0 is the mean color.

    Units
    -----
    Pixels.

    References
    ----------
    DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout", arXiv:1708.04552,
    section 3.1 (side 16 for CIFAR-10).

    Examples
    --------
    >>> image = np.ones((1, 4, 4, 1), np.float32)
    >>> Cutout(size=2).change(image, rng=np.random.default_rng(0))[0, :, :, 0]
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.],
           [1., 0., 0., 1.],
           [1., 0., 0., 1.]], dtype=float32)
    """

    size: int = 8
    value: float = 0.0

    def __post_init__(self) -> None:
        self._require(self.size >= 1, "size", "of at least 1")

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the images with a square covered; see `Augmentation.change`."""
        first = rng.integers(0, images.shape[1:3], (len(images), 2)) - self.size // 2
        last = np.maximum(first + self.size, 0)
        first = np.maximum(first, 0)
        xp = namespace(images)
        if xp is np:  # one slice per image is faster than a mask over all
            out = images.copy()
            for image, (top, left), (bottom, right) in zip(out, first.tolist(), last.tolist(), strict=True):
                image[top:bottom, left:right] = self.value
            return out
        device = device_name(images)
        covered = [
            (xp.arange(length) >= transfer(first[:, axis, None], device))
            & (xp.arange(length) < transfer(last[:, axis, None], device))
            for axis, length in enumerate(images.shape[1:3])
        ]
        square = covered[0][:, :, None, None] & covered[1][:, None, :, None]  # (N, H), (N, W) -> (N, H, W, 1)
        return xp.where(square, xp.float32(self.value), images)


@dataclass(frozen=True, kw_only=True)
class Mixup(Augmentation):
    """Blend each image with another one of the batch, and their labels or target numbers likewise.

    out = l x_i + (1 - l) x_j, label = l y_i + (1 - l) y_j,
    j a random permutation of the batch, l drawn from Beta(alpha, alpha) for each image

    Parameters
    ----------
    classes : int, optional
        The number of classes. By default, `fit` takes it from the training images. Target numbers need none.
    alpha : float
        Small values hardly mix; with 1 any mixture is equally likely. The paper uses 0.2 to 1.

    Returns
    -------
    images, labels
        The labels are probabilities: float32, (N, classes); target numbers keep their shape.

    References
    ----------
    Zhang, Cisse, Dauphin and Lopez-Paz 2018, "mixup: beyond empirical risk minimization", arXiv:1710.09412, section 2,
    equation 1. Deviation: the paper's code draws one l for a whole batch.

    Examples
    --------
    >>> images, labels = np.zeros((2, 1, 1, 1), np.float32), np.array([0, 1])
    >>> _, mixed = Mixup(classes=2, alpha=1.0)(images, labels, rng=np.random.default_rng(0))
    >>> mixed.sum(axis=1)
    array([1., 1.], dtype=float32)
    """

    classes: int | None = None
    alpha: float = 0.2

    def __post_init__(self) -> None:
        self._require(self.alpha > 0, "alpha", "above 0")
        self._require(self.classes is None or self.classes >= 1, "classes", "of at least 1")

    def fit(self, data: Dataset) -> Self:
        """Return the augmentation with the number of classes of a data set, unless it was given.

        Raises
        ------
        OptionError
            There are more classes than were given, or classes are given and the labels are numbers.
        """
        if data.task == "regression":
            self._require(self.classes is None, "classes", f"None for {data.name!r}, whose labels are numbers")
            return self
        if self.classes is None:
            return replace(self, classes=len(data.classes))
        most = int(data.labels.max(initial=0))
        self._require(most < self.classes, "classes", f"above the largest label, {most}")
        return self

    def __call__(self, images: Array, labels: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the blended images and their labels' probabilities; see `Augmentation.__call__`."""
        if self.classes is None and labels.dtype.kind != "f":
            raise OptionError(
                "Mixup: expected the number of classes, got none; give it, or use the result of fit(training images)"
            )
        weight = rng.beta(self.alpha, self.alpha, len(images)).astype(np.float32)
        other = transfer(rng.permutation(len(images)), device_name(images))
        weight = transfer(weight, device_name(images))
        probabilities = labels if self.classes is None else _probabilities(labels, self.classes)
        across = weight[:, None, None, None]
        mixed = across * images + (1 - across) * images[other]
        return mixed, weight[:, None] * probabilities + (1 - weight[:, None]) * probabilities[other]


def _probabilities(labels: Array, classes: int) -> Array:
    """Return class numbers as one-hot rows; rows of probabilities as they are."""
    if labels.ndim == 2 and labels.shape[1] == classes:
        return labels
    xp = namespace(labels)
    if labels.ndim != 1 or (xp is np and labels.size and labels.max() >= classes):  # other devices would have to wait
        most = labels.max(initial=0) if xp is np else "?"
        raise OptionError(
            f"Mixup: expected labels below {classes} classes, got up to {most} in an array of shape {labels.shape}"
        )
    return xp.eye(classes, dtype=xp.float32)[labels]  # (N,) -> (N, classes)
