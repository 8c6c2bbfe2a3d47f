"""Network in network: 1x1 convolutions between the others, and averaged planes as logits.

| layer | output | parameters |
|---|---|---|
| input | 32, 32, 3 | 0 |
| convolution 192@5x5, 160@1x1, 96@1x1, each with ReLU | 32, 32, 96 | 60,928 |
| max-pool 3x3 stride 2, dropout 0.5 | 16, 16, 96 | 0 |
| convolution 192@5x5, 192@1x1, 192@1x1, each with ReLU | 16, 16, 192 | 535,104 |
| average pool 3x3 stride 2, dropout 0.5 | 8, 8, 192 | 0 |
| convolution 192@3x3, 192@1x1, 10@1x1, the first two with ReLU | 8, 8, 10 | 370,954 |
| global average pool | 10 | 0 |

966,986 parameters in all.
"""

from __future__ import annotations

from itertools import pairwise

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image
from tinygrad_lab_layers.avg_pool2d import AvgPool2d
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.global_avg_pool2d import GlobalAvgPool2d
from tinygrad_lab_layers.max_pool2d import MaxPool2d


def nin(*, image: Image = (32, 32, 3), classes: int = 10, dropout: float = 0.5, rng: Rng = None) -> Sequential:
    """Return network in network for CIFAR, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3) in the paper; any size is accepted.
    classes : int
        10 in the paper.
    dropout : float
        The dropout rate after each of the two inner pools.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, H, W, channels); logits : (N, classes)

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014, figure 2, with the sizes of the authors' network for
    CIFAR-10. Deviation: the last convolution has no ReLU, so that logits may be negative.

    Examples
    --------
    >>> nin(rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    rng = initializers.as_rng(rng)

    def mlpconv(
        number: int, kernel_size: int, before: int, *channels: int, last: str | None = "relu"
    ) -> dict[str, Layer]:
        layers: dict[str, Layer] = {}
        for i, (c, o) in enumerate(pairwise((before, *channels)), start=1):
            activation = last if i == len(channels) else "relu"
            size = kernel_size if i == 1 else 1
            layers[f"conv{number}_{i}"] = Conv2d(c, o, kernel_size=size, padding="same", activation=activation, rng=rng)
        return layers

    return Sequential(
        {
            **mlpconv(1, 5, image[2], 192, 160, 96),
            "pool1": MaxPool2d(kernel_size=3, stride=2, padding="same"),
            "dropout1": Dropout(dropout),
            **mlpconv(2, 5, 96, 192, 192, 192),
            "pool2": AvgPool2d(kernel_size=3, stride=2, padding="same", count_include_pad=False),
            "dropout2": Dropout(dropout),
            **mlpconv(3, 3, 192, 192, 192, classes, last=None),
            "mean": GlobalAvgPool2d(),
        }
    )
