"""Pipelines of augmentations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from tinygrad_lab.arguments import Checked, expect
from tinygrad_lab.backend import Array
from tinygrad_lab.data.augment.base import Augmentation, Geometric
from tinygrad_lab.data.augment.color import Normalize
from tinygrad_lab.data.augment.warp import Fill, compose_maps, warp
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.errors import OptionError
from tinygrad_lab.registry import augmentations

Step = Callable[..., tuple[Array, Array]]


class Compose(metaclass=Checked):
    """Sequence of augmentations; neighbors that move pixels are combined into one warp.

    Parameters
    ----------
    steps : sequence of Augmentation
        The steps in order. Brightness is between 0 and 1 until a `Normalize`.

    Raises
    ------
    OptionError
        A step that needs brightness from 0 to 1 comes after a `Normalize`.

    Examples
    --------
    >>> from tinygrad_lab.data import Flip, RandomCrop
    >>> pipeline = Compose([Flip(), RandomCrop(padding=4), Normalize(mean=(0.5,), std=(0.25,))])
    >>> images, labels = np.zeros((2, 32, 32, 1), np.float32), np.array([0, 1])
    >>> images, labels = pipeline(images, labels, rng=np.random.default_rng(0))
    >>> images.shape, pipeline.for_evaluation()
    ((2, 32, 32, 1), Compose([Normalize(mean=(0.5,), std=(0.25,))]))
    """

    def __init__(self, steps: Sequence[Augmentation] = ()) -> None:
        self.steps = tuple(steps)
        for step in self.steps:
            expect("Compose", "each step", step, Augmentation, "an augmentation, such as Flip()")
        normalized = False
        for step in self.steps:
            if normalized and step.bounded:
                raise OptionError(
                    f"Compose: expected {type(step).__name__} before Normalize, because it needs brightness from 0 to "
                    "1, got it after; move Normalize to the end"
                )
            normalized = normalized or isinstance(step, Normalize)
        self._parts: list[Step] = list(_parts(self.steps))

    def __call__(self, images: Array, labels: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the images and labels after all steps; the given arrays are not changed.

        Parameters
        ----------
        images : array of float32
            Brightness from 0 to 1.
        labels : array
            Class numbers, or target numbers.
        rng : numpy.random.Generator
            The source of all random numbers.

        Shapes
        ------
        (N, H, W, C), (N,) -> (N, H', W', C), (N,) or (N, classes)
        """
        for part in self._parts:
            images, labels = part(images, labels, rng=rng)
        return images, labels

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.steps))}])"

    def fit(self, data: Dataset) -> Compose:
        """Return a pipeline with the values that are measured on the training images; this one is unchanged."""
        return Compose([step.fit(data) for step in self.steps])

    def for_evaluation(self) -> Compose:
        """Return the pipeline without its random steps."""
        return Compose([step for step in self.steps if not step.random])

    def in_units(self, targets: Array) -> Array:
        """Return target numbers, or a network's outputs, as they were before all steps, in their own units."""
        for step in reversed(self.steps):
            targets = step.in_units(targets)
        return targets

    def config(self) -> list[dict[str, Any]]:
        """Return the steps as plain values: their registered names and options."""
        return [{"name": augmentations.name_of(type(step)), **step.config()} for step in self.steps]

    @staticmethod
    def from_config(steps: Sequence[Mapping[str, Any]]) -> Compose:
        """Return the pipeline of a configuration.

        Parameters
        ----------
        steps : sequence of dict
            Each has the registered ``"name"`` of an augmentation, and its options.

        Raises
        ------
        PluginError
            An augmentation is unknown.
        ConfigError
            An option is unknown, missing, or of the wrong kind.

        Examples
        --------
        >>> Compose.from_config([{"name": "rotation", "degrees": 10}])
        Compose([Rotation(fill='edge', degrees=10)])
        """
        return Compose([augmentations.make(step) for step in steps])


def _parts(steps: Sequence[Augmentation]) -> Iterator[Step]:
    """Yield the steps; neighbors that move pixels with the same filling are combined."""
    for moves, group in groupby(steps, key=lambda step: isinstance(step, Geometric)):
        if moves:
            yield from (functools.partial(_warp, run) for run in _alike(list(group)))  # type: ignore[arg-type] # Geometric
        else:
            yield from group


def _alike(steps: list[Geometric]) -> list[list[Geometric]]:
    """Split at changes of the filling; a step without a filling joins any group."""
    runs: list[list[Geometric]] = []
    filling = None
    for step in steps:
        if not runs or (step.filling and filling and step.filling != filling):
            runs.append([])
            filling = None
        filling = filling or step.filling
        runs[-1].append(step)
    return runs


def _warp(steps: Sequence[Geometric], images: Array, labels: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
    """Apply several geometric steps as one resampling."""
    size = images.shape[1:3]
    maps = []
    for step in steps:
        maps.append(step.maps(len(images), size, rng=rng))
        size = step.output_size(size)
    fillings: list[Fill] = [step.filling for step in steps if step.filling]
    return warp(images, functools.reduce(compose_maps, maps), fill=(fillings or ["edge"])[0], size=size), labels
