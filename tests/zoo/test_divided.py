"""Networks divided over ranks, without the ranks: what is exchanged, and what cannot be divided."""

from __future__ import annotations

from typing import Any

import pytest

from tinygrad_lab.distributed import Group
from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.registry import layers
from tinygrad_lab.zoo.alexnet import alexnet
from tinygrad_lab.zoo.divided import Exchange, divided


class Second(Group):
    """The second of two ranks, without the first."""

    rank, size = 1, 2


def test_alexnet_exchanges_before_convolution_3_and_the_dense_layers_alone() -> None:
    shape: tuple[int, ...] = (1, 227, 227, 3)
    exchanged = {}
    with shapes_only():
        half = divided(alexnet(normalization_groups=2, rng=0), Second())
        for name, layer in half.children().items():
            if isinstance(layer, Exchange):
                exchanged[name] = layer.exchanged(shape)
            shape = layer.output_shape(shape)
        assert shape == (1, 1000)
        counted = sum(v.size for v in half.parameters().values())
    assert exchanged == {
        "exchange_conv3": 43_264,
        "exchange_flatten": 9_216,
        "exchange_dropout6": 4_096,
        "exchange_dropout7": 4_096,
        "exchange": 1_000,
    }
    assert 2 * counted == 60_965_224


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"norm": layers["local_response_norm"]()}, "expected norm with 2 groups, one for each rank"),
        ({"conv": layers["conv2d"](4, 4, kernel_size=1, groups=4, rng=0)}, "expected conv with 1 or 2 groups"),
        ({"odd": layers["dense"](4, 3, rng=0)}, "expected odd with a number of channels that 2 ranks divide"),
        ({"norm": layers["batch_norm"](4)}, "a layer such as Conv2d or Dense, got BatchNorm"),
    ],
)
def test_what_cannot_be_divided_is_refused(parts: dict[str, Any], message: str) -> None:
    first = layers["conv2d"](3, 4, kernel_size=1, rng=0)
    with pytest.raises(OptionError, match=message):
        divided(Sequential({"first": first, **parts}), Second())
