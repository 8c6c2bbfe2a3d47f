"""Pack CIFAR-10 into several files, for machines that limit the size of an upload.

    python -m tests.gpu.pieces DATA_FOLDER OUT_FOLDER --pieces 4 [--images 20000]

writes ``cifar10-1of4.npz`` and so on, each with a share of the training and of the test images. Any number of them in
one folder can be read as a data set; with some of them, training uses a part of the images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tinygrad_lab.data import Dataset, catalog, load
from tinygrad_lab.data.sources import CIFAR10


def pack(data: dict[str, Dataset], folder: Path, pieces: int, images: int | None = None) -> list[Path]:
    """Write the first images of each split, distributed over a number of files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for piece in range(pieces):
        arrays = {}
        for split, whole in data.items():
            chosen = slice(piece, images if split == "train" else None, pieces)
            arrays[f"{split}_images"] = whole.images[chosen]
            arrays[f"{split}_labels"] = whole.labels[chosen].astype(np.uint8)
        path = folder / f"cifar10-{piece + 1}of{pieces}.npz"
        np.savez_compressed(path, **arrays)
        written.append(path)
    return written


def unpack(folder: Path, split: str) -> Dataset:
    """Return the images of a split from all pieces in a folder."""
    paths = sorted(folder.glob("cifar10-*of*.npz"))
    if not paths:
        raise FileNotFoundError(f"pieces: expected cifar10-*of*.npz in {folder}, found none")
    loaded = [np.load(path, allow_pickle=False) for path in paths]
    images, labels = (np.concatenate([part[f"{split}_{what}"] for part in loaded]) for what in ("images", "labels"))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return Dataset(images, labels.astype(np.int64), classes=tuple(names), name="cifar10")


class Pieces(CIFAR10):
    """A source of data that reads pieces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, split: str, *, root: Any = None, size: Any = None) -> Dataset:
        """Return a split."""
        return unpack(self.folder, split)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Let ``load("cifar10")`` read the pieces in a folder; without pieces, it reads the published files."""
    if not list(folder.glob("cifar10-*of*.npz")):
        yield
        return
    find = catalog.find_source
    with patch.object(catalog, "find_source", lambda name: Pieces(folder) if name == "cifar10" else find(name)):
        yield


def main() -> None:
    """Write the pieces and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pieces", type=int, default=4)
    parser.add_argument("--images", type=int)
    arguments = parser.parse_args()
    data = {split: load("cifar10", split=split, root=arguments.data) for split in ("train", "test")}
    for path in pack(data, arguments.out, arguments.pieces, arguments.images):
        print(path, f"{path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
