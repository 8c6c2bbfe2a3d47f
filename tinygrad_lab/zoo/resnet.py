"""Residual networks, and plain ones with the same layers, which train worse the deeper they are.

For ImageNet (table 1 of the paper), with the number of blocks in each stage by the depth of the network:

| stage | output | 18 | 34 | 50 | 101 | 152 |
|---|---|---|---|---|---|---|
| convolution 64@7x7 stride 2 | 112, 112, 64 | | | | | |
| max-pool 3x3 stride 2 | 56, 56, 64 | | | | | |
| 1: blocks of 64 | 56, 56, 64 (256) | 2 | 3 | 3 | 3 | 3 |
| 2: blocks of 128, stride 2 | 28, 28, 128 (512) | 2 | 4 | 4 | 4 | 8 |
| 3: blocks of 256, stride 2 | 14, 14, 256 (1024) | 2 | 6 | 6 | 23 | 36 |
| 4: blocks of 512, stride 2 | 7, 7, 512 (2048) | 2 | 3 | 3 | 3 | 3 |
| global average pool, dense 1000 | 1000 | | | | | |
| parameters | | 11,689,512 | 21,797,672 | 25,557,032 | 44,549,160 | 60,192,808 |

18 and 34 have basic blocks (3x3, 3x3), the deeper ones bottlenecks (1x1, 3x3, 1x1 to the channels in parentheses).

For CIFAR (section 4.2), n basic blocks per stage and depth 6 n + 2:

| stage | output |
|---|---|
| convolution 16@3x3 | 32, 32, 16 |
| 1: n blocks of 16 | 32, 32, 16 |
| 2: n blocks of 32, stride 2 | 16, 16, 32 |
| 3: n blocks of 64, stride 2 | 8, 8, 64 |
| global average pool, dense 10 | 10 |

ResNet-20 has 269,722 parameters, ResNet-56 853,018.
"""

from __future__ import annotations

from functools import partial

from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image
from tinygrad_lab_layers.batch_norm import BatchNorm
from tinygrad_lab_layers.bottleneck import Bottleneck
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.global_avg_pool2d import GlobalAvgPool2d
from tinygrad_lab_layers.max_pool2d import MaxPool2d
from tinygrad_lab_layers.residual import Residual

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    *,
    depth: int,
    image: Image = (224, 224, 3),
    classes: int = 1000,
    residual: bool = True,
    shortcut: str = "projected",
    rng: Rng = None,
) -> Sequential:
    """Return a residual network for ImageNet, which returns logits; `resnet18` is ``resnet(depth=18)``.

    Parameters
    ----------
    depth : {18, 34, 50, 101, 152}
        The number of layers with weights, without projections.
    image : (height, width, channels)
        (224, 224, 3) in the paper; any size is accepted.
    classes : int
        1000 in the paper.
    residual : bool
        Whether there are shortcuts; False gives the plain network, of depth 18 or 34.
    shortcut : {"projected", "padded"}
        The kind of shortcut where the shape changes: "projected" is option B of the paper, "padded" option A. In
        networks of bottlenecks (depth 50 and more), shortcuts are always projected.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, H, W, channels); logits : (N, classes)

    Raises
    ------
    OptionError
        The depth is unknown, or there is no plain network of that depth.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, table 1. Deviation: a
    bottleneck's stride is in its 3x3 convolution, as in PyTorch's models, with which the numbers of parameters agree.

    Examples
    --------
    >>> from tinygrad_lab.nn.initializers import shapes_only
    >>> with shapes_only():
    ...     resnet(depth=50).output_shape((2, 224, 224, 3))
    (2, 1000)
    """
    if depth not in BLOCKS or (depth > 34 and not residual):
        raise OptionError(
            f"resnet: expected depth to be one of {sorted(BLOCKS)}, or 18 or 34 with residual=False, got {depth}"
        )
    rng = initializers.as_rng(rng)
    layers: dict[str, Layer] = {
        "conv": Conv2d(image[2], 64, kernel_size=7, stride=2, padding=3, bias=False, rng=rng),
        "norm": BatchNorm(64, activation="relu"),
        "pool": MaxPool2d(kernel_size=3, stride=2, padding=1),
    }
    channels = 64
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        width, stride = 32 * 2**stage, 1 if stage == 1 else 2
        if depth > 34:
            layers[f"stage{stage}"] = _bottlenecks(blocks, channels, width, stride, rng)
            channels = 4 * width
        else:
            layers[f"stage{stage}"] = _basic(blocks, channels, width, stride, shortcut if residual else None, rng)
            channels = width
    return Sequential({**layers, "mean": GlobalAvgPool2d(), "output": _output(channels, classes, rng)})


