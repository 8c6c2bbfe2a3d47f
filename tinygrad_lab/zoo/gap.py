"""Networks with global average pooling or dense layers after the same convolutions.

| layer | output, padded | output, not padded | parameters |
|---|---|---|---|
| input | 32, 32, 3 | 32, 32, 3 | 0 |
| convolution 20@3x3, ReLU | 32, 32, 20 | 30, 30, 20 | 560 |
| max-pool 3x3 stride 2 | 15, 15, 20 | 14, 14, 20 | 0 |
| convolution 20@3x3, ReLU | 15, 15, 20 | 12, 12, 20 | 3,620 |
| max-pool 3x3 stride 2 | 7, 7, 20 | 5, 5, 20 | 0 |
| convolution 20@3x3, ReLU | 7, 7, 20 | 3, 3, 20 | 3,620 |
| `cnn7`: dense 120, ReLU | 120 | 120 | 117,720 or 21,720 |
| dense 84, ReLU | 84 | 84 | 10,164 |
| dense 2 | 2 | 2 | 170 |
| or `gap7`: global average pool | 20 | 20 | 0 |
| dense 2 | 2 | 2 | 42 |

`cnn7` has 135,854 parameters padded and 39,854 not padded, `gap7` 7,842 either way.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, features_after, padded
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.global_avg_pool2d import GlobalAvgPool2d
from tinygrad_lab_layers.max_pool2d import MaxPool2d


def cnn7(
    *,
    image: Image = (32, 32, 3),
    classes: int = 2,
    padding: str = "zero",
    widths: Sequence[int] = (20, 20, 20),
    rng: Rng = None,
) -> Sequential:
    """Return three convolutions with three dense layers after them, which return logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3) in the source.
    classes : int
        2 in the source.
    padding : {"zero", "edge", "none"}
        The padding of convolutions; not stated in the source.
    widths : sequence of int
        The channels of each convolution. A pool follows each of the first two.
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
        The padding is unknown, or there are no widths.

    References
    ----------
    "Global average pooling replaces the dense layers": a blog post, after M. Lin, Q. Chen, S. Yan, "Network in
    network", ICLR 2014, section 3.2.

    Examples
    --------
    >>> cnn7(rng=0).output_shape((2, 32, 32, 3))
    (2, 2)
    """
    rng = initializers.as_rng(rng)
    features = {**_convolutions(image, padding, widths, rng), "flatten": Flatten()}
    return Sequential(
        {
            **features,
            "dense1": Dense(features_after(features, image), 120, activation="relu", rng=rng),
            "dense2": Dense(120, 84, activation="relu", rng=rng),
            "output": Dense(84, classes, init="glorot_uniform", rng=rng),
        }
    )


def gap7(
    *,
    image: Image = (32, 32, 3),
    classes: int = 2,
    padding: str = "zero",
    widths: Sequence[int] = (20, 20, 20),
    reduction: str = "mean",
    rng: Rng = None,
) -> Sequential:
    """Return three convolutions with global average pooling and one dense layer after them, which return logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3) in the source.
    classes : int
        2 in the source.
    padding : {"zero", "edge", "none"}
        The padding of convolutions; not stated in the source.
    widths : sequence of int
        The channels of each convolution. A pool follows each of the first two. Larger numbers make the network wider,
        more numbers make it deeper.
    reduction : {"mean", "dense"}
        The layer that turns the planes into one vector: the mean of each plane or, for comparison, a dense layer with
        as many neurons as there are planes.
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
        The padding or the reduction is unknown, or there are no widths.

    References
    ----------
    See `cnn7`.

    Examples
    --------
    >>> gap7(rng=0).output_shape((2, 32, 32, 3))
    (2, 2)
    """
    if reduction not in ("mean", "dense"):
        raise OptionError(f"gap7: expected the reduction 'mean' or 'dense', got {reduction!r}")
    rng = initializers.as_rng(rng)
    layers = _convolutions(image, padding, widths, rng)
    if reduction == "mean":
        layers["mean"] = GlobalAvgPool2d()
    else:
        layers["flatten"] = Flatten()
        layers["dense"] = Dense(features_after(layers, image), widths[-1], activation="relu", rng=rng)
    return Sequential({**layers, "output": Dense(widths[-1], classes, init="glorot_uniform", rng=rng)})


def _convolutions(image: Image, padding: str, widths: Sequence[int], rng: Rng) -> dict[str, Layer]:
    if not widths:
        raise OptionError("widths: expected the channels of at least one convolution, got none")
    layers: dict[str, Layer] = {}
    before = image[2]
    for number, after in enumerate(widths, start=1):
        conv = Conv2d(before, after, kernel_size=3, activation="relu", rng=rng, **padded(padding))
        layers[f"conv{number}"] = conv
        if number <= 2:
            layers[f"pool{number}"] = MaxPool2d(kernel_size=3, stride=2)
        before = after
    return layers
