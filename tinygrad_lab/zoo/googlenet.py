"""GoogLeNet, Inception v1: windows of several sizes side by side, 22 layers deep.

Table 1 of the paper; the numbers of a module are its 1x1; reduced and 3x3; reduced and 5x5; and pooled planes.

| layer | output |
|---|---|
| input | 224, 224, 3 |
| convolution 64@7x7 stride 2, ReLU | 112, 112, 64 |
| max-pool 3x3 stride 2, response normalisation | 56, 56, 64 |
| convolutions 64@1x1 and 192@3x3, ReLU | 56, 56, 192 |
| response normalisation, max-pool 3x3 stride 2 | 28, 28, 192 |
| 3a: 64; 96, 128; 16, 32; 32 | 28, 28, 256 |
| 3b: 128; 128, 192; 32, 96; 64 | 28, 28, 480 |
| max-pool 3x3 stride 2 | 14, 14, 480 |
| 4a: 192; 96, 208; 16, 48; 64 | 14, 14, 512 |
| 4b: 160; 112, 224; 24, 64; 64 | 14, 14, 512 |
| 4c: 128; 128, 256; 24, 64; 64 | 14, 14, 512 |
| 4d: 112; 144, 288; 32, 64; 64 | 14, 14, 528 |
| 4e: 256; 160, 320; 32, 128; 128 | 14, 14, 832 |
| max-pool 3x3 stride 2 | 7, 7, 832 |
| 5a: 256; 160, 320; 32, 128; 128 | 7, 7, 832 |
| 5b: 384; 192, 384; 48, 128; 128 | 7, 7, 1024 |
| global average pool, dropout 0.4 | 1024 |
| dense 1000 | 1000 |

6,998,552 parameters in all.
"""

from __future__ import annotations

from tinygrad_lab import initializers
from tinygrad_lab.initializers import Rng
from tinygrad_lab.layer import Layer, Sequential
from tinygrad_lab.zoo.parts import Image
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.global_avg_pool2d import GlobalAvgPool2d
from tinygrad_lab_layers.inception import Inception
from tinygrad_lab_layers.local_response_norm import LocalResponseNorm
from tinygrad_lab_layers.max_pool2d import MaxPool2d

MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def googlenet(
    *, image: Image = (224, 224, 3), classes: int = 1000, dropout: float = 0.4, rng: Rng = None
) -> Sequential:
    """Return GoogLeNet, its logits as output.

    Parameters
    ----------
    image : (height, width, channels)
        (224, 224, 3) in the paper; any size will do.
    classes : int
        1000 in the paper.
    dropout : float
        The rate before the dense layer.
    rng : int or numpy.random.Generator
        Where the weights are drawn from.

    Shapes
    ------
    x : (N, H, W, channels); logits : (N, classes)

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, table 1. Deviation: without the two auxiliary
    classifiers that help it to train.

    Examples
    --------
    >>> from tinygrad_lab.initializers import shapes_only
    >>> with shapes_only():
    ...     googlenet().output_shape((2, 224, 224, 3))
    (2, 1000)
    """
    rng = initializers.as_rng(rng)

    def conv(before: int, after: int, window: int, *, stride: int = 1) -> Conv2d:
        padding = window // 2
        return Conv2d(before, after, window=window, stride=stride, padding=padding, activation="relu", rng=rng)

    def pool() -> MaxPool2d:
        return MaxPool2d(window=3, stride=2, padding="same")

    layers: dict[str, Layer] = {
        "conv1": conv(image[2], 64, 7, stride=2),
        "pool1": pool(),
        "norm1": LocalResponseNorm(),
        "reduce2": conv(64, 64, 1),
        "conv2": conv(64, 192, 3),
        "norm2": LocalResponseNorm(),
        "pool2": pool(),
    }
    for name in MODULES:
        layers[f"inception{name}"] = _module(name, rng)
        if name in ("3b", "4e"):
            layers[f"pool{name[0]}"] = pool()
    return Sequential(
        {
            **layers,
            "mean": GlobalAvgPool2d(),
            "dropout": Dropout(dropout),
            "output": Dense(1024, classes, init="glorot_uniform", rng=rng),
        }
    )


def _module(name: str, rng: Rng) -> Inception:
    before, conv1x1, reduce3x3, conv3x3, reduce5x5, conv5x5, pool_proj = MODULES[name]
    return Inception(
        before,
        conv1x1=conv1x1,
        reduce3x3=reduce3x3,
        conv3x3=conv3x3,
        reduce5x5=reduce5x5,
        conv5x5=conv5x5,
        pool_proj=pool_proj,
        rng=rng,
    )
