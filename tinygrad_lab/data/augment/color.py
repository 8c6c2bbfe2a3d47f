"""Augmentations of brightness and color, and the normalization that usually ends a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinygrad_lab.backend import Array, device_name, namespace, transfer
from tinygrad_lab.data.augment.base import Augmentation
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.errors import OptionError


def _affine(images: Array, scale: Array, shift: Array, *, clip: bool) -> Array:
    """Return scale * images + shift with numbers for each image and channel, optionally clipped to 0 and 1.

    The pixels and channels of a row become one axis, so that NumPy's inner loop runs over all of them and not over
    three channels.

    Shapes
    ------
    images (N, H, W, C), scale and shift (N or 1, C) -> (N, H, W, C)
    """
    scale, shift = (np.tile(a.astype(np.float32), (1, images.shape[2])) for a in (scale, shift))  # -> (N or 1, W*C)
    return _affine_rows(images, *_beside(images, scale, shift), clip=clip)


def _beside(images: Array, *numbers: Array) -> tuple[Array, ...]:
    """Return arrays on the device of the images."""
    return tuple(transfer(a, device_name(images)) for a in numbers)


def _affine_rows(images: Array, scale: Array, shift: Array, *, clip: bool) -> Array:
    """Return scale * images + shift with numbers (N or 1, W*C) for the elements of each row of an image."""
    count, height, width, channels = images.shape
    rows = images.reshape(count, height, width * channels)  # (N, H, W, C) -> (N, H, W*C)
    out = rows * scale[:, None]  # (N or 1, W*C) -> (N or 1, 1, W*C)
    out += shift[:, None]
    return (out.clip(0, 1, out=out) if clip else out).reshape(images.shape)


def _means(images: Array) -> Array:
    """Return the mean of each channel of each image; (N, H, W, C) -> (N, C)."""
    return images.sum(axis=1).mean(axis=1) / images.shape[1]


def _about_means(images: Array, factor: Array) -> Array:
    """Return images stretched about their mean colors by factors (N, C), clipped to 0 and 1."""
    there, back = _beside(images, factor, 1 - factor)
    width = images.shape[2]
    xp = namespace(images)
    scale, shift = (xp.tile(a.astype(xp.float32), (1, width)) for a in (there, back * _means(images)))
    return _affine_rows(images, scale, shift, clip=True)


def _per_image(values: Array, channels: int) -> Array:
    """Repeat a number for each channel; (N,) -> (N, C)."""
    return np.repeat(values[:, None], channels, axis=1)


@dataclass(frozen=True, kw_only=True)
class ChannelShift(Augmentation):
    """Add a random number to each channel of each image.

    out = clip(in + a_c, 0, 1), a_c uniform in [-amount, amount]

    Parameters
    ----------
    amount : float
        The largest shift.

    Units
    -----
    Fractions of full brightness: Keras's ``channel_shift_range=20`` for bytes is 20/255 here.

    References
    ----------
    Keras, ``ImageDataGenerator(channel_shift_range=...)``, which clips to the image's own extremes, not to 0 and 1.

    Examples
    --------
    >>> image = np.full((1, 2, 2, 3), 0.5, np.float32)
    >>> ChannelShift(amount=0.1).change(image, rng=np.random.default_rng(0))[0, 0, 0].round(3)
    array([0.527, 0.454, 0.408], dtype=float32)
    """

    bounded: ClassVar[bool] = True
    amount: float = 0.1

    def __post_init__(self) -> None:
        self._require(self.amount >= 0, "amount", "of at least 0")

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the shifted images; see `Augmentation.change`."""
        shift = rng.uniform(-self.amount, self.amount, (len(images), images.shape[3]))
        return _affine(images, np.ones_like(shift), shift, clip=True)


