"""LeNet-5, the network that read handwritten digits on checks.

| layer | output | parameters |
|---|---|---|
| input | 32, 32, 1 | 0 |
| C1 convolution 6@5x5, ReLU | 28, 28, 6 | 156 |
| S2 max-pool 2x2 | 14, 14, 6 | 0 |
| C3 convolution 16@5x5, ReLU | 10, 10, 16 | 2,416 |
| S4 max-pool 2x2 | 5, 5, 16 | 0 |
| C5 dense 120, ReLU | 120 | 48,120 |
| F6 dense 84, ReLU | 84 | 10,164 |
| dense 10 | 10 | 850 |

61,706 parameters in all.
"""

from __future__ import annotations

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, features_after, padded
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.max_pool2d import MaxPool2d


def lenet5(*, image: Image = (32, 32, 1), classes: int = 10, padding: str = "none", rng: Rng = None) -> Sequential:
    """Return LeNet-5, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 1) in the paper.
    classes : int
        10 in the paper.
    padding : {"none", "zero", "edge"}
        The padding of convolutions; none in the paper.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 32, 32, 1); logits : (N, classes)

    Raises
    ------
    ShapeError
        A window is larger than its map. The message names the layer and the map.
    OptionError
        The padding is unknown.

    References
    ----------
    Y. LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.B. Deviations, as usual
    today: ReLU replaces the scaled tanh, max-pooling the trained averages, and softmax the radial-basis output; and
    each filter of C3 sees all planes of S2.

    Examples
    --------
    >>> lenet5(rng=0).output_shape((2, 32, 32, 1))
    (2, 10)
    """
    rng = initializers.as_rng(rng)
    features = {
        "c1": Conv2d(image[2], 6, kernel_size=5, activation="relu", rng=rng, **padded(padding)),
        "s2": MaxPool2d(kernel_size=2),
        "c3": Conv2d(6, 16, kernel_size=5, activation="relu", rng=rng, **padded(padding)),
        "s4": MaxPool2d(kernel_size=2),
        "flatten": Flatten(),
    }
    return Sequential(
        {
            **features,
            "c5": Dense(features_after(features, image), 120, activation="relu", rng=rng),
            "f6": Dense(120, 84, activation="relu", rng=rng),
            "output": Dense(84, classes, init="glorot_uniform", rng=rng),
        }
    )
