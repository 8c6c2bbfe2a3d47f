"""Parts that several papers' networks share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.registry import layers as registered

Image = Sequence[int]
"""(height, width, channels)."""

_PADDINGS = {"none": ("valid", "zero"), "zero": ("same", "zero"), "edge": ("same", "edge")}


def features_after(layers: Mapping[str, Layer], image: Image) -> int:
    """Return the number of outputs of the last layer for one image: the ``in_features`` of a dense layer after it."""
    return math.prod(Sequential(dict(layers)).output_shape((1, *image))[1:])


def padded(kind: str) -> dict[str, Any]:
    """Return the options of a convolution that shrinks maps, or pads them so that they keep their size.

    Raises
    ------
    OptionError
        The kind is not ``"none"``, ``"zero"`` or ``"edge"``.
    """
    if kind not in _PADDINGS:
        raise OptionError(f"padding: expected one of {sorted(_PADDINGS)}, got {kind!r}")
    padding, mode = _PADDINGS[kind]
    return {"padding": padding, "padding_mode": mode}


def fused(activation: str) -> str | None:
    """Return the activation if convolutions and dense layers can compute it themselves, as they can ReLU, else None."""
    return activation if activation == "relu" else None


def activated(layer: Layer, activation: str) -> Layer:
    """Return a layer that was made with the `fused` activation, followed by the activation if it is not fused."""
    return layer if fused(activation) else Sequential({"linear": layer, "activation": registered[activation]()})