@dataclass(frozen=True, kw_only=True)
class Brightness(Augmentation):
    """Multiply each image by a random factor.

    out = clip(f in, 0, 1), f uniform in [1 - amount, 1 + amount]

    Parameters
    ----------
    amount : float
        The largest distance of the factor from 1.

    References
    ----------
    Howard 2013, "Some improvements on deep convolutional neural network based image classification", arXiv:1312.5402,
    section 2.2.

    Examples
    --------
    >>> image = np.full((1, 2, 2, 3), 0.5, np.float32)
    >>> Brightness(amount=0.2).change(image, rng=np.random.default_rng(0))[0, 0, 0].round(3)
    array([0.527, 0.527, 0.527], dtype=float32)
    """

    bounded: ClassVar[bool] = True
    amount: float = 0.2

    def __post_init__(self) -> None:
        self._require(self.amount >= 0, "amount", "of at least 0")

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the brighter and darker images; see `Augmentation.change`."""
        factor = _per_image(rng.uniform(1 - self.amount, 1 + self.amount, len(images)), images.shape[3])
        return _affine(images, factor, np.zeros_like(factor), clip=True)


@dataclass(frozen=True, kw_only=True)
class Contrast(Augmentation):
    """Multiply each image's distance from its mean color by a random factor.

    out = clip(m_c + f (in - m_c), 0, 1), m_c the mean of the image's channel, f uniform in [1 - amount, 1 + amount]

    Parameters
    ----------
    amount : float
        The largest distance of the factor from 1.

    References
    ----------
    Howard 2013, arXiv:1312.5402, section 2.2; the mean of each channel, as TensorFlow's ``adjust_contrast``.

    Examples
    --------
    >>> image = np.array([0.4, 0.6], np.float32).reshape(1, 1, 2, 1)
    >>> Contrast(amount=0.2).change(image, rng=np.random.default_rng(0)).ravel().round(3)
    array([0.395, 0.605], dtype=float32)
    """

    bounded: ClassVar[bool] = True
    amount: float = 0.2

    def __post_init__(self) -> None:
        self._require(self.amount >= 0, "amount", "of at least 0")

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the images with more and less contrast; see `Augmentation.change`."""
        factor = _per_image(rng.uniform(1 - self.amount, 1 + self.amount, len(images)), images.shape[3])
        return _about_means(images, factor)


