"""Handwritten digits of scikit-learn: real data without a download."""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.resizing import resize_bilinear
from tinygrad_lab.data.sequences import pad_sequences
from tinygrad_lab.data.sources.source import Source, bundled
from tinygrad_lab.errors import OptionError

_TEST_FRACTION = 0.2
_DARK = 8  # of values from 0 to 16
_LONGEST = 32  # numbers in a sequence; an image has at most 30 dark pixels
_PARTS = 60  # resized at a time, because resizing computes in 64 bits


class Digits(Source):
    """Handwritten digits: 1,797 images of 8x8 gray pixels, 10 classes, from scikit-learn.

    The publisher's values from 0 to 16 become 0 to 255, and the images are resized to 32x32 (LeNet's input) by default.
    A fifth of each class is the test set: `Dataset.split(0.2, seed=0)` of all images in scikit-learn's order.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """

    name = "digits"
    title = "Digits, handwritten, bundled with scikit-learn"
    homepage = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
    sizes: ClassVar[dict[str, int]] = {"train": 1_438, "test": 359}
    image = (32, 32, 1)
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return a split; images are (N, 32, 32, 1) unless `size` is given. See `Source.read`."""
        self.check_split(split)
        bundle = bundled(self.name).load_digits()
        images = np.concatenate([_bytes(part, size or (32, 32)) for part in np.array_split(bundle.images, _PARTS)])
        whole = Dataset(images, bundle.target, classes=self.classes, name=self.name)
        train, test = whole.split(_TEST_FRACTION, seed=0)
        return train if split == "train" else test


class DigitSequences(Source):
    """The digits as sequences: the numbers of their dark pixels (with ink), of which an image has at most 30.

    Pixels are numbered from 1 to 64, row by row. Those with at least half of the largest value are listed in this
    order, and 0 fills short sequences up. The images, their classes and the test set are those of `Digits`.

    References
    ----------
    See `Digits`.
    """

    name = "digit_sequences"
    title = "Digits of scikit-learn, as sequences of the numbers of their dark pixels"
    homepage = Digits.homepage
    sizes: ClassVar[dict[str, int]] = Digits.sizes
    image = (_LONGEST,)
    classes: ClassVar[tuple[str, ...]] = Digits.classes

    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return a split; the sequences are (N, 32). See `Source.read`; there is no size to choose."""
        self.check_split(split)
        if size is not None:
            raise OptionError(f"{self.name}: expected no size, because sequences have none, got {size}")
        bundle = bundled(self.name).load_digits()
        numbers = [np.flatnonzero(image >= _DARK) + 1 for image in bundle.data]
        whole = Dataset(pad_sequences(numbers, _LONGEST), bundle.target, classes=self.classes, name=self.name)
        train, test = whole.split(_TEST_FRACTION, seed=0)
        return train if split == "train" else test


def _bytes(images: Array, size: tuple[int, int]) -> Array:
    """Return images (N, 8, 8) of the publisher's values in another size, as bytes (N, height, width, 1)."""
    brightness = resize_bilinear(images[..., None], size)  # (N, 8, 8) -> (N, 8, 8, 1) -> (N, height, width, 1)
    return np.rint(brightness * (255 / 16)).astype(np.uint8)
