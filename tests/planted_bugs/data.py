"""Planted bugs of data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.conformance.cases.plugins import DataCases
from tinygrad_lab.data import Dataset, Source
from tinygrad_lab.errors import DataError

CLASSES = ("circle", "square", "triangle")
COUNTS = {"train": 12, "test": 6}


class Shapes(Source):
    """Random pictures of three classes; correct, and the base of wrong ones."""

    name = "shapes"
    title = "Random pictures"
    sizes: ClassVar[dict[str, int]] = COUNTS
    image = (6, 5, 3)

    def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
        self.check_split(split)
        data = self.made(split, len(split))
        return data.resize(size) if size else data

    def made(self, split: str, seed: int) -> Dataset:
        count = COUNTS[split]
        pixels = np.random.default_rng(seed).integers(0, 256, (count, 6, 5, 3), np.uint8)
        return Dataset(pixels, np.arange(count) % 3, classes=CLASSES, name=self.name)


@plant_plugin("data", "a pair of arrays in place of a Dataset", by="dataset", says="got tuple")
class Pair(Shapes):
    def read(self, split: str, *, root: Any = None, size: Any = None) -> Any:
        data = super().read(split, root=root, size=size)
        return data.images, data.labels


@plant_plugin("data", "an array that was never filled", by="dataset", says="all examples of")
class Empty(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        return Dataset(np.zeros((COUNTS[split], 6, 5, 3), np.uint8), np.arange(COUNTS[split]) % 3, classes=CLASSES)


@plant_plugin("data", "brightness from 0 to 1 as bytes", by="dataset", says="expected brightness from 0 to 255")
class Dim(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        data = super().made(split, seed)
        return Dataset(data.images // 128, data.labels, classes=CLASSES)


@plant_plugin("data", "other numbers of examples than announced", by="sizes", says="announces")
class Fewer(Shapes):
    sizes: ClassVar[dict[str, int]] = {"train": 13, "test": 6}


@plant_plugin("data", "height and width exchanged in the announced shape", by="sizes", says="image announces")
class Turned(Shapes):
    image = (5, 6, 3)


@plant_plugin("data", "labels that begin at 1", by="classes", says="begin at 1")
class FromOne(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        data = super().made(split, seed)
        return Dataset(data.images, data.labels + 1, classes=("", *CLASSES))


@plant_plugin("data", "classes named by the labels of each split", by="classes", says="the same names for each split")
class NamedBySplit(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        data = super().made(split, seed)
        return Dataset(data.images, data.labels % (3 if split == "train" else 2))


@plant_plugin("data", "another order each time", by="stable", says="seed random numbers")
class Shuffled(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        data = super().made(split, seed)
        return data.take(np.random.default_rng().permutation(len(data)))


@plant_plugin("data", "an order that follows a set of names", by="fresh_process", says="from a set or a folder")
class FromASet(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        data = super().made(split, seed)
        names = {f"picture {i}": i for i in range(len(data))}
        return data.take(np.array([names[name] for name in set(names)]))


@plant_plugin("data", "the option size is ignored", by="resized", says="expected examples of shape")
class OneSize(Shapes):
    def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
        return super().read(split, root=root)


@plant_plugin("data", "the option size is refused", by="resized", says="Dataset.resize")
class Unresized(Shapes):
    def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
        self._require_none(size)
        return super().read(split, root=root)

    def _require_none(self, size: Any) -> None:
        from tinygrad_lab.errors import OptionError

        if size is not None:
            raise OptionError("shapes: expected no size")


@plant_plugin("data", "test images from the training images", by="splits_apart", says="use its argument split")
class Leaking(Shapes):
    def made(self, split: str, seed: int) -> Dataset:
        return super().made("train", 0).take(np.arange(COUNTS[split]))


@plant_plugin("data", "an unknown split is the test split", by="unknown_split", says="check_split")
class AnySplit(Shapes):
    def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
        return super().read("train" if split == "train" else "test", root=root, size=size)


def write_arrays(folder: Path) -> None:
    """Write each split as raw bytes."""
    for split in COUNTS:
        Shapes().made(split, len(split)).images.tofile(folder / f"{split}.bin")


class Files(Shapes):
    """The pictures in files of bytes; correct, and the base of wrong ones."""

    def made(self, split: str, seed: int) -> Dataset:
        raise NotImplementedError

    def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
        self.check_split(split)
        pixels = self.pixels((Path(root) / f"{split}.bin").read_bytes(), COUNTS[split] * 6 * 5 * 3)
        data = Dataset(pixels.reshape(-1, 6, 5, 3), np.arange(len(pixels) // 90) % 3, classes=CLASSES)
        return data.resize(size) if size else data

    def pixels(self, content: bytes, count: int) -> Any:
        if len(content) != count:
            raise DataError(f"shapes: expected {count} bytes, got {len(content)}")
        return np.frombuffer(content, np.uint8)


WRITES = DataCases(write=write_arrays)


@plant_plugin("data", "a file that breaks off gives fewer examples", by="bad_files", says="breaks off", cases=WRITES)
class Lenient(Files):
    def pixels(self, content: bytes, count: int) -> Any:
        whole = np.frombuffer(content, np.uint8)
        return whole[: len(whole) // 90 * 90]


@plant_plugin("data", "NumPy's error for a short file", by="bad_files", says="expected DataError, got", cases=WRITES)
class Unchecked(Files):
    def pixels(self, content: bytes, count: int) -> Any:
        return np.frombuffer(content, np.uint8, count=count)


TWINS = ((Shapes, None), (Files, WRITES))
