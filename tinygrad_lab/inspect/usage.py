"""Usage map: how often the windows of a network use each pixel."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lab.autograd.transforms import grad
from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect.trace import Call, kind_of, trace
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.ops.pooling import sum_pool2d
from tinygrad_lab.ops.reductions import sum as total
from tinygrad_lab.ops.shaping import pad
from tinygrad_lab.ops.windows import Window


def usage_map(model: Layer, image: Sequence[int]) -> Array:
    r"""Return the number of paths by which each pixel reaches the output.

    .. math:: u = \frac{\partial}{\partial x} \sum f_n(\dots f_1(x)), \qquad f_i(x) = x * 1

    All filters are replaced by ones and all other layers are left out, so the gradient counts paths: for a single
    convolution, the windows that contain a pixel. Paths through parallel branches, and through a residual layer and its
    shortcut, are added.

    Parameters
    ----------
    model : Layer
        A layer with a window, or a network; layers without windows are skipped.
    image : sequence of int
        The shape of one example: (height, width, channels).

    Returns
    -------
    array (height, width)
        Counts, in float64.

    Raises
    ------
    OptionError
        No layer has a window, a window is dilated, or layers are connected in a way that the count does not cover.
    ShapeError
        A layer does not accept the shape of its input.

    Examples
    --------
    >>> from tinygrad_lab.registry import layers
    >>> usage_map(layers["conv2d"](1, 1, kernel_size=3, padding=1), (4, 4, 1))
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    """
    call = trace(model, (1, *image))
    windows = [c.layer.window for c in call.finished() if _has_window(c)]  # type: ignore[attr-defined]  # a Window
    if not windows:
        raise OptionError(f"usage_map({type(model).__name__}): expected a layer with a window, got none")
    if dilated := [window.who for window in windows if window.dilation != (1, 1)]:
        raise OptionError(f"usage_map({type(model).__name__}): expected windows without dilation, got {dilated}")
    counts: Array = grad(lambda x: total(_reached(call, x)))(np.ones((1, *image[:2], 1)))
    return counts[0, :, :, 0]


def _has_window(call: Call) -> bool:
    return isinstance(getattr(call.layer, "window", None), Window)


def _reached(call: Call, x: Any) -> Any:
    """Return the number of paths to each position of a layer's result, given those to each position of its input."""
    layer: Any = call.layer
    if _has_window(call):
        return _summed(call, x)
    if not any(map(_has_window, call.finished())):
        return x
    if kind_of(layer) == "parallel_concat":
        return functools.reduce(operator.add, (_reached(branch, x) for branch in call.inner))
    if kind_of(layer) == "residual":
        (inner,) = (c for c in call.inner if c.layer is layer.inner)
        return _reached(inner, x) + x[:, :: layer.stride, :: layer.stride]
    given = call.taken[0]
    for inner in call.inner:
        if inner.taken[0] is not given:
            raise OptionError(
                f"usage_map: expected a sequence of layers in {type(layer).__name__}, or residual or parallel_concat, "
                f"got another connection before {inner.path!r}; try the evaluation mode, or each part separately"
            )
        x, given = _reached(inner, x), inner.returned
    return x


def _summed(call: Call, x: Any) -> Any:
    """Return the sum of each window of a layer."""
    layer: Any = call.layer
    window: Window = layer.window
    before, padding = x.shape[1:3], window.padding_for(x.shape[1:3])
    if getattr(layer, "padding_mode", "zero") == "edge":
        x, padding = pad(x, ((0, 0), *padding, (0, 0)), mode="edge"), ((0, 0), (0, 0))
    sums = sum_pool2d(x, kernel_size=window.size, stride=window.stride, padding=padding)
    if (before, sums.shape[1:3]) != (call.taken[0][1:3], call.returned[1:3]):
        raise OptionError(
            f"usage_map: expected maps whose size only windows change, got {call.taken[0]} -> {call.returned} in "
            f"{layer}, where the window alone would give {before} -> {sums.shape[1:3]}"
        )
    return sums
