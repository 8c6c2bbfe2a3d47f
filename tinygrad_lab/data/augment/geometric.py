"""Augmentations that move pixels: flip, crop, pad, rotation, shift, zoom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.data.augment.base import Filled, Geometric
from tinygrad_lab.data.augment.warp import Fill, about_center, affine_maps
from tinygrad_lab.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Flip(Geometric):
    """Mirror each image, with a probability for each direction.

    out[i, j] = in[i, W - 1 - j] (horizontal), in[H - 1 - i, j] (vertical)

    Parameters
    ----------
    horizontal, vertical : float
        The probability of exchanging left and right, and top and bottom.

    References
    ----------
    Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks", section
    4.1 (horizontal reflections).

    Examples
    --------
    >>> image = np.array([[[[1], [2], [3]]]], np.float32)
    >>> Flip(horizontal=1.0).change(image, rng=np.random.default_rng(0)).ravel()
    array([3., 2., 1.], dtype=float32)
    """

    horizontal: float = 0.5
    vertical: float = 0.0

    def __post_init__(self) -> None:
        self._require(0 <= self.horizontal <= 1, "horizontal", "to be a probability")
        self._require(0 <= self.vertical <= 1, "vertical", "to be a probability")

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return the maps of the flips; see `Geometric.maps`."""
        flipped = rng.random((count, 2)) < (self.vertical, self.horizontal)
        maps = affine_maps(count)
        for axis, length in enumerate(size):
            maps[flipped[:, axis], axis, axis] = -1
            maps[flipped[:, axis], axis, 2] = length - 1
        return maps


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Filled):
    """Cut a window out of each padded image, at a random position.

    out[i, j] = padded[i + a, j + b], a uniform in 0 .. H + 2 padding - height, b likewise

    Parameters
    ----------
    padding : int
        The number of pixels added on each side first.
    size : (int, int), optional
        Height and width of the window; by default those of the image.
    fill : str
        The filling of the padding: ``"zero"``, ``"edge"`` or ``"reflect"``.

    References
    ----------
    He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", section 4.2 (4 zeros on each side of
    CIFAR-10's images); Krizhevsky, Sutskever and Hinton 2012, section 4.1 (windows of 224x224 out of 256x256).

    Examples
    --------
    >>> image = np.arange(1, 5, dtype=np.float32).reshape(1, 2, 2, 1)
    >>> RandomCrop(padding=1).change(image, rng=np.random.default_rng(0))[0, :, :, 0]
    array([[3., 4.],
           [0., 0.]], dtype=float32)
    """

    padding: int = 4
    size: tuple[int, int] | None = None
    fill: Fill = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.padding >= 0, "padding", "of at least 0")
        object.__setattr__(self, "size", None if self.size is None else tuple(self.size))

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the window's height and width."""
        return self.size or size

    def _room(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the range of the window's position, down and to the right."""
        height, width = self.output_size(size)
        room = size[0] + 2 * self.padding - height, size[1] + 2 * self.padding - width
        if min(room) < 0:
            raise OptionError(
                f"{type(self).__name__}: expected a window of at most {size[0] + 2 * self.padding}x"
                f"{size[1] + 2 * self.padding} for images of {size[0]}x{size[1]} padded by {self.padding}, "
                f"got {height}x{width}"
            )
        return room

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return the maps of the windows; see `Geometric.maps`."""
        maps = affine_maps(count)
        maps[:, :, 2] = rng.integers(0, self._room(size), (count, 2), endpoint=True) - self.padding
        return maps


@dataclass(frozen=True, kw_only=True)
class CenterCrop(RandomCrop):
    """Cut the center out of each padded image; an odd remainder moves the window half a pixel up and left.

    Parameters
    ----------
    padding : int
        The number of pixels added on each side first. Without `size`, images grow by twice as much.
    size : (int, int), optional
        Height and width of the window; by default those of the padded image.
    fill : str
        The filling of the padding: ``"zero"``, ``"edge"`` or ``"reflect"``.

    Examples
    --------
    MNIST's images in the size that LeNet-5 takes:

    >>> images = np.ones((1, 28, 28, 1), np.float32)
    >>> CenterCrop(padding=2).change(images, rng=np.random.default_rng()).shape
    (1, 32, 32, 1)
    """

    random: ClassVar[bool] = False
    padding: int = 0

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the window's height and width."""
        return self.size or (size[0] + 2 * self.padding, size[1] + 2 * self.padding)

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return the maps of the windows; see `Geometric.maps`."""
        maps = affine_maps(count)
        maps[:, :, 2] = np.array(self._room(size)) // 2 - self.padding
        return maps


@dataclass(frozen=True, kw_only=True)
class Rotation(Filled):
    """Rotate each image about its center by a random angle.

    (y, x) - c = R(a) ((i, j) - c), c = ((H - 1)/2, (W - 1)/2), a uniform in [-degrees, degrees]

    Parameters
    ----------
    degrees : float
        The largest angle.
    fill : str
        The filling of the corners: ``"zero"``, ``"edge"`` or ``"reflect"``.

    Units
    -----
    Degrees; positive angles turn the image counter-clockwise.

    References
    ----------
    Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks applied to visual document
    analysis", section 2 (affine distortions).

    Examples
    --------
    >>> image = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1) / 8
    >>> Rotation(degrees=20).change(image, rng=np.random.default_rng(0)).shape
    (1, 3, 3, 1)
    """

    degrees: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.degrees <= 360, "degrees", "from 0 to 360")

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return the maps of the rotations; see `Geometric.maps`."""
        largest = abs(self.degrees)  # -0.0 to 0.0 would be an empty range
        angle = np.deg2rad(rng.uniform(-largest, largest, count))
        cosine, sine = np.cos(angle), np.sin(angle)
        return about_center(
            np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1), size
        )  # (2, 2, N) -> (N, 2, 2)