@dataclass(frozen=True, kw_only=True)
class PCAColor(Augmentation):
    """Add a random mixture of the principal colors of the training images to each image.

    out = clip(in + P (a_1 l_1, a_2 l_2, a_3 l_3)', 0, 1), a_i normal with mean 0 and deviation std; P and l are the
    eigenvectors and eigenvalues of the 3x3 covariance of the training images' RGB values

    Parameters
    ----------
    std : float
        The deviation of the mixture's weights; the paper's is 0.1.
    eigenvalues : sequence of C float, optional
        For brightness from 0 to 1. `fit` measures them.
    eigenvectors : sequence of C sequences of float, optional
        Column i belongs to eigenvalue i. `fit` measures them.

    References
    ----------
    Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks", section
    4.1. Deviations: the result is clipped to 0 and 1. The paper does not name the range of brightness. Eigenvalues are
    variances, so its formula is meaningful for 0 to 1, where a tenth of the largest is about 2 % of full brightness;
    for bytes, the added colors would swamp the picture.

    Examples
    --------
    >>> data = Dataset(np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8), np.zeros(5, int))
    >>> fitted = PCAColor(std=0.1).fit(data)
    >>> fitted.change(np.full((1, 4, 4, 3), 0.5, np.float32), rng=np.random.default_rng(0)).shape
    (1, 4, 4, 3)
    """

    bounded: ClassVar[bool] = True
    std: float = 0.1
    eigenvalues: tuple[float, ...] | None = None
    eigenvectors: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        self._require(self.std >= 0, "std", "of at least 0")
        if self.eigenvalues is not None and self.eigenvectors is not None:
            object.__setattr__(self, "eigenvalues", tuple(self.eigenvalues))
            object.__setattr__(self, "eigenvectors", tuple(tuple(row) for row in self.eigenvectors))

    def fit(self, data: Dataset) -> PCAColor:
        """Return the augmentation with the principal colors of a data set, unless they were given."""
        if self.eigenvalues is not None:
            return self
        _, covariance = color_statistics(data)
        values, vectors = np.linalg.eigh(covariance)
        return replace(self, eigenvalues=tuple(values.tolist()), eigenvectors=tuple(map(tuple, vectors.tolist())))

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the images with other colors; see `Augmentation.change`."""
        if self.eigenvalues is None or self.eigenvectors is None:
            raise OptionError(
                "PCAColor: expected the principal colors, got none; use the result of fit(training images)"
            )
        weights = rng.normal(0, self.std, (len(images), len(self.eigenvalues))) * self.eigenvalues
        shift = weights @ np.array(self.eigenvectors).T
        return _affine(images, np.ones_like(shift), shift, clip=True)


@dataclass(frozen=True, kw_only=True)
class Normalize(Augmentation):
    """Subtract the mean and divide by the standard deviation of each channel, or of each feature of rows.

    out = (in - mean_c) / std_c

    Parameters
    ----------
    mean, std : sequence of C float, optional
        For brightness from 0 to 1. `fit` measures them on the training images or rows.

    Units
    -----
    Brightness from 0 to 1 becomes a number of standard deviations from the mean.

    References
    ----------
    LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", section 4.3.

    Examples
    --------
    >>> Normalize(mean=(0.5,), std=(0.25,)).change(np.ones((1, 1, 1, 1), np.float32), rng=np.random.default_rng())
    array([[[[2.]]]], dtype=float32)
    """

    random: ClassVar[bool] = False
    examples: ClassVar[tuple[str, ...]] = ("images", "rows")
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self._require((self.mean is None) == (self.std is None), "std", "to be given if and only if mean is")
        if self.mean is not None and self.std is not None:
            object.__setattr__(self, "mean", tuple(self.mean))
            object.__setattr__(self, "std", tuple(self.std))
            self._require(min(self.std) > 0, "std", "above 0")
            self._require(len(self.std) == len(self.mean), "std", f"for {len(self.mean)} channels")

    def fit(self, data: Dataset) -> Normalize:
        """Return the normalization with the mean and deviation of a data set, unless they were given.

        A channel or feature that never varies is only shifted.
        """
        if self.mean is not None:
            return self
        if data.noun == "rows":
            mean, std = _row_statistics(data)
        else:
            mean, covariance = color_statistics(data)
            std = np.sqrt(covariance.diagonal())
        return replace(self, mean=tuple(mean.tolist()), std=tuple(np.where(std > 0, std, 1.0).tolist()))

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        """Return the normalized images; see `Augmentation.change`."""
        if self.mean is None or self.std is None:
            raise OptionError("Normalize: expected the mean and std, got none; use the result of fit(training images)")
        if images.shape[-1] != len(self.mean):
            what = "rows" if images.ndim == 2 else "images"
            parts = "features" if images.ndim == 2 else "channels"
            raise OptionError(f"Normalize: expected {what} of {len(self.mean)} {parts}, got {images.shape[-1]}")
        if images.ndim == 2:
            mean, std = _beside(images, np.array(self.mean), np.array(self.std))
            return ((images - mean) / std).astype(images.dtype)
        scale = 1 / np.array([self.std])
        return _affine(images, scale, -np.array([self.mean]) * scale, clip=False)


def _row_statistics(data: Dataset) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of each feature of rows, (F,), in float64."""
    if not len(data):
        raise OptionError(f"Dataset({data.name}): expected rows to measure, got none")
    return data.images.mean(axis=0, dtype=np.float64), data.images.std(axis=0, dtype=np.float64)


def color_statistics(data: Dataset) -> tuple[Array, Array]:
    """Return the mean and the covariance of the channels over all pixels of a data set, for brightness from 0 to 1.

    Shapes
    ------
    (C,), (C, C), float64

    Raises
    ------
    OptionError
        The data set is empty.
    """
    if not len(data):
        raise OptionError(f"Dataset({data.name}): expected images to measure, got none")
    channels = data.shape[2]
    pixels, total, products = 0, np.zeros(channels), np.zeros((channels, channels))
    for first in range(0, len(data), 1000):  # in parts and in float64, in which sums of bytes are exact
        part = data.batch(slice(first, first + 1000)).reshape(-1, channels).astype(float)  # (N, H, W, C) -> (N*H*W, C)
        pixels += len(part)
        total += part.sum(axis=0)
        products += part.T @ part
    full = 255 if data.dtype == np.uint8 else 1
    mean = total / pixels
    return mean / full, (products / pixels - np.outer(mean, mean)) / full**2
