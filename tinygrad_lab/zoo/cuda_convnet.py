"""Four-layer network of the AlexNet paper's experiment with local response normalization on CIFAR-10.

| layer | output | parameters |
|---|---|---|
| input | 32, 32, 3 | 0 |
| convolution 64@5x5, ReLU | 32, 32, 64 | 4,864 |
| response normalization, max-pool 3x3 stride 2 | 16, 16, 64 | 0 |
| convolution 64@5x5, ReLU | 16, 16, 64 | 102,464 |
| response normalization, max-pool 3x3 stride 2 | 8, 8, 64 | 0 |
| convolution 32@3x3, ReLU | 8, 8, 32 | 18,464 |
| convolution 32@3x3, ReLU | 8, 8, 32 | 9,248 |
| dense 10 | 10 | 20,490 |

155,530 parameters in all. The paper reports 13 % error without normalization and 11 % with it.
"""

from __future__ import annotations

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, activated, features_after, fused
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.local_response_norm import LocalResponseNorm
from tinygrad_lab_layers.max_pool2d import MaxPool2d


def cuda_convnet(
    *,
    image: Image = (32, 32, 3),
    classes: int = 10,
    normalization: bool = True,
    pool_size: int = 3,
    activation: str = "relu",
    rng: Rng = None,
) -> Sequential:
    """Return cuda-convnet's four-layer network, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (32, 32, 3) in the source.
    classes : int
        10 in the source.
    normalization : bool
        Whether the first two convolutions are followed by local response normalization.
    pool_size : int
        The size of the pooling windows, whose stride is 2: windows of 3x3 overlap, windows of 2x2 do not. The maps have
        the same size either way.
    activation : str
        The registered name of an activation: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ... (figure 1 of the paper compares
        the first two).
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, 32, 32, 3); logits : (N, classes)

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012,
    section 3.3; the layers are those of cuda-convnet's example "conv-local-11pct". Deviations: layers 3 and 4, which
    are locally connected in the example, with different filters at each position, are convolutions here; and initial
    weights follow He's rule.

    Examples
    --------
    >>> cuda_convnet(rng=0).output_shape((2, 32, 32, 3))
    (2, 10)
    """
    rng, inside = initializers.as_rng(rng), fused(activation)

    def conv(before: int, after: int, kernel_size: int) -> Layer:
        layer = Conv2d(before, after, kernel_size=kernel_size, padding="same", activation=inside, rng=rng)
        return activated(layer, activation)

    def shrink(number: int) -> dict[str, Layer]:
        norm = LocalResponseNorm(5, alpha=1e-3, beta=0.75, k=1.0, convention="divided")
        pool = MaxPool2d(kernel_size=pool_size, stride=2, padding="same")
        return {**({f"norm{number}": norm} if normalization else {}), f"pool{number}": pool}

    features = {
        "conv1": conv(image[2], 64, 5),
        **shrink(1),
        "conv2": conv(64, 64, 5),
        **shrink(2),
        "conv3": conv(64, 32, 3),
        "conv4": conv(32, 32, 3),
        "flatten": Flatten(),
    }
    size = features_after(features, image)
    return Sequential({**features, "output": Dense(size, classes, init="glorot_uniform", rng=rng)})
