"""Built-in data sets."""

from __future__ import annotations

from tinygrad_lab.data.sources.cifar import CIFAR10, CIFAR100
from tinygrad_lab.data.sources.diabetes import Diabetes
from tinygrad_lab.data.sources.digits import Digits, DigitSequences
from tinygrad_lab.data.sources.image_folder import ImageFolder
from tinygrad_lab.data.sources.mnist import MNIST, FashionMNIST
from tinygrad_lab.data.sources.source import Source

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Diabetes",
    "DigitSequences",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "Source",
]
