"""ZFNet: AlexNet with a finer first layer, after a study of its filters.

| layer | output | parameters |
|---|---|---|
| input | 224, 224, 3 | 0 |
| convolution 96@7x7 stride 2, ReLU | 110, 110, 96 | 14,208 |
| max-pool 3x3 stride 2, response normalization | 55, 55, 96 | 0 |
| convolution 256@5x5 stride 2, ReLU | 26, 26, 256 | 614,656 |
| max-pool 3x3 stride 2, response normalization | 13, 13, 256 | 0 |
| convolution 384@3x3, ReLU | 13, 13, 384 | 885,120 |
| convolution 384@3x3, ReLU | 13, 13, 384 | 1,327,488 |
| convolution 256@3x3, ReLU | 13, 13, 256 | 884,992 |
| max-pool 3x3 stride 2 | 6, 6, 256 | 0 |
| dense 4096, ReLU, dropout 0.5 | 4096 | 37,752,832 |
| dense 4096, ReLU, dropout 0.5 | 4096 | 16,781,312 |
| dense 1000 | 1000 | 4,097,000 |

62,357,608 parameters in all.
"""

from __future__ import annotations

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, features_after
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.local_response_norm import LocalResponseNorm
from tinygrad_lab_layers.max_pool2d import MaxPool2d


def zfnet(*, image: Image = (224, 224, 3), classes: int = 1000, dropout: float = 0.5, rng: Rng = None) -> Sequential:
    """Return ZFNet, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (224, 224, 3) in the paper.
    classes : int
        1000 in the paper.
    dropout : float
        The dropout rate after each of the two hidden dense layers.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 224, 224, 3); logits : (N, classes)

    Raises
    ------
    ShapeError
        The image is too small. The message names the layer and the map.

    References
    ----------
    M. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, figure 3. Deviations: the
    contrast normalization is AlexNet's local response normalization, as in later descriptions of the network; initial
    weights are drawn by He's rule. The padding, which gives the figure's maps, is inferred.

    Examples
    --------
    >>> from tinygrad_lab.nn.initializers import shapes_only
    >>> with shapes_only():
    ...     zfnet().output_shape((2, 224, 224, 3))
    (2, 1000)
    """
    rng = initializers.as_rng(rng)

    def conv(before: int, after: int, kernel_size: int, *, stride: int = 1, padding: int = 1) -> Conv2d:
        return Conv2d(
            before, after, kernel_size=kernel_size, stride=stride, padding=padding, activation="relu", rng=rng
        )

    features = {
        "conv1": conv(image[2], 96, 7, stride=2),
        "pool1": MaxPool2d(kernel_size=3, stride=2, padding=1),
        "norm1": LocalResponseNorm(),
        "conv2": conv(96, 256, 5, stride=2, padding=0),
        "pool2": MaxPool2d(kernel_size=3, stride=2, padding=1),
        "norm2": LocalResponseNorm(),
        "conv3": conv(256, 384, 3),
        "conv4": conv(384, 384, 3),
        "conv5": conv(384, 256, 3),
        "pool5": MaxPool2d(kernel_size=3, stride=2),
        "flatten": Flatten(),
    }
    return Sequential(
        {
            **features,
            "dense6": Dense(features_after(features, image), 4096, activation="relu", rng=rng),
            "dropout6": Dropout(dropout),
            "dense7": Dense(4096, 4096, activation="relu", rng=rng),
            "dropout7": Dropout(dropout),
            "output": Dense(4096, classes, init="glorot_uniform", rng=rng),
        }
    )