@dataclass(frozen=True, kw_only=True)
class Shift(Filled):
    """Shift each image by a random fraction of its height and width.

    (y, x) = (i - a H, j - b W), a uniform in [-height, height], b uniform in [-width, width]

    Parameters
    ----------
    height, width : float
        The largest shifts down or up, and to the right or left.
    fill : str
        The filling: ``"zero"``, ``"edge"`` or ``"reflect"``.

    Units
    -----
    Fractions of the image's height and width; fractions of a pixel are interpolated.

    References
    ----------
    Simard, Steinkraus and Platt 2003, section 2.

    Examples
    --------
    >>> image = np.ones((1, 8, 8, 1), np.float32)
    >>> float(Shift(height=0.2, width=0.2).change(image, rng=np.random.default_rng(0)).min())
    1.0
    """

    height: float = 0.1
    width: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.height <= 1, "height", "from 0 to 1, the whole image")
        self._require(0 <= self.width <= 1, "width", "from 0 to 1, the whole image")

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return the maps of the shifts; see `Geometric.maps`."""
        maps = affine_maps(count)
        largest = np.abs([self.height * size[0], self.width * size[1]])  # without the sign of -0.0
        maps[:, :, 2] = rng.uniform(-largest, largest, (count, 2))
        return maps


@dataclass(frozen=True, kw_only=True)
class Zoom(Filled):
    """Magnify or shrink each image about its center, both axes alike.

    (y, x) - c = ((i, j) - c) / z, c = ((H - 1)/2, (W - 1)/2), z uniform in [1 - amount, 1 + amount]

    Parameters
    ----------
    amount : float
        The largest distance of the magnification from 1; below 1.
    fill : str
        The filling around a smaller image: ``"zero"``, ``"edge"`` or ``"reflect"``.

    References
    ----------
    Simard, Steinkraus and Platt 2003, section 2.

    Examples
    --------
    >>> image = np.ones((1, 8, 8, 1), np.float32)
    >>> Zoom(amount=0.1).change(image, rng=np.random.default_rng(0)).shape
    (1, 8, 8, 1)
    """

    amount: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(0 <= self.amount < 1, "amount", "from 0 to below 1")

    def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
        """Return the maps of the magnifications; see `Geometric.maps`."""
        scale = 1 / rng.uniform(1 - self.amount, 1 + self.amount, count)
        return about_center(scale[:, None, None] * np.eye(2), size)
