"""MNIST and Fashion-MNIST."""

from __future__ import annotations

import os
from typing import ClassVar

from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.files import DataFile, Download, read_file
from tinygrad_lab.data.sources.idx import parse_idx
from tinygrad_lab.data.sources.source import Source
from tinygrad_lab.errors import DataError

_IMAGES, _LABELS = 16, 8  # bytes of the headers


def _files(folder: str, sums: dict[str, tuple[int, str, str]]) -> tuple[DataFile, ...]:
    """Return the files of a folder, given each file's size, checksum and content checksum."""
    content = {
        "train-images-idx3-ubyte.gz": _IMAGES + 60_000 * 28 * 28,
        "train-labels-idx1-ubyte.gz": _LABELS + 60_000,
        "t10k-images-idx3-ubyte.gz": _IMAGES + 10_000 * 28 * 28,
        "t10k-labels-idx1-ubyte.gz": _LABELS + 10_000,
    }
    return tuple(
        DataFile(f"{folder}/{name}", size, f"sha256:{packed}", content[name], f"sha256:{plain}")
        for name, (size, packed, plain) in sums.items()
    )


def _downloads(files: tuple[DataFile, ...], *mirrors: str) -> tuple[Download, ...]:
    return tuple(Download(tuple(m + file.path.rpartition("/")[2] for m in mirrors), file, (file,)) for file in files)


class MNIST(Source):
    """Handwritten digits: 60,000 training and 10,000 test images of 28x28 gray pixels, 10 classes.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
    """

    name = "mnist"
    title = "MNIST, handwritten digits"
    homepage = "http://yann.lecun.com/exdb/mnist/"
    sizes: ClassVar[dict[str, int]] = {"train": 60_000, "test": 10_000}
    image = (28, 28, 1)
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    files = _files(
        "MNIST/raw",
        {
            "train-images-idx3-ubyte.gz": (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte.gz": (
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3-ubyte.gz": (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1-ubyte.gz": (
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    )
    downloads = _downloads(
        files,
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )

    def read(
        self, split: str, *, root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
    ) -> Dataset:
        """Return a split; images are (N, 28, 28, 1) unless `size` is given. See `Source.read`."""
        self.check_split(split)
        folder = self.locate(root)
        images_file, labels_file = self.files[:2] if split == "train" else self.files[2:]
        images = parse_idx(read_file(images_file, folder), axes=3, name=images_file.path)
        labels = parse_idx(read_file(labels_file, folder), axes=1, name=labels_file.path)
        if len(images) != self.sizes[split] or len(labels) != self.sizes[split]:
            raise DataError(
                f"{self.name}: expected {self.sizes[split]} images and labels, got {len(images)} and {len(labels)}"
            )
        data = Dataset(images[..., None], labels, classes=self.classes, name=self.name)
        return data.resize(size) if size else data


class FashionMNIST(MNIST):
    """Pictures of clothing: 60,000 training and 10,000 test images of 28x28 gray pixels, 10 classes.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", arXiv:1708.07747.
    """

    name = "fashion_mnist"
    title = "Fashion-MNIST, pictures of clothing"
    homepage = "https://github.com/zalandoresearch/fashion-mnist"
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    files = _files(
        "FashionMNIST/raw",
        {
            "train-images-idx3-ubyte.gz": (
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte.gz": (
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3-ubyte.gz": (
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1-ubyte.gz": (
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    )
    downloads = _downloads(
        files,
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
