"""How often each pixel is used by the windows of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.autograd.transforms import grad
from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect.trace import trace
from tinygrad_lab.layer import Layer
from tinygrad_lab.ops.pooling import sum_pool2d
from tinygrad_lab.ops.reductions import sum as total
from tinygrad_lab.ops.shaping import pad
from tinygrad_lab.ops.windows import Window


def usage_map(model: Layer, image: Sequence[int]) -> Array:
    r"""Return on how many ways each pixel reaches the output, through layers with windows one after another.

    .. math:: u = \frac{\partial}{\partial x} \sum f_n(\dots f_1(x)), \qquad f_i(x) = x * 1

    All filters are set to ones and all else is left out, so that the gradient counts: for a single convolution it says
    in how many windows a pixel lies.

    Parameters
    ----------
    model : Layer
        A layer with a window, or a network; those of its layers that have none are passed over.
    image : sequence of int
        The shape of one example: (height, width, channels).

    Returns
    -------
    array (height, width)
        Counts, in float64.

    Raises
    ------
    OptionError
        No layer has a window, or one is dilated.
    ShapeError
        A layer does not take the shape that comes to it.

    Examples
    --------
    >>> from tinygrad_lab.registry import layers
    >>> usage_map(layers["conv2d"](1, 1, window=3, padding=1), (4, 4, 1))
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    """
    calls = [c for c in trace(model, (1, *image)).finished() if isinstance(getattr(c.layer, "window", None), Window)]
    if not calls:
        raise OptionError(f"usage_map({type(model).__name__}): expected a layer with a window, got none")
    if dilated := [c.layer for c in calls if c.layer.window.dilation != (1, 1)]:  # type: ignore[attr-defined]  # a Window
        raise OptionError(f"usage_map({type(model).__name__}): expected windows without dilation, got {dilated}")

    def reached(x: Any) -> Any:
        for call in calls:
            x = _summed(call.layer, x)
        return total(x)

    counts: Array = grad(reached)(np.ones((1, *image[:2], 1)))
    return counts[0, :, :, 0]


def _summed(layer: Any, x: Any) -> Any:
    """Return the sum of each window of a layer."""
    window: Window = layer.window
    padding = window.padding_for(x.shape[1:3])
    if getattr(layer, "padding_mode", "zero") == "edge":
        x, padding = pad(x, ((0, 0), *padding, (0, 0)), mode="edge"), ((0, 0), (0, 0))
    return sum_pool2d(x, window=window.size, stride=window.stride, padding=padding)
