"""Small AlexNet for images of airplanes and ships, 32x32 pixels.

| layer | output | parameters |
|---|---|---|
| input | 32, 32, 3 | 0 |
| convolution 48@3x3, ReLU | 32, 32, 48 | 1,344 |
| max-pool 2x2 | 16, 16, 48 | 0 |
| convolution 128@5x5, ReLU | 16, 16, 128 | 153,728 |
| max-pool 2x2 | 8, 8, 128 | 0 |
| convolution 128@3x3, ReLU, three times | 8, 8, 128 | 147,584 each |
| max-pool 2x2 | 4, 4, 128 | 0 |
| dense 200, ReLU | 200 | 409,800 |
| dense 30, ReLU | 30 | 6,030 |
| dense 2 | 2 | 62 |

1,013,716 parameters in all.
"""

from __future__ import annotations

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, activated, features_after, fused, padded
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.max_pool2d import MaxPool2d


def alexnet_small(
    *,
    image: Image = (32, 32, 3),
    classes: int = 2,
    padding: str = "zero",
    pool_size: int = 2,
    activation: str = "relu",
    init: str | float = "he_normal",
    rng: Rng = None,
) -> Sequential:
    """Return the small AlexNet, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3) in the source.
    classes : int
        2 in the source.
    padding : {"zero", "edge", "none"}
        The padding of convolutions. Without padding a 32x32 image is too small for the fifth convolution.
    pool_size : int
        The size of the pooling windows, whose stride is 2: 2, or 3 for windows that overlap.
    activation : str
        The registered name of an activation: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ...
    init : str or float
        The initializer of the weights of all layers, or their standard deviation.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 32, 32, 3); logits : (N, classes)

    Raises
    ------
    ShapeError
        A window is larger than its map. The message names the layer and the map.
    OptionError
        An option is out of range.

    References
    ----------
    "AlexNet from scratch": a blog post. Its padding, the activations of the convolutions and the stride of the third
    pool are inferred.

    Examples
    --------
    >>> alexnet_small(rng=0).output_shape((2, 32, 32, 3))
    (2, 2)
    """
    rng, around, inside = initializers.as_rng(rng), padded(padding), fused(activation)

    def conv(before: int, after: int, kernel_size: int) -> Layer:
        layer = Conv2d(before, after, kernel_size=kernel_size, activation=inside, init=init, rng=rng, **around)
        return activated(layer, activation)

    def dense(before: int, after: int) -> Layer:
        return activated(Dense(before, after, activation=inside, init=init, rng=rng), activation)

    def pool() -> Layer:
        return MaxPool2d(kernel_size=pool_size, stride=2)

    features = {
        "conv1": conv(image[2], 48, 3),
        "pool1": pool(),
        "conv2": conv(48, 128, 5),
        "pool2": pool(),
        "conv3": conv(128, 128, 3),
        "conv4": conv(128, 128, 3),
        "conv5": conv(128, 128, 3),
        "pool5": pool(),
        "flatten": Flatten(),
    }
    return Sequential(
        {
            **features,
            "dense6": dense(features_after(features, image), 200),
            "dense7": dense(200, 30),
            "output": Dense(30, classes, init=init, rng=rng),
        }
    )
