"""Memory that a network needs in training, estimated from shapes before it is allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_lab.backend import Shape
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.limits import check_memory
from tinygrad_lab.nn.layer import Layer

_FLOAT32 = 4  # bytes


def check_weights(who: str, model: Layer) -> None:
    """Refuse a network whose weights and their gradients do not fit into the memory of this machine.

    Parameters
    ----------
    who : str
        The subject of the message.
    model : Layer
        The network; its shapes suffice (see `shapes_only`).

    Raises
    ------
    ConfigError
        The machine has too little memory.
    """
    numbers = sum(math.prod(parameter.shape) for parameter in model.parameters().values())
    what = f"{who}: {numbers:,} weights and their gradients"
    check_memory(ConfigError, what, _FLOAT32 * numbers * 2, cure="take a smaller network")


def check_step(who: str, model: Layer, image: Shape, *, batch_size: int) -> None:
    """Refuse a network and batches whose values do not fit into the memory of this machine during one step.

    The estimate is a lower bound: the inputs of layers with weights, which gradients need, and the largest result. A
    network without `output_shape` is not checked.

    Raises
    ------
    ConfigError
        The machine has too little memory.
    """
    kept: list[int] = [math.prod(image)]
    largest = 0

    def note(layer: Layer, shapes: tuple[Shape, ...], result: Any) -> None:
        nonlocal largest
        largest = max(largest, _numbers(result))
        if layer.parameters() and not layer.children():
            kept.append(_numbers(shapes))

    with _watched(model, note):
        try:
            model.output_shape((1, *image))
        except NotImplementedError:
            return
    what = f"{who}: a step with batches of {batch_size:,} images"
    check_memory(ConfigError, what, _FLOAT32 * batch_size * (sum(kept) + largest), cure="take smaller batches")


def _numbers(shapes: Any) -> int:
    """Return the number of elements of an array of this shape, or of several arrays."""
    if any(isinstance(entry, (tuple, list)) for entry in shapes):
        return sum(map(_numbers, shapes))
    return math.prod(shapes)


@contextmanager
def _watched(model: Layer, note: Callable[..., None]) -> Iterator[None]:
    """Call `note` after each call of a layer's `output_shape` inside the ``with`` block."""

    def watch(layer: Layer) -> Callable[..., Any]:
        original = layer.output_shape

        def output_shape(*shapes: Shape) -> Any:
            result = original(*shapes)
            note(layer, shapes, result)
            return result

        return output_shape

    layers = list({id(layer): layer for layer in model.layers().values()}.values())
    for layer in layers:
        vars(layer)["output_shape"] = watch(layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["output_shape"]
