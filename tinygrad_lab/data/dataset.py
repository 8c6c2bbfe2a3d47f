"""Data sets in memory, and ways to take parts of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.data.resizing import as_size, resize_bilinear
from tinygrad_lab.data.sampling import SPLIT, keys
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError

_HELD = 1 << 30  # bytes; larger resized data sets are not kept in memory


def _frozen(array: Array) -> Array:
    """Return a read-only view, so that the data cannot be changed by accident."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled images, sequences or rows of features in memory; immutable.

    Parameters
    ----------
    images : array
        Images (N, H, W, C) of uint8, brightness from 0 to 255, or of float32, brightness from 0 to 1; sequences (N, T)
        of integers, where 0 fills short ones up (see `pad_sequences`); or rows of features (N, F) of float32.
    labels : array of integers, (N,)
        The number of each image's class, 0 .. number of classes - 1; kept as int64.
    classes : sequence of str, optional
        The classes' names; by default their numbers.
    name : str
        The name in errors and summaries.
    index : array of int64, (N,), optional
        The position of each image in the original set; by default 0 .. N - 1. `split` and `limit` choose images by it,
        so they choose the same images in any order.

    Raises
    ------
    ShapeError
        The arrays do not fit together.
    DTypeError
        The images are of another dtype, or the labels are not integers.
    OptionError
        A label has no class, or float images look like bytes: none below 0, and some above 2.

    Examples
    --------
    >>> data = Dataset(np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1]), classes=("cat", "dog"), name="pets")
    >>> data
    Dataset(pets: 4 images 2x2x1 uint8, 2 classes)
    >>> data.keep_classes(["dog"]).index
    array([1, 3])
    """

    images: Array
    labels: Array
    classes: Sequence[str] = field(default=(), kw_only=True)
    name: str = field(default="dataset", kw_only=True)
    index: Array = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        images, labels = np.ascontiguousarray(self.images), np.asarray(self.labels)  # so that a batch is one copy
        count = len(images)
        if images.ndim not in (2, 4) or labels.shape != (count,):
            raise ShapeError(
                f"Dataset({self.name}): expected images (N, H, W, C), or sequences or rows (N, T), and labels (N,), "
                f"got {images.shape} and {labels.shape}"
            )
        if images.ndim == 2 and images.dtype.kind in "iu":
            images = images.astype(np.int64)  # the numbers of a sequence
        dtypes = (np.uint8, np.float32) if images.ndim == 4 else (np.int64, np.float32)
        if images.dtype not in dtypes or labels.dtype.kind not in "iu":
            raise DTypeError(
                f"Dataset({self.name}): expected images of uint8 or float32 and integer labels, "
                f"got {images.dtype} and {labels.dtype}"
            )
        if images.ndim == 4 and images.size and images.dtype == np.float32 and images.min() >= 0 and images.max() > 2:
            raise OptionError(
                f"Dataset({self.name}): expected float32 images of brightness 0 to 1, got {images.min():g} to "
                f"{images.max():g}; divide by 255, or give bytes as uint8"
            )
        classes = tuple(self.classes) or tuple(str(i) for i in range(int(labels.max(initial=-1)) + 1))
        if labels.size and (labels.min() < 0 or labels.max() >= len(classes)):
            raise OptionError(
                f"Dataset({self.name}): expected labels from 0 to {len(classes) - 1}, "
                f"got {labels.min()} to {labels.max()}"
            )
        index = np.arange(count) if self.index is None else np.asarray(self.index, np.int64)
        settled = {"images": images, "labels": labels.astype(np.int64), "index": index}
        for name, array in settled.items():
            object.__setattr__(self, name, _frozen(array))
        object.__setattr__(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"Dataset({self.name}: {len(self)} {self.noun} {shape} {self.dtype}, {len(self.classes)} classes)"

    @property
    def noun(self) -> str:
        """What the examples are: ``"images"``, ``"sequences"`` of integers, or ``"rows"`` of features."""
        return "images" if len(self.shape) == 3 else "sequences" if self.dtype.kind == "i" else "rows"

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image, or the length of a sequence or row."""
        shape: tuple[int, ...] = self.images.shape[1:]
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The images' dtype: uint8 or float32; int64 of sequences."""
        dtype: np.dtype[Any] = self.images.dtype
        return dtype

    @property
    def held(self) -> bool:
        """Whether a loader should take its batches from `images`, because these fit into memory."""
        return True

    def batch(self, positions: Array | slice) -> Array:
        """Return the images at the given positions, without resizing any others.

        Shapes
        ------
        (n,) -> (n, H, W, C)
        """
        return self.images[positions]

    def counts(self) -> dict[str, int]:
        """Return the number of images of each class."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def take(self, positions: Array) -> Dataset:
        """Return the images at the given positions, in that order."""
        parts = {name: getattr(self, name)[positions] for name in ("images", "labels", "index")}
        return replace(self, **parts)

    def resize(self, size: tuple[int, int]) -> Dataset:
        """Return the images in another size; see `resize_bilinear`.

        They are resized when they are used: all of them if `images` is read, and batch by batch in a `Loader` if all
        resized images would need more than a gibibyte.

        Examples
        --------
        >>> Dataset(np.zeros((4, 32, 32, 3), np.uint8), np.zeros(4, int)).resize((227, 227))
        Dataset(dataset: 4 images 227x227x3 uint8, 1 classes)
        """
        size = as_size(size)
        if self.noun != "images":
            raise OptionError(f"Dataset({self.name}).resize: expected images, got {self.noun}")
        return self if size == self.shape[:2] else _ResizedDataset(self, size)

    def keep_classes(self, classes: Sequence[str]) -> Dataset:
        """Return the images of the named classes, which are renumbered 0 .. k - 1 in the order given.

        Parameters
        ----------
        classes : sequence of str
            Names from `classes`, none of them twice.

        Raises
        ------
        OptionError
            A name is unknown or occurs twice.
        """
        unknown = [name for name in classes if name not in self.classes]
        if unknown or isinstance(classes, str) or not classes or len(set(classes)) != len(classes):
            raise OptionError(
                f"Dataset({self.name}).keep_classes: expected different names from {list(self.classes)}, "
                f"got {classes if isinstance(classes, str) else list(classes)}"
            )
        renumbered = np.full(len(self.classes), -1)
        renumbered[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        labels = renumbered[self.labels]
        kept = np.flatnonzero(labels >= 0)
        parts = {name: getattr(self, name)[kept] for name in ("images", "index")}
        return replace(self, labels=labels[kept], classes=tuple(classes), **parts)

    def _ranks(self, seed: int) -> tuple[Array, Array]:
        """Return each image's rank within its class, in the order of random keys, and the size of the class."""
        key = keys(int(self.index.max(initial=-1)) + 1, seed, SPLIT)[self.index]
        order = np.lexsort((key, self.labels))
        sizes = np.bincount(self.labels, minlength=len(self.classes))
        first = np.cumsum(sizes) - sizes
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self)) - first[self.labels[order]]
        return rank, sizes[self.labels]

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Set aside a fraction of every class for validation.

        Each image has a 64-bit key: output number `index` of PCG64 seeded by (seed, split). Of a class of n images, the
        round(fraction * n) with the smallest keys are set aside (halves round up, at least one image stays). Both parts
        keep their order. The same seed gives the same split in every version.

        Parameters
        ----------
        fraction : float
            Between 0 and 1, both excluded.
        seed : int
            At least 0.

        Returns
        -------
        rest, validation : Dataset

        Raises
        ------
        OptionError
            The fraction is not between 0 and 1.

        Examples
        --------
        >>> data = Dataset(np.zeros((8, 1, 1, 1), np.uint8), np.arange(8) % 2)
        >>> rest, validation = data.split(0.25)
        >>> rest.counts(), validation.counts()
        ({'0': 3, '1': 3}, {'0': 1, '1': 1})
        """
        if not 0 < fraction < 1:
            raise OptionError(f"Dataset({self.name}).split: expected a fraction between 0 and 1, got {fraction!r}")
        rank, size = self._ranks(seed)
        out = rank < np.minimum(np.floor(fraction * size + 0.5), size - 1)
        return self.take(np.flatnonzero(~out)), self.take(np.flatnonzero(out))

    def limit(self, per_class: int, *, seed: int = 0) -> Dataset:
        """Return `per_class` images of every class: those with the smallest keys (see `split`), in their current order.

        A smaller limit takes a subset of a larger one.

        Parameters
        ----------
        per_class : int
            At least 1.
        seed : int
            At least 0.

        Raises
        ------
        OptionError
            A class has fewer images.
        """
        short = {name: n for name, n in self.counts().items() if n < per_class}
        if per_class < 1 or short:
            raise OptionError(
                f"Dataset({self.name}).limit: expected 1 to {min(self.counts().values(), default=0)} images a class, "
                f"got {per_class}" + (f"; too few of {short}" if short else "")
            )
        rank, _ = self._ranks(seed)
        return self.take(np.flatnonzero(rank < per_class))


class _ResizedDataset(Dataset):
    """Data set whose images are resized when they are used, so that a part can be taken first."""

    _stored: Dataset
    _size: tuple[int, int]

    def __init__(self, stored: Dataset, size: tuple[int, int]) -> None:
        parts = {name: getattr(stored, name) for name in ("labels", "classes", "name", "index")}
        for name, value in {**parts, "_stored": stored, "_size": size}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self._stored)

    @functools.cached_property
    def images(self) -> Array:
        """All images, resized."""
        return _frozen(resize_bilinear(self._stored.images, self._size))

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self._size, self._stored.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._stored.dtype

    @property
    def held(self) -> bool:
        return "images" in vars(self) or len(self) * math.prod(self.shape) * self.dtype.itemsize <= _HELD

    def batch(self, positions: Array | slice) -> Array:
        if "images" in vars(self):
            return super().batch(positions)
        return resize_bilinear(self._stored.batch(positions), self._size)

    def take(self, positions: Array) -> Dataset:
        return self._stored.take(positions).resize(self._size)

    def keep_classes(self, classes: Sequence[str]) -> Dataset:
        return self._stored.keep_classes(classes).resize(self._size)
