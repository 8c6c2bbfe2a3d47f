"""Handwritten digits of scikit-learn: real data without a download."""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.resizing import resize_bilinear
from tinygrad_lab.data.sources.source import Source
from tinygrad_lab.errors import DataError

_TEST_FRACTION = 0.2
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
        try:
            from sklearn.datasets import load_digits  # optional, and slow to import
        except ImportError as error:
            raise DataError(
                f"{self.name}: expected scikit-learn, which brings this data set, got no such package; "
                "pip install scikit-learn"
            ) from error
        bundle = load_digits()
        images = np.concatenate([_bytes(part, size or (32, 32)) for part in np.array_split(bundle.images, _PARTS)])
        whole = Dataset(images, bundle.target, classes=self.classes, name=self.name)
        train, test = whole.split(_TEST_FRACTION, seed=0)
        return train if split == "train" else test


def _bytes(images: Array, size: tuple[int, int]) -> Array:
    """Return images (N, 8, 8) of the publisher's values in another size, as bytes (N, height, width, 1)."""
    brightness = resize_bilinear(images[..., None], size)  # (N, 8, 8) -> (N, 8, 8, 1) -> (N, height, width, 1)
    return np.rint(brightness * (255 / 16)).astype(np.uint8)
