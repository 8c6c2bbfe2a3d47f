"""Small networks for CIFAR-10 in the style of VGG and Inception; the sizes are our own.

`vgg_small`: two 3x3 convolutions and a 2x2 pool, three times:

| layer | output | parameters |
|---|---|---|
| input | 32, 32, 3 | 0 |
| convolution 32@3x3, ReLU, twice, max-pool 2x2 | 16, 16, 32 | 896 + 9,248 |
| convolution 64@3x3, ReLU, twice, max-pool 2x2 | 8, 8, 64 | 18,496 + 36,928 |
| convolution 128@3x3, ReLU, twice, max-pool 2x2 | 4, 4, 128 | 73,856 + 147,584 |
| dense 256, ReLU, dropout 0.5 | 256 | 524,544 |
| dense 10 | 10 | 2,570 |

814,122 parameters in all.

`inception_small`: a convolution with batch normalization and a pool, then four Inception modules, each with batch
normalization after it, with a pool after the second module, then the mean of each plane:

| layer | output | parameters / those of the normalization, with running statistics |
|---|---|---|
| input | 32, 32, 3 | 0 |
| convolution 32@3x3, normalized, ReLU, max-pool 2x2 | 16, 16, 32 | 896 / 128 |
| module a, normalized | 16, 16, 64 | 10,400 / 256 |
| module b, normalized, max-pool 2x2 | 8, 8, 96 | 21,224 / 384 |
| module c, normalized | 8, 8, 128 | 41,016 / 512 |
| module d, normalized | 8, 8, 160 | 69,724 / 640 |
| mean of each plane, dense 10 | 10 | 1,610 |

146,790 parameters in all, running statistics included.
"""

from __future__ import annotations

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, features_after
from tinygrad_lab_layers.batch_norm import BatchNorm
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.global_avg_pool2d import GlobalAvgPool2d
from tinygrad_lab_layers.inception import Inception
from tinygrad_lab_layers.max_pool2d import MaxPool2d
from tinygrad_lab_layers.relu import ReLU

MODULES = {  # conv1x1, reduce3x3, conv3x3, reduce5x5, conv5x5, pool_proj
    "a": (16, 24, 32, 8, 8, 8),
    "b": (24, 32, 48, 8, 12, 12),
    "c": (32, 48, 64, 8, 16, 16),
    "d": (40, 64, 80, 12, 20, 20),
}


def vgg_small(*, image: Image = (32, 32, 3), classes: int = 10, dropout: float = 0.5, rng: Rng = None) -> Sequential:
    """Return a small network in the style of VGG, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3), or any that is at least 8 high and wide.
    classes : int
        The number of classes.
    dropout : float
        The dropout rate before the last layer.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 32, 32, 3); logits : (N, classes)

    Raises
    ------
    ShapeError
        The image is too small. The message names the layer and the map.

    References
    ----------
    After K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.

    Examples
    --------
    >>> vgg_small(rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    rng = initializers.as_rng(rng)
    layers: dict[str, Layer] = {}
    before = image[2]
    for block, after in enumerate((32, 64, 128), start=1):
        layers[f"conv{block}_1"] = Conv2d(before, after, kernel_size=3, padding=1, activation="relu", rng=rng)
        layers[f"conv{block}_2"] = Conv2d(after, after, kernel_size=3, padding=1, activation="relu", rng=rng)
        layers[f"pool{block}"] = MaxPool2d(kernel_size=2)
        before = after
    layers["flatten"] = Flatten()
    return Sequential(
        {
            **layers,
            "dense4": Dense(features_after(layers, image), 256, activation="relu", rng=rng),
            "dropout4": Dropout(dropout),
            "output": Dense(256, classes, init="glorot_uniform", rng=rng),
        }
    )


def inception_small(*, image: Image = (32, 32, 3), classes: int = 10, rng: Rng = None) -> Sequential:
    """Return a small network of Inception modules, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3), or any that is at least 4 high and wide.
    classes : int
        The number of classes.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 32, 32, 3); logits : (N, classes)

    Raises
    ------
    ShapeError
        The image is too small. The message names the layer and the map.

    References
    ----------
    After C. Szegedy et al., "Going deeper with convolutions", CVPR 2015; normalization after S. Ioffe, C. Szegedy,
    "Batch normalization", ICML 2015, here once after each module.

    Examples
    --------
    >>> inception_small(rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    rng = initializers.as_rng(rng)
    layers: dict[str, Layer] = {
        "conv": Conv2d(image[2], 32, kernel_size=3, padding=1, rng=rng),
        "norm": BatchNorm(32),
        "relu": ReLU(),
        "pool1": MaxPool2d(kernel_size=2),
    }
    before = 32
    for name, sizes in MODULES.items():
        conv1x1, reduce3x3, conv3x3, reduce5x5, conv5x5, pool_proj = sizes
        layers[f"module_{name}"] = Inception(
            before,
            conv1x1=conv1x1,
            reduce3x3=reduce3x3,
            conv3x3=conv3x3,
            reduce5x5=reduce5x5,
            conv5x5=conv5x5,
            pool_proj=pool_proj,
            rng=rng,
        )
        before = conv1x1 + conv3x3 + conv5x5 + pool_proj
        layers[f"norm_{name}"] = BatchNorm(before)
        if name == "b":
            layers["pool2"] = MaxPool2d(kernel_size=2)
    return Sequential(
        {**layers, "mean": GlobalAvgPool2d(), "output": Dense(before, classes, init="glorot_uniform", rng=rng)}
    )