def resnet_cifar(
    *,
    depth: int = 20,
    image: Image = (32, 32, 3),
    classes: int = 10,
    residual: bool = True,
    shortcut: str = "padded",
    rng: Rng = None,
) -> Sequential:
    """Return a residual network for CIFAR, which returns logits; `resnet20` is ``resnet_cifar(depth=20)``.

    Parameters
    ----------
    depth : int
        6 n + 2 for n blocks per stage: 20, 32, 44, 56 and 110 in the paper.
    image : (height, width, channels)
        (32, 32, 3) in the paper; any size is accepted.
    classes : int
        10 in the paper.
    residual : bool
        Whether there are shortcuts; False gives the plain network.
    shortcut : {"padded", "padded_around", "projected"}
        The kind of shortcut where the shape changes. "padded" and "padded_around" are option A of the paper, which adds
        channels of zeros and no parameters. The paper does not say where these channels go: "padded" adds them after
        the others, "padded_around" before and after them, as in some published weights. "projected" is option B.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, H, W, channels); logits : (N, classes)

    Raises
    ------
    OptionError
        The depth is not 6 n + 2.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    Examples
    --------
    >>> resnet_cifar(depth=20, rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    if depth < 8 or depth % 6 != 2:
        raise OptionError(f"resnet_cifar: expected a depth of 6 n + 2, such as 20 or 56, got {depth}")
    rng, blocks, way = initializers.as_rng(rng), depth // 6, shortcut if residual else None
    return Sequential(
        {
            "conv": Conv2d(image[2], 16, kernel_size=3, padding=1, bias=False, rng=rng),
            "norm": BatchNorm(16, activation="relu"),
            "stage1": _basic(blocks, 16, 16, 1, way, rng),
            "stage2": _basic(blocks, 16, 32, 2, way, rng),
            "stage3": _basic(blocks, 32, 64, 2, way, rng),
            "mean": GlobalAvgPool2d(),
            "output": _output(64, classes, rng),
        }
    )


def _output(channels: int, classes: int, rng: Rng) -> Dense:
    return Dense(channels, classes, init="glorot_uniform", rng=rng)


def _bottlenecks(blocks: int, before: int, width: int, stride: int, rng: Rng) -> Sequential:
    first = Bottleneck(before, width, stride=stride, rng=rng)
    return Sequential(first, *(Bottleneck(4 * width, width, rng=rng) for _ in range(blocks - 1)))


def _basic(blocks: int, before: int, after: int, stride: int, shortcut: str | None, rng: Rng) -> Sequential:
    first = _block(before, after, stride, shortcut, rng)
    return Sequential(first, *(_block(after, after, 1, shortcut, rng) for _ in range(blocks - 1)))


def _block(before: int, after: int, stride: int, shortcut: str | None, rng: Rng) -> Layer:
    """Return two 3x3 convolutions with or without a shortcut."""
    layers: dict[str, Layer] = {
        "conv1": Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False, rng=rng),
        "norm1": BatchNorm(after, activation="relu"),
        "conv2": Conv2d(after, after, kernel_size=3, padding=1, bias=False, rng=rng),
        "norm2": BatchNorm(after, activation=None if shortcut else "relu"),
    }
    if shortcut is None:
        return Sequential(layers)
    if (before, stride) == (after, 1):
        return Residual(Sequential(layers))
    return Residual(Sequential(layers), shortcut=shortcut, channels=(before, after), stride=stride, rng=rng)


resnet18 = partial(resnet, depth=18)
resnet34 = partial(resnet, depth=34)
resnet50 = partial(resnet, depth=50)
resnet101 = partial(resnet, depth=101)
resnet152 = partial(resnet, depth=152)
plain18 = partial(resnet, depth=18, residual=False)
plain34 = partial(resnet, depth=34, residual=False)
resnet20 = partial(resnet_cifar, depth=20)
resnet56 = partial(resnet_cifar, depth=56)
plain20 = partial(resnet_cifar, depth=20, residual=False)
plain56 = partial(resnet_cifar, depth=56, residual=False)
