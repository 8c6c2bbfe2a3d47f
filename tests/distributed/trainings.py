"""Small trainings for one or several ranks, and the bits of their weights."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.data import ChannelShift, Compose, Cutout, Dataset, Flip, Loader, Mixup, RandomCrop, Shard
from tinygrad_lab.distributed import Group
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import layers
from tinygrad_lab.train.blocks import Parallel
from tinygrad_lab.train.trainer import Trainer

SIZE, CLASSES = 8, 3


def conv(before: int, after: int, seed: int, **options: Any) -> tgl.Layer:
    """Return a 3x3 convolution that keeps the size."""
    return layers["conv2d"](before, after, kernel_size=3, padding=1, rng=seed, **options)


def lenet(channels: int = 3) -> Sequential:
    """Return a network like LeNet-5, with dropout."""
    return Sequential(
        conv(channels, 4, 1, activation="relu"),
        layers["max_pool2d"](kernel_size=2, stride=2),
        conv(4, 6, 2, activation="relu"),
        layers["max_pool2d"](kernel_size=2, stride=2),
        layers["flatten"](),
        layers["dense"](6 * (SIZE // 4) ** 2, 10, activation="relu", rng=3),
        layers["dropout"](0.4),
        layers["dense"](10, CLASSES, rng=4),
    )


def residual(channels: int = 3) -> Sequential:
    """Return a residual network with batch normalization and both kinds of dropout."""

    def block(seed: int) -> tgl.Layer:
        norms = [layers["batch_norm"](4, activation="relu"), layers["batch_norm"](4)]
        inner = Sequential(conv(4, 4, seed), norms[0], layers["dropout"](0.3), conv(4, 4, seed + 1), norms[1])
        return layers["residual"](inner, activation="relu")

    return Sequential(
        conv(channels, 4, 5),
        block(6),
        layers["spatial_dropout2d"](0.2),
        block(8),
        layers["global_avg_pool2d"](),
        layers["dense"](4, CLASSES, rng=10),
    )


def small_alexnet() -> Sequential:
    """Return a network of AlexNet's layers in float64, with few channels and two groups."""

    def pool() -> tgl.Layer:
        return layers["max_pool2d"](kernel_size=3, stride=2)

    def norm() -> tgl.Layer:
        return layers["local_response_norm"](alpha=0.5, groups=2)

    options: dict[str, Any] = {"activation": "relu"}
    network = Sequential(
        {
            "conv1": layers["conv2d"](3, 8, kernel_size=3, stride=2, rng=0, **options),
            "norm1": norm(),
            "pool1": pool(),
            "conv2": conv(8, 12, 1, groups=2, **options),
            "norm2": norm(),
            "conv3": conv(12, 8, 2, **options),
            "conv4": conv(8, 8, 3, groups=2, **options),
            "conv5": conv(8, 8, 4, groups=2, **options),
            "pool5": pool(),
            "flatten": layers["flatten"](),
            "dense6": layers["dense"](8, 10, rng=5, **options),
            "dropout6": layers["dropout"](0.5),
            "dense7": layers["dense"](10, 10, rng=6, **options),
            "dropout7": layers["dropout"](0.5),
            "output": layers["dense"](10, 4, rng=7),
        }
    )
    return network.astype("float64")


def images(count: int = 37) -> Dataset:
    """Return images of noise; 37 of them in batches of 16 give a last batch of 5."""
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8), np.arange(count) % CLASSES)


AUGMENTATION = (Flip(), RandomCrop(padding=1), ChannelShift(amount=0.1), Cutout(size=2))


def trainer(
    model: tgl.Layer, group: Group | None, *, blocks: int = 4, mixup: bool = False, batch_size: int = 16, **options: Any
) -> Trainer:
    """Return a trainer with augmentation; without a group, one that trains whole batches."""
    parallel = None if group is None else Parallel(group, **options)
    shard = None if group is None else Shard(group.rank, group.size, blocks)
    steps = [*AUGMENTATION, Mixup(classes=CLASSES)] if mixup else AUGMENTATION
    loader = Loader(images(), batch_size=batch_size, seed=1, augment=Compose(steps), workers=0, shard=shard)
    evaluated = Loader(images(20), batch_size=6, shuffle=False, workers=0)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Trainer(model, softmax_cross_entropy, optimizer, loader, validation=evaluated, parallel=parallel)


def bits(trained: Trainer) -> str:
    """Return a digest of a trained network's parameters and buffers."""
    arrays = [np.ascontiguousarray(a).tobytes() for a in trained.model.state().values()]
    return hashlib.sha256(b"".join(arrays)).hexdigest()[:16]


def curve(trained: Trainer) -> list[list[float]]:
    """Return the losses and accuracies of each epoch."""
    return [[m["loss"], m["accuracy"], m["validation"]["loss"], m["validation"]["accuracy"]] for m in trained.history]


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "lenet": (lenet, {"mixup": True}),
    "residual": (residual, {}),
    "residual, synchronized": (residual, {"sync_batch_norm": True}),
}


def train_all(group: Group, *, blocks: int = 4, epochs: int = 2, batch_size: int = 16) -> dict[str, Any]:
    """Return the bits and the curve of each case."""
    found = {}
    for name, (network, options) in CASES.items():
        trained = trainer(network(), group, blocks=blocks, batch_size=batch_size, **options)
        trained.train(epochs if name == "lenet" else min(epochs, 3))
        found[name] = [bits(trained), curve(trained)]
    return found
