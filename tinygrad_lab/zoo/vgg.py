"""VGG networks: only 3x3 convolutions, 11 to 19 layers deep.

Table 1 of the paper, where a number is a 3x3 convolution with padding 1 and that number of channels, with ReLU:

| block | output | VGG-11 (A) | VGG-13 (B) | VGG-16 (D) | VGG-19 (E) |
|---|---|---|---|---|---|
| 1, max-pool 2x2 | 112, 112, 64 | 64 | 64, 64 | 64, 64 | 64, 64 |
| 2, max-pool 2x2 | 56, 56, 128 | 128 | 128, 128 | 128, 128 | 128, 128 |
| 3, max-pool 2x2 | 28, 28, 256 | 256, 256 | 256, 256 | 256 three times | 256 four times |
| 4, max-pool 2x2 | 14, 14, 512 | 512, 512 | 512, 512 | 512 three times | 512 four times |
| 5, max-pool 2x2 | 7, 7, 512 | 512, 512 | 512, 512 | 512 three times | 512 four times |
| dense 4096, dense 4096, dense 1000 | 1000 | | | | |
| parameters | | 132,863,336 | 133,047,848 | 138,357,544 | 143,667,240 |

VGG-16 takes 15,470,264,320 multiply-adds.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, features_after
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.max_pool2d import MaxPool2d

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(
    *,
    depth: int,
    image: Image = (224, 224, 3),
    classes: int = 1000,
    hidden: int = 4096,
    dropout: float = 0.5,
    rng: Rng = None,
) -> Sequential:
    """Return a VGG network, which returns logits; `vgg16` is ``vgg(depth=16)``.

    Parameters
    ----------
    depth : {11, 13, 16, 19}
        The number of layers with weights.
    image : (height, width, channels)
        (224, 224, 3) in the paper, at least 32 high and wide.
    classes : int
        1000 in the paper.
    hidden : int
        The width of the two hidden dense layers.
    dropout : float
        The dropout rate after each of them.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 224, 224, 3); logits : (N, classes)

    Raises
    ------
    ShapeError
        The image is too small. The message names the layer and the map.
    OptionError
        The depth is unknown.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, table 1.
    Deviation: initial weights are drawn by He's rule, with which deep networks train from scratch.

    Examples
    --------
    >>> vgg(depth=11, image=(32, 32, 3), classes=10, hidden=64, rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    if depth not in CONVOLUTIONS:
        raise OptionError(f"vgg: expected depth to be one of {sorted(CONVOLUTIONS)}, got {depth}")
    rng = initializers.as_rng(rng)
    features: dict[str, Layer] = {}
    for block, (before, after) in enumerate(pairwise((image[2], *CHANNELS)), start=1):
        for number in range(CONVOLUTIONS[depth][block - 1]):
            channels = after if number else before
            conv = Conv2d(channels, after, kernel_size=3, padding=1, activation="relu", rng=rng)
            features[f"conv{block}_{number + 1}"] = conv
        features[f"pool{block}"] = MaxPool2d(kernel_size=2)
    features["flatten"] = Flatten()
    return Sequential(
        {
            **features,
            "dense6": Dense(features_after(features, image), hidden, activation="relu", rng=rng),
            "dropout6": Dropout(dropout),
            "dense7": Dense(hidden, hidden, activation="relu", rng=rng),
            "dropout7": Dropout(dropout),
            "output": Dense(hidden, classes, init="glorot_uniform", rng=rng),
        }
    )


vgg11 = partial(vgg, depth=11)
vgg13 = partial(vgg, depth=13)
vgg16 = partial(vgg, depth=16)
vgg19 = partial(vgg, depth=19)
