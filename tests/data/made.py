"""Synthetic data sets: tiny files in the publishers' formats."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinygrad_lab.data.files import DataFile, Download
from tinygrad_lab.data.sources import CIFAR10, MNIST

GLOBALS = {
    "reconstruct": b"cnumpy.core.multiarray\n_reconstruct\n",
    "array": b"cnumpy\nndarray\n",
    "dtype": b"cnumpy\ndtype\n",
}


def python2_pickle(value: Any) -> bytes:
    """Pickle as Python 2 did, with protocol 2 and without a difference between text and bytes: CIFAR's format."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    match value:
        case int():
            return b"J" + struct.pack("<i", value)
        case str():
            return _opcodes(value.encode())
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case list():
            return b"](" + b"".join(map(_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_opcodes(k) + _opcodes(v) for k, v in value.items()) + b"u"
        case np.ndarray():
            return _array(value)
    raise TypeError(value)


def _array(value: np.ndarray[Any, Any], code: bytes = b"u1") -> bytes:
    empty = GLOBALS["reconstruct"] + GLOBALS["array"] + b"K\x00\x85U\x01b\x87R"
    dtype = (
        GLOBALS["dtype"]
        + b"U"
        + bytes([len(code)])
        + code
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = b"".join(b"J" + struct.pack("<i", n) for n in value.shape)
    return empty + b"(K\x01(" + shape + b"t" + dtype + b"\x89" + _opcodes(value.tobytes()) + b"tb"


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """Return an array of bytes in the format of MNIST."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def data_file(path: str, content: bytes) -> DataFile:
    """Return the description of a file with the given content."""
    return DataFile(path, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")


def write(root: Path, path: str, content: bytes) -> DataFile:
    """Write a file below a folder and describe it."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return data_file(path, content)


def random_images(count: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def cifar_batch(images: np.ndarray[Any, Any], labels: list[int]) -> bytes:
    """Return a batch file of images (N, H, W, C)."""
    data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return python2_pickle(
        {"batch_label": "a batch", "labels": labels, "data": data, "filenames": ["x.png"] * len(labels)}
    )


def tiny_cifar(
    root: Path, *, train: int = 6, test: int = 4, classes: tuple[str, ...] = ("cat", "dog")
) -> type[CIFAR10]:
    """Write a CIFAR-like data set in two training batches, and return its source."""
    images = {"train": random_images(train, 32, 32, 3), "test": random_images(test, 32, 32, 3)}

    def labels(part: np.ndarray[Any, Any]) -> list[int]:
        return [i % len(classes) for i in range(len(part))]

    halves = [images["train"][: train // 2], images["train"][train // 2 :]]
    written = [write(root, f"tiny/batch_{i}", cifar_batch(half, labels(half))) for i, half in enumerate(halves)]
    tests = write(root, "tiny/test", cifar_batch(images["test"], labels(images["test"])))
    meta_file = write(root, "tiny/meta", python2_pickle({"label_names": list(classes), "num_vis": 3072}))

    class TinyCIFAR(CIFAR10):
        name = "tiny"
        title = "a tiny CIFAR"
        sizes: ClassVar[dict[str, int]] = {"train": train, "test": test}
        meta = meta_file
        batches: ClassVar[dict[str, tuple[DataFile, ...]]] = {"train": tuple(written), "test": (tests,)}
        files = (meta, *batches["train"], *batches["test"])
        downloads: ClassVar[tuple[Download, ...]] = ()
        pixels: ClassVar[dict[str, Any]] = images

    return TinyCIFAR


def tiny_mnist(root: Path, *, packed: bool = True, count: int = 5) -> type[MNIST]:
    """Write an MNIST-like data set, compressed or not, and return its source."""
    pixels_made = random_images(count, 28, 28)
    contents = {
        "train-images-idx3-ubyte": idx(pixels_made),
        "train-labels-idx1-ubyte": idx(np.arange(count, dtype=np.uint8)),
        "t10k-images-idx3-ubyte": idx(pixels_made[:2]),
        "t10k-labels-idx1-ubyte": idx(np.arange(2, dtype=np.uint8)),
    }
    described = []
    for name, content in contents.items():
        small = gzip.compress(content, mtime=0)
        path = f"TinyMNIST/raw/{name}"
        write(root, f"{path}.gz", small) if packed else write(root, path, content)
        outer, inner = data_file(f"{path}.gz", small), data_file(path, content)
        described.append(DataFile(outer.path, outer.size, outer.checksum, inner.size, inner.checksum))

    class TinyMNIST(MNIST):
        name = "tiny_mnist"
        title = "a tiny MNIST"
        sizes: ClassVar[dict[str, int]] = {"train": count, "test": 2}
        files = tuple(described)
        downloads: ClassVar[tuple[Download, ...]] = ()
        pixels: ClassVar[Any] = pixels_made

    return TinyMNIST
