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
    """Images, sequences or rows of features in memory, each with a class or with target numbers; immutable.

    Parameters
    ----------
    images : array
        Images (N, H, W, C) of uint8, brightness from 0 to 255, or of float32, brightness from 0 to 1; sequences (N, T)
        of integers, where 0 fills short ones up (see `pad_sequences`); or rows of features (N, F) of float32.
    labels : array
        For classification integers (N,), the number of each image's class, 0 .. number of classes - 1; kept as int64.
        For regression floats (N, K) or (N,), the numbers to predict for each image; kept as float32, (N, K).
    classes : sequence of str, optional
        The classes' names; by default their numbers. There are none for regression.
    targets : sequence of str, optional
        The names of the K target numbers, with their units; by default ``"target"``, or ``"target 0"`` and so on. There
        are none for classification.
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
        The images are of another dtype, or the labels are not numbers.
    OptionError
        A label has no class, a target is not finite, or float images look like bytes: none below 0, and some above 2.

    Examples
    --------
    >>> data = Dataset(np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1]), classes=("cat", "dog"), name="pets")
    >>> data
    Dataset(pets: 4 images 2x2x1 uint8, 2 classes)
    >>> data.keep_classes(["dog"]).index
    array([1, 3])
    >>> Dataset(np.zeros((4, 3), np.float32), np.array([1.5, 0.2, 3.1, 2.2]), targets=["price in $"], name="houses")
    Dataset(houses: 4 rows 3 float32, target price in $)
    """

    images: Array
    labels: Array
    classes: Sequence[str] = field(default=(), kw_only=True)
    targets: Sequence[str] = field(default=(), kw_only=True)
    name: str = field(default="dataset", kw_only=True)
    index: Array = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        images, labels = np.ascontiguousarray(self.images), np.asarray(self.labels)  # so that a batch is one copy
        count, is_float = len(images), labels.dtype.kind == "f"
        if images.ndim not in (2, 4) or labels.shape[:1] != (count,) or labels.ndim > 1 + is_float:
            raise ShapeError(
                f"Dataset({self.name}): expected images (N, H, W, C), or sequences or rows (N, T), and labels (N,), "
                f"or targets (N, K) of floats, got {images.shape} and {labels.shape}"
            )
        if images.ndim == 2 and images.dtype.kind in "iu":
            images = images.astype(np.int64)  # the numbers of a sequence
        dtypes = (np.uint8, np.float32) if images.ndim == 4 else (np.int64, np.float32)
        if images.dtype not in dtypes or labels.dtype.kind not in "iuf":
            raise DTypeError(
                f"Dataset({self.name}): expected images of uint8 or float32, and labels that are integers (classes) or "
                f"floats (numbers to predict), got {images.dtype} and {labels.dtype}"
            )
        if images.ndim == 4 and images.size and images.dtype == np.float32 and images.min() >= 0 and images.max() > 2:
            raise OptionError(
                f"Dataset({self.name}): expected float32 images of brightness 0 to 1, got {images.min():g} to "
                f"{images.max():g}; divide by 255, or give bytes as uint8"
            )
        labels, names = self._numbers(labels) if is_float else self._class_numbers(labels)
        index = np.arange(count) if self.index is None else np.asarray(self.index, np.int64)
        for name, array in {"images": images, "labels": labels, "index": index}.items():
            object.__setattr__(self, name, _frozen(array))
        object.__setattr__(self, "classes", () if is_float else names)
        object.__setattr__(self, "targets", names if is_float else ())

    def _class_numbers(self, labels: Array) -> tuple[Array, tuple[str, ...]]:
        """Return checked numbers of classes, and the classes' names."""
        classes = tuple(self.classes) or tuple(str(i) for i in range(int(labels.max(initial=-1)) + 1))
        if self.targets:
            raise OptionError(
                f"Dataset({self.name}): expected targets of floats, which {list(self.targets)} name, got integers; "
                "use labels.astype('float32'), or name classes"
            )
        if labels.size and (labels.min() < 0 or labels.max() >= len(classes)):
            raise OptionError(
                f"Dataset({self.name}): expected labels from 0 to {len(classes) - 1}, "
                f"got {labels.min()} to {labels.max()}"
            )
        return labels.astype(np.int64), classes

    def _numbers(self, labels: Array) -> tuple[Array, tuple[str, ...]]:
        """Return checked targets (N, K), and their names."""
        values = labels if labels.ndim > 1 else labels[:, None]  # (N,) -> (N, 1)
        count = values.shape[1]
        if self.classes:
            raise OptionError(
                f"Dataset({self.name}): expected class numbers for the classes {list(self.classes)[:6]}, got "
                f"{labels.dtype}; use labels.astype('int64')"
            )
        if not count or len(self.targets) not in (0, count):
            raise OptionError(
                f"Dataset({self.name}): expected a name for each target, of which there is at least one, got "
                f"{len(self.targets)} names and labels of shape {labels.shape}"
            )
        if not (kept := np.abs(values) <= np.finfo(np.float32).max).all():  # NaN is not
            number = int(np.flatnonzero(~kept.all(axis=1))[0])
            raise OptionError(
                f"Dataset({self.name}): expected finite targets that float32 can hold, got {values[number].tolist()} "
                f"in example {number}; leave such examples out"
            )
        usual = ("target",) if count == 1 else tuple(f"target {i}" for i in range(count))
        return values.astype(np.float32), tuple(self.targets) or usual

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        what = f"{len(self.classes)} classes" if self.task == "classification" else named_targets(self.targets)
        return f"Dataset({self.name}: {len(self)} {self.noun} {shape} {self.dtype}, {what})"

    @property
    def task(self) -> str:
        """What is predicted: ``"classification"``, classes, or ``"regression"``, numbers."""
        return "regression" if self.labels.dtype.kind == "f" else "classification"

    @property
    def outputs(self) -> int:
        """The number of outputs of a network for these data: one for each class, or one for each target number."""
        return len(self.classes or self.targets)

    def require_classes(self, what: str) -> None:
        """Check that the labels are classes.

        Raises
        ------
        OptionError
            They are numbers; the message begins with `what`, which needs classes.
        """
        if self.task != "classification":
            got = f"{self.name!r} with {named_targets(self.targets)}"
            raise OptionError(f"{what}: expected data with classes, got {got}")

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
        """Return the number of images of each class.

        Raises
        ------
        OptionError
            The labels are numbers, not classes.
        """
        self.require_classes(f"Dataset({self.name}).counts")
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
            A name is unknown or occurs twice, or the labels are not classes.
        """
        self.require_classes(f"Dataset({self.name}).keep_classes")
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
        """Return each image's rank within its class, in the order of random keys, and the size of the class.

        Images with numbers in place of classes are ranked together.
        """
        key = keys(int(self.index.max(initial=-1)) + 1, seed, SPLIT)[self.index]
        labels = self.labels if self.task == "classification" else np.zeros(len(self), np.int64)
        order = np.lexsort((key, labels))
        sizes = np.bincount(labels, minlength=len(self.classes))
        first = np.cumsum(sizes) - sizes
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self)) - first[labels[order]]
        return rank, sizes[labels]

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Set aside a fraction of every class for validation, or of all images if the labels are numbers.

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
            A class has fewer images, or the labels are not classes.
        """
        self.require_classes(f"Dataset({self.name}).limit")
        short = {name: n for name, n in self.counts().items() if n < per_class}
        if per_class < 1 or short:
            raise OptionError(
                f"Dataset({self.name}).limit: expected 1 to {min(self.counts().values(), default=0)} images a class, "
                f"got {per_class}" + (f"; too few of {short}" if short else "")
            )
        rank, _ = self._ranks(seed)
        return self.take(np.flatnonzero(rank < per_class))


def named_targets(targets: Sequence[str], most: int = 4) -> str:
    """Return the names of targets in words, the first of many.

    Examples
    --------
    >>> named_targets(["price in $"]), named_targets(["x", "y"])
    ('target price in $', '2 targets (x, y)')
    """
    if len(targets) == 1:
        return "target" if targets[0] == "target" else f"target {targets[0]}"
    return f"{len(targets)} targets ({', '.join([*targets[:most], *(['...'] if len(targets) > most else [])])})"


class _ResizedDataset(Dataset):
    """Data set whose images are resized when they are used, so that a part can be taken first."""

    _stored: Dataset
    _size: tuple[int, int]

    def __init__(self, stored: Dataset, size: tuple[int, int]) -> None:
        parts = {name: getattr(stored, name) for name in ("labels", "classes", "targets", "name", "index")}
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
