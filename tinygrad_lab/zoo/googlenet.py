"""GoogLeNet (Inception v1): 22 layers deep, with windows of several sizes in parallel.

Table 1 of the paper. A module's numbers are the planes of its four branches: 1x1; reduction, 3x3; reduction, 5x5; pool.

| layer | output |
|---|---|
| input | 224, 224, 3 |
| convolution 64@7x7 stride 2, ReLU | 112, 112, 64 |
| max-pool 3x3 stride 2, response normalization | 56, 56, 64 |
| convolutions 64@1x1 and 192@3x3, ReLU | 56, 56, 192 |
| response normalization, max-pool 3x3 stride 2 | 28, 28, 192 |
| 3a: 64; 96, 128; 16, 32; 32 | 28, 28, 256 |
| 3b: 128; 128, 192; 32, 96; 64 | 28, 28, 480 |
| max-pool 3x3 stride 2 | 14, 14, 480 |
| 4a: 192; 96, 208; 16, 48; 64 | 14, 14, 512 |
| 4b: 160; 112, 224; 24, 64; 64 | 14, 14, 512 |
| 4c: 128; 128, 256; 24, 64; 64 | 14, 14, 512 |
| 4d: 112; 144, 288; 32, 64; 64 | 14, 14, 528 |
| 4e: 256; 160, 320; 32, 128; 128 | 14, 14, 832 |
| max-pool 3x3 stride 2 | 7, 7, 832 |
| 5a: 256; 160, 320; 32, 128; 128 | 7, 7, 832 |
| 5b: 384; 192, 384; 48, 128; 128 | 7, 7, 1024 |
| global average pool, dropout 0.4 | 1024 |
| dense 1000 | 1000 |

6,998,552 parameters in all. In training, two auxiliary classifiers after 4a and 4d send gradients to the layers below:

| layer | output | parameters after 4a | after 4d |
|---|---|---|---|
| average pool 5x5 stride 3 | 4, 4, 512 or 528 | 0 | 0 |
| convolution 128@1x1, ReLU | 4, 4, 128 | 65,664 | 67,712 |
| dense 1024, ReLU, dropout 0.7 | 1024 | 2,098,176 | 2,098,176 |
| dense 1000 | 1000 | 1,025,000 | 1,025,000 |

13,378,280 parameters with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.zoo.parts import Image, features_after
from tinygrad_lab_layers.avg_pool2d import AvgPool2d
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.global_avg_pool2d import GlobalAvgPool2d
from tinygrad_lab_layers.inception import Inception
from tinygrad_lab_layers.local_response_norm import LocalResponseNorm
from tinygrad_lab_layers.max_pool2d import MaxPool2d

MODULES = {  # the channels of the input, conv1x1, reduce3x3, conv3x3, reduce5x5, conv5x5, pool_proj
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


class WithAuxiliary(Sequential):
    """Sequence of layers with auxiliary classifiers, which run only in training.

    Parameters
    ----------
    layers : dict of layers
        The layers in order.
    heads : mapping of name to Layer
        The classifiers by the name of the layer whose result is their input. Their paths begin with ``auxiliary_NAME``.

    Shapes
    ------
    In evaluation, the last layer's output; in training, a tuple of this output and the heads' outputs.

    Examples
    --------
    >>> model = WithAuxiliary({"a": Dense(4, 3), "b": Dense(3, 2)}, {"a": Dense(3, 2)})
    >>> x = np.ones((1, 4), "float32")
    >>> [y.shape for y in model(x)], model.eval()(x).shape
    ([(1, 2), (1, 2)], (1, 2))
    """

    def __init__(self, layers: dict[str, Layer], heads: Mapping[str, Layer]) -> None:
        super().__init__(layers)
        self.heads = dict(heads)

    def children(self) -> dict[str, Layer]:
        """Return the layers by name, the heads last."""
        return super().children() | {f"auxiliary_{name}": head for name, head in self.heads.items()}

    def forward(self, *inputs: Any) -> Any:
        """Apply the layers in order and, in training, the heads."""
        results = []
        for name, layer in self.inner.items():
            inputs = (layer(*inputs),)
            if self.training and name in self.heads:
                results.append(self.heads[name](*inputs))
        return (inputs[0], *results) if self.training else inputs[0]

    def output_shape(self, *shapes: Any) -> Any:
        """Return the shape after the last layer, after a check of the heads' inputs."""
        for name, layer in self.inner.items():
            shapes = (layer.output_shape(*shapes),)
            if self.training and name in self.heads:
                self.heads[name].output_shape(*shapes)
        return shapes[0]

    def multiply_adds(self, *shapes: Any) -> int:
        """Return the sum over the layers and, in training, the heads."""
        total = 0
        for name, layer in self.inner.items():
            total += layer.multiply_adds(*shapes)
            shapes = (layer.output_shape(*shapes),)
            if self.training and name in self.heads:
                total += self.heads[name].multiply_adds(*shapes)
        return total

    def config(self) -> dict[str, Any]:
        """Return the layers and the heads by name."""
        return {"layers": dict(self.inner), "heads": dict(self.heads)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a network of the layers and heads in a configuration."""
        return cls(config["layers"], config["heads"])


def googlenet(
    *,
    image: Image = (224, 224, 3),
    classes: int = 1000,
    dropout: float = 0.4,
    auxiliary: bool = False,
    rng: Rng = None,
) -> Sequential:
    """Return GoogLeNet, which returns logits.

    Parameters
    ----------
    image : (height, width, channels)
        (224, 224, 3) in the paper; without auxiliary classifiers, any size is accepted.
    classes : int
        1000 in the paper.
    dropout : float
        The dropout rate before the dense layer.
    auxiliary : bool
        Whether to add the two auxiliary classifiers. In training, the network then returns three arrays of logits,
        which the loss ``auxiliary_cross_entropy`` combines. In evaluation, the auxiliary classifiers do not run.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, H, W, channels); logits : (N, classes); in training with auxiliary classifiers, a tuple of three such arrays

    Raises
    ------
    ShapeError
        The image is too small for the auxiliary classifiers. For an image of 224x224, their pools get maps of 14x14.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, table 1 and section 5. The numbers of parameters are
    those of Caffe's model bvlc_googlenet. PyTorch's model has batch normalization, and 3x3 in place of 5x5.

    Examples
    --------
    >>> from tinygrad_lab.nn.initializers import shapes_only
    >>> with shapes_only():
    ...     googlenet().output_shape((2, 224, 224, 3))
    (2, 1000)
    """
    rng = initializers.as_rng(rng)

    def conv(before: int, after: int, kernel_size: int, *, stride: int = 1) -> Conv2d:
        padding = kernel_size // 2
        return Conv2d(
            before, after, kernel_size=kernel_size, stride=stride, padding=padding, activation="relu", rng=rng
        )

    def pool() -> MaxPool2d:
        return MaxPool2d(kernel_size=3, stride=2, padding="same")

    layers: dict[str, Layer] = {
        "conv1": conv(image[2], 64, 7, stride=2),
        "pool1": pool(),
        "norm1": LocalResponseNorm(),
        "reduce2": conv(64, 64, 1),
        "conv2": conv(64, 192, 3),
        "norm2": LocalResponseNorm(),
        "pool2": pool(),
    }
    for name in MODULES:
        layers[f"inception{name}"] = _module(name, rng)
        if name in ("3b", "4e"):
            layers[f"pool{name[0]}"] = pool()
    ends: dict[str, Layer] = {
        "mean": GlobalAvgPool2d(),
        "dropout": Dropout(dropout),
        "output": Dense(1024, classes, init="glorot_uniform", rng=rng),
    }
    if not auxiliary:
        return Sequential(layers | ends)
    heads = {f"inception{name}": _head(f"inception{name}", layers, image, classes, rng) for name in ("4a", "4d")}
    return WithAuxiliary(layers | ends, heads)


def _head(after: str, layers: Mapping[str, Layer], image: Image, classes: int, rng: Rng) -> Sequential:
    """Return the auxiliary classifier after a layer."""
    names = list(layers)
    below = Sequential({name: layers[name] for name in names[: names.index(after) + 1]})
    map_shape = below.output_shape((1, *image))[1:]
    features = {
        "pool": AvgPool2d(kernel_size=5, stride=3),
        "conv": Conv2d(map_shape[2], 128, kernel_size=1, activation="relu", rng=rng),
        "flatten": Flatten(),
    }
    return Sequential(
        {
            **features,
            "dense": Dense(features_after(features, map_shape), 1024, activation="relu", rng=rng),
            "dropout": Dropout(0.7),
            "output": Dense(1024, classes, init="glorot_uniform", rng=rng),
        }
    )


def _module(name: str, rng: Rng) -> Inception:
    before, conv1x1, reduce3x3, conv3x3, reduce5x5, conv5x5, pool_proj = MODULES[name]
    return Inception(
        before,
        conv1x1=conv1x1,
        reduce3x3=reduce3x3,
        conv3x3=conv3x3,
        reduce5x5=reduce5x5,
        conv5x5=conv5x5,
        pool_proj=pool_proj,
        rng=rng,
    )
