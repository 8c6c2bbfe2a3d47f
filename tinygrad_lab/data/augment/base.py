"""Base classes of augmentations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tinygrad_lab.arguments import Checked
from tinygrad_lab.backend import Array
from tinygrad_lab.data.augment.warp import Fill, check_fill, warp
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Augmentation(metaclass=Checked):
    """A random change of a batch of images, drawn again for every image.

    A subclass is a frozen dataclass whose fields are its options, and implements `change`; one that changes the labels
    too overrides `__call__`. Third parties register it in the group ``tinygrad_lab.augmentations``.

    Images are float32, (N, H, W, C), with brightness from 0 to 1 (until they are normalized). All random numbers come
    from the given generator, so the same generator gives the same images.

    Attributes
    ----------
    random : bool
        Whether it is for training only; `Compose.for_evaluation` then leaves it out.
    bounded : bool
        Whether it expects brightness from 0 to 1, so that it must come before a `Normalize`.
    examples : tuple of str
        The examples that it can change: ``"images"``, ``"sequences"`` or ``"rows"``.
    """

    random: ClassVar[bool] = True
    bounded: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = ("images",)

    def __call__(self, images: Array, labels: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return the changed images and their labels; the given arrays are not changed."""
        return self.change(images, rng=rng), labels

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the changed images.

        Shapes
        ------
        (N, H, W, C) -> (N, H', W', C)
        """
        raise NotImplementedError(f"{type(self).__name__}: expected a method change(images, *, rng)")

    def fit(self, data: Dataset) -> Self:
        """Return the augmentation with the values that are measured on the training images."""
        return self

    def in_units(self, targets: Array) -> Array:
        """Return target numbers, or a network's outputs, as they were before this step: here unchanged."""
        return targets

    def config(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return asdict(self)

    def _require(self, holds: bool, option: str, expected: str) -> None:
        if not holds:
            raise OptionError(f"{type(self).__name__}: expected {option} {expected}, got {getattr(self, option)!r}")


@dataclass(frozen=True, kw_only=True)
class Geometric(Augmentation):
    """An augmentation that moves pixels by an affine map (see `warp`); neighbors in a `Compose` become one map.

    Attributes
    ----------
    filling : str or None
        The filling outside of the image; None if it is never visible.
    """

    @property
    def filling(self) -> Fill | None:
        """The filling outside of the image; None if it is never visible."""
        return None

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return one map per image, from output to input pixels.

        Shapes
        ------
        (count, 2, 3), float64
        """
        raise NotImplementedError(f"{type(self).__name__}: expected a method maps(count, size, *, rng)")

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of the output for images of a height and width."""
        return size

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the images, warped by the maps that are drawn for them."""
        size = images.shape[1:3]
        maps = self.maps(len(images), size, rng=rng)
        return warp(images, maps, fill=self.filling or "edge", size=self.output_size(size))


@dataclass(frozen=True, kw_only=True)
class Filled(Geometric):
    """A geometric augmentation with an option `fill`."""

    fill: Fill = "edge"

    def __post_init__(self) -> None:
        check_fill(type(self).__name__, self.fill)

    @property
    def filling(self) -> Fill | None:
        """The filling outside of the image."""
        return self.fill
