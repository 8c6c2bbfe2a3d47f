"""Standardization of target numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinygrad_lab.backend import Array, device_name, namespace, transfer
from tinygrad_lab.data.augment.base import Augmentation
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class StandardizeTargets(Augmentation):
    """Subtract the mean of each target number and divide by its standard deviation, for regression.

    out = (target - mean_k) / std_k

    The network then learns numbers of about the size of its first outputs. Predictions and metrics are in the targets'
    own units: `in_units` is the inverse.

    Parameters
    ----------
    mean, std : sequence of K float, optional
        `fit` measures them on the training data.

    Units
    -----
    Targets become numbers of standard deviations from the mean.

    Examples
    --------
    >>> data = Dataset(np.zeros((2, 3), np.float32), np.array([10.0, 30.0]))
    >>> step = StandardizeTargets().fit(data)
    >>> step.mean, step.std
    ((20.0,), (10.0,))
    >>> images, targets = step(data.images, data.labels, rng=np.random.default_rng())
    >>> targets.tolist(), step.in_units(targets).tolist()
    ([[-1.0], [1.0]], [[10.0], [30.0]])
    """

    random: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = ("images", "sequences", "rows")
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self._require((self.mean is None) == (self.std is None), "std", "to be given if and only if mean is")
        if self.mean is not None and self.std is not None:
            object.__setattr__(self, "mean", tuple(self.mean))
            object.__setattr__(self, "std", tuple(self.std))
            self._require(min(self.std) > 0, "std", "above 0")
            self._require(len(self.std) == len(self.mean), "std", f"for {len(self.mean)} targets")

    def fit(self, data: Dataset) -> StandardizeTargets:
        """Return the standardization with the mean and deviation of the targets of a data set, unless they were given.

        A target that never varies is only shifted.

        Raises
        ------
        OptionError
            The data have classes, not target numbers, or are empty.
        """
        if data.task != "regression" or not len(data):
            got = f"{len(data.classes)} classes" if data.task != "regression" else "no examples"
            raise OptionError(f"StandardizeTargets: expected targets that are numbers in {data.name!r}, got {got}")
        if self.mean is not None:
            return self
        targets = data.labels.astype(np.float64)
        mean, std = targets.mean(axis=0), targets.std(axis=0)
        return replace(self, mean=tuple(mean.tolist()), std=tuple(np.where(std > 0, std, 1.0).tolist()))

    def __call__(self, images: Array, labels: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the images and the standardized targets; see `Augmentation.__call__`."""
        mean, std = self._numbers(labels)
        return images, ((labels - mean) / std).astype(labels.dtype)

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the images as they are."""
        return images

    def in_units(self, targets: Array) -> Array:
        """Return standardized targets or outputs in the targets' own units."""
        mean, std = self._numbers(targets)
        return (targets * std + mean).astype(targets.dtype)

    def _numbers(self, targets: Array) -> tuple[Array, Array]:
        """Return the mean and the deviation as float64 on the device of the targets."""
        if self.mean is None or self.std is None:
            raise OptionError("StandardizeTargets: expected the mean and std, got none; use the result of fit(data)")
        if targets.ndim != 2 or targets.shape[1] != len(self.mean):
            raise OptionError(
                f"StandardizeTargets: expected targets (N, {len(self.mean)}), as in fit, got shape {targets.shape}"
            )
        xp = namespace(targets)
        mean, std = (transfer(np.array(part), device_name(targets)) for part in (self.mean, self.std))
        return mean.astype(xp.float64), std.astype(xp.float64)
