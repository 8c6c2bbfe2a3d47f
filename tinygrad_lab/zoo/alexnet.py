"""AlexNet, the network that won the ImageNet challenge of 2012.

| layer | output | parameters (two groups) | (one group) |
|---|---|---|---|
| input | 227, 227, 3 | 0 | 0 |
| convolution 96@11x11 stride 4, ReLU | 55, 55, 96 | 34,944 | 34,944 |
| response normalization, max-pool 3x3 stride 2 | 27, 27, 96 | 0 | 0 |
| convolution 256@5x5 padding 2, two groups, ReLU | 27, 27, 256 | 307,456 | 614,656 |
| response normalization, max-pool 3x3 stride 2 | 13, 13, 256 | 0 | 0 |
| convolution 384@3x3 padding 1, ReLU | 13, 13, 384 | 885,120 | 885,120 |
| convolution 384@3x3 padding 1, two groups, ReLU | 13, 13, 384 | 663,936 | 1,327,488 |
| convolution 256@3x3 padding 1, two groups, ReLU | 13, 13, 256 | 442,624 | 884,992 |
| max-pool 3x3 stride 2 | 6, 6, 256 | 0 | 0 |
| dense 4096, ReLU, dropout 0.5 | 4096 | 37,752,832 | 37,752,832 |
| dense 4096, ReLU, dropout 0.5 | 4096 | 16,781,312 | 16,781,312 |
| dense 1000 | 1000 | 4,097,000 | 4,097,000 |

60,965,224 parameters and 724,406,816 multiply-adds; in one group 62,378,344 and 1,135,256,096.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from tinygrad_lab_layers.local_response_norm import LocalResponseNorm
from tinygrad_lab_layers.max_pool2d import MaxPool2d

_ORDERS = {"before_pool": ("norm", "pool"), "after_pool": ("pool", "norm"), "none": ("pool",)}


def alexnet(
    *,
    image: Image = (227, 227, 3),
    classes: int = 1000,
    groups: int = 2,
    normalization: str = "before_pool",
    normalized: Sequence[int] = (1, 2),
    normalization_groups: int = 1,
    pool_size: int = 3,
    dropout: float = 0.5,
    rng: Rng = None,
) -> Sequential:
    """Return AlexNet, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (227, 227, 3) gives the paper's maps. The paper's text says 224, which would need padding.
    classes : int
        1000 in the paper.
    groups : int
        The number of groups in each of convolutions 2, 4 and 5. The paper has two, one for each of its two GPUs.
    normalization : {"before_pool", "after_pool", "none"}
        The position of local response normalization: before the pool in the paper, after it in CaffeNet.
    normalized : sequence of int
        The convolutions with normalization: some of 1, 2 and 5, which have a pool. The paper has 1 and 2; some drawings
        add 5.
    normalization_groups : int
        The number of groups of channels that are normalized apart: 2 as two GPUs with half of the channels each do it.
    pool_size : int
        The size of the pooling windows, whose stride is 2: with 3, as in the paper, windows overlap; with 2, they do
        not. For images of 227x227, the maps have the same size either way.
    dropout : float
        The dropout rate after each of the two hidden dense layers.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 227, 227, 3); logits : (N, classes)

    Raises
    ------
    ShapeError
        The image is too small. The message names the layer and the map.
    OptionError
        An option is out of range.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 3.5 and figure 2. Deviations: weights are drawn by He's rule (those of the last layer by Glorot's) and not
    with standard deviation 0.01, and all biases start at 0.

    Examples
    --------
    >>> from tinygrad_lab.nn.initializers import shapes_only
    >>> with shapes_only():
    ...     alexnet().output_shape((2, 227, 227, 3))
    (2, 1000)
    """
    if normalization not in _ORDERS:
        raise OptionError(f"alexnet: expected normalization to be one of {sorted(_ORDERS)}, got {normalization!r}")
    if not set(normalized) <= {1, 2, 5}:
        raise OptionError(
            "alexnet: expected the option normalized to contain only 1, 2 and 5, the convolutions with a pool, "
            f"got {tuple(normalized)}"
        )
    rng = initializers.as_rng(rng)

    def conv(before: int, after: int, kernel_size: int, *, groups: int = 1) -> Conv2d:
        return Conv2d(
            before, after, kernel_size=kernel_size, padding=kernel_size // 2, groups=groups, activation="relu", rng=rng
        )

    def shrink(number: int) -> dict[str, Layer]:
        norm = LocalResponseNorm(groups=normalization_groups)
        parts = {"norm": norm, "pool": MaxPool2d(kernel_size=pool_size, stride=2)}
        order = _ORDERS[normalization if number in normalized else "none"]
        return {f"{name}{number}": parts[name] for name in order}

    features = {
        "conv1": Conv2d(image[2], 96, kernel_size=11, stride=4, activation="relu", rng=rng),
        **shrink(1),
        "conv2": conv(96, 256, 5, groups=groups),
        **shrink(2),
        "conv3": conv(256, 384, 3),
        "conv4": conv(384, 384, 3, groups=groups),
        "conv5": conv(384, 256, 3, groups=groups),
        **shrink(5),
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
