"""Ten-layer network that reaches 90 % on CIFAR-10, with windows that grow inside each block and no padding.

| layer | output | parameters |
|---|---|---|
| input | 32, 32, 3 | 0 |
| convolution 64@1x1 / batch norm / ReLU | 32, 32, 64 | 256 / 256 |
| convolution 64@3x3 / batch norm / ReLU | 30, 30, 64 | 36,928 / 256 |
| convolution 64@5x5 / batch norm / ReLU | 26, 26, 64 | 102,464 / 256 |
| dropout 0.25, max-pool 2x2 | 13, 13, 64 | 0 |
| convolution 128@1x1 / batch norm / ReLU | 13, 13, 128 | 8,320 / 512 |
| convolution 128@3x3 / batch norm / ReLU | 11, 11, 128 | 147,584 / 512 |
| convolution 128@5x5 / batch norm / ReLU | 7, 7, 128 | 409,728 / 512 |
| dropout 0.25 | 7, 7, 128 | 0 |
| convolution 256@1x1 / batch norm / ReLU | 7, 7, 256 | 33,024 / 1,024 |
| convolution 256@3x3 / batch norm / ReLU | 5, 5, 256 | 590,080 / 1,024 |
| convolution 256@5x5 / batch norm / ReLU | 1, 1, 256 | 1,638,656 / 1,024 |
| dropout 0.25, flatten | 256 | 0 |
| dense 10 | 10 | 2,570 |

2,974,986 parameters in all, of which 2,972,298 are learned and 2,688 are running statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_lab.errors import OptionError
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
from tinygrad_lab_layers.max_pool2d import MaxPool2d
from tinygrad_lab_layers.relu import ReLU


def ten_layer(
    *,
    image: Image = (32, 32, 3),
    classes: int = 10,
    kernel_sizes: Sequence[int] = (1, 3, 5),
    widths: Sequence[int] = (64, 128, 256),
    dropout: float = 0.25,
    init: str | float = "glorot_uniform",
    momentum: float = 0.99,
    eps: float = 1e-3,
    rng: Rng = None,
) -> Sequential:
    """Return the ten-layer network, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3) in the source.
    classes : int
        10 in the source.
    kernel_sizes : sequence of int
        The windows inside a block, in order; (5, 3, 1) is the source's first attempt.
    widths : sequence of int
        The channels of each block. With the windows (5, 3, 1) the network has only 1,898,250 parameters; widths
        (80, 160, 320) raise them to 2,961,610, nearly as many as in the table.
    dropout : float
        The dropout rate at the end of each block; 0 leaves out the dropout layers.
    init : str or float
        The initializer of the weights, or their standard deviation.
    momentum, eps : float
        Options of batch normalization. Like `init`, they are Keras's defaults, which the source does not mention.
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
        There are no windows or no widths.

    References
    ----------
    "90 % on CIFAR-10 with ten layers": a blog post, and its table of layers as Keras prints it.

    Examples
    --------
    >>> ten_layer(rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    if not kernel_sizes or not widths:
        raise OptionError(f"ten_layer: expected kernel sizes and widths, got {tuple(kernel_sizes)} and {tuple(widths)}")
    rng = initializers.as_rng(rng)
    layers: dict[str, Layer] = {}
    before = image[2]
    for block, after in enumerate(widths, start=1):
        for kernel_size in kernel_sizes:
            name = f"{block}_{kernel_size}x{kernel_size}"
            layers[f"conv{name}"] = Conv2d(before, after, kernel_size=kernel_size, init=init, rng=rng)
            layers[f"norm{name}"] = BatchNorm(after, momentum=momentum, eps=eps)
            layers[f"relu{name}"] = ReLU()
            before = after
        if dropout:
            layers[f"dropout{block}"] = Dropout(dropout)
        if block == 1:
            layers["pool1"] = MaxPool2d(kernel_size=2)
    layers["flatten"] = Flatten()
    return Sequential({**layers, "output": Dense(features_after(layers, image), classes, init=init, rng=rng)})
