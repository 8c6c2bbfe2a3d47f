"""Networks divided over ranks: each rank has some channels of each layer, as AlexNet's two GPUs had.

| before | exchanged for one image, there and back | numbers |
|---|---|---|
| convolution 3 | maps 13, 13, 256 | 43,264 |
| dense 6 | maps 6, 6, 256 | 9,216 |
| dense 7 | 4096 | 4,096 |
| output | 4096 | 4,096 |
| loss | 1000 | 1,000 |

The table is for `alexnet` on two ranks: each number is that of one rank, which sends its half of the maps in the
forward pass and half of their gradient in the backward pass. Grouped convolutions, pools and normalization exchange
nothing.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_lab.autograd.forward import linear
from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.distributed import Group, all_gather
from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.ops.shaping import moveaxis, reshape
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.flatten import Flatten
from tinygrad_lab_layers.local_response_norm import LocalResponseNorm
from tinygrad_lab_layers.max_pool2d import MaxPool2d


@primitive
def mean_gradient(xp: Any, x: Any, *, ranks: int) -> Any:
    """Return x; its gradient is divided by the number of ranks, each of which counts it once."""
    return x


mean_gradient.defvjp(x=lambda g, ranks: g * (1.0 / ranks))
linear(mean_gradient)


class Exchange(Layer):
    """Joins the channels of all ranks, on every rank.

    The backward pass returns to each rank the gradient of its own channels: the sum over all ranks, or, if all ranks
    compute the same from the result, the mean.

    Parameters
    ----------
    group : Group
        The ranks.
    alike : bool
        Whether all ranks compute the same from the result, such as a loss from logits.

    Shapes
    ------
    x : (N, ..., C / R); y : (N, ..., C), for R ranks
    """

    def __init__(self, group: Group, *, alike: bool = False) -> None:
        self.group, self.alike = group, alike

    def forward(self, x: Any) -> Any:
        """Return the channels of all ranks."""
        ranks = moveaxis(all_gather(x, group=self.group), 0, -2)  # (R, N, ..., C/R) -> (N, ..., R, C/R)
        y = reshape(ranks, shape=self.output_shape(x.shape))  # -> (N, ..., C)
        return mean_gradient(y, ranks=self.group.size) if self.alike else y

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x with the channels of all ranks."""
        return (*shape[:-1], shape[-1] * self.group.size)

    def exchanged(self, shape: tuple[int, ...]) -> int:
        """Return how many numbers this rank must send to the others for an x, in the forward and backward pass."""
        return 2 * (self.group.size - 1) * math.prod(shape)


def divided(network: Sequential, group: Group) -> Sequential:
    """Return this rank's part of a network whose channels are divided over the ranks of a group.

    Convolutions and dense layers get equal shares of the filters. An exchange comes only before a layer that needs the
    channels of other ranks: a convolution without groups, a dense layer, and the loss. Results, gradients and training
    steps are those of the whole network on one process, and so is dropout. The initial weights are the network's.

    Parameters
    ----------
    network : Sequential
        Convolutions, pools, normalization, dropout, a flattening and dense layers, such as `alexnet` returns with
        ``groups=group.size``. Response normalization needs as many groups, or its sums would need other ranks.
    group : Group
        The ranks.

    Raises
    ------
    OptionError
        A layer cannot be divided.

    Examples
    --------
    >>> whole = Sequential({"conv": Conv2d(3, 4, kernel_size=3, rng=0), "pool": MaxPool2d(kernel_size=2)})
    >>> divided(whole, Group())
    Sequential({
        'conv': Conv2d(3 -> 4, kernel_size=3),
        'pool': MaxPool2d(2),
        'exchange': Exchange(Group(rank 0 of 1), alike=True),
    })
    """
    parts: dict[str, Layer] = {}
    apart = False  # whether the channels are on different ranks
    for name, layer in network.children().items():
        needs_all = isinstance(layer, (Dense, Dropout, Flatten)) or (isinstance(layer, Conv2d) and layer.groups == 1)
        if apart and needs_all:
            parts[f"exchange_{name}"], apart = Exchange(group), False
        parts[name], apart = _share(name, layer, group, apart)
    if apart:
        parts["exchange"] = Exchange(group, alike=True)
    return Sequential(parts)


def _share(name: str, layer: Layer, group: Group, apart: bool) -> tuple[Layer, bool]:
    """Return this rank's share of a layer, and whether its channels are then on different ranks."""
    size = group.size
    if isinstance(layer, (Dropout, Flatten, MaxPool2d)):
        return layer, apart
    config = layer.config()
    if isinstance(layer, LocalResponseNorm):
        if apart and layer.groups != size:
            raise _indivisible(name, layer, f"{size} groups, one for each rank")
        return (LocalResponseNorm(**config | {"groups": 1}) if apart else layer), apart
    if isinstance(layer, Conv2d):
        if layer.groups not in (1, size) or (layer.groups == 1) == apart:
            raise _indivisible(name, layer, f"1 or {size} groups")
        names = ("in_channels", "out_channels")
        config |= {"groups": 1, "in_channels": config["in_channels"] // layer.groups}
    elif isinstance(layer, Dense):
        names = ("in_features", "out_features")
    else:
        raise OptionError(f"divided: expected {name} to be a layer such as Conv2d or Dense, got {layer!r}")
    if config[names[1]] % size:
        raise _indivisible(name, layer, f"a number of channels that {size} ranks divide")
    own = config[names[1]] // size
    share = type(layer)(**config | {names[1]: own}, rng=0)
    for path, parameter in share.parameters().items():
        parameter.assign(layer.parameters()[path].value[..., group.rank * own : (group.rank + 1) * own])
    return share, True


def _indivisible(name: str, layer: Layer, expected: str) -> OptionError:
    return OptionError(f"divided: expected {name} with {expected}, got {layer!r}")
