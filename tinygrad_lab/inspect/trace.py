"""What a network's layers are given and what they return, from shapes alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tinygrad_lab import registry
from tinygrad_lab.backend import Shape
from tinygrad_lab.errors import ConfigError, PluginError
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.layer import Layer


@dataclass(frozen=True)
class Call:
    """One call of a layer's `output_shape`.

    Parameters
    ----------
    path : str
        The layer's path in the network; empty for the network itself.
    layer : Layer
        The layer.
    taken : tuple of shapes
        What it was given.
    returned : shape
        What it returned: an object of its own, by which a later call that was given it can be told.
    inner : list of Call
        The calls that it made, in order.
    """

    path: str
    layer: Layer
    taken: tuple[Shape, ...]
    returned: Shape
    inner: list[Call] = field(default_factory=list)

    def finished(self) -> Iterator[Call]:
        """Yield the calls in the order in which they returned, this one last."""
        for call in self.inner:
            yield from call.finished()
        yield self


def trace(model: Layer, *shapes: Shape) -> Call:
    """Return the calls that asking a network for its output's shape leads to.

    Parameters
    ----------
    model : Layer
        The network, which stays as it is.
    *shapes : tuple of int
        The inputs' shapes, batch axis included.

    Raises
    ------
    ShapeError
        A layer does not take the shape that comes to it.

    Examples
    --------
    >>> from tinygrad_lab.registry import layers
    >>> call = trace(layers["dense"](4, 3), (1, 4))
    >>> call.returned, call.inner
    ((1, 3), [])
    """
    paths = {id(layer): path for path, layer in reversed(model.layers().items())}
    open_calls: list[list[Call]] = [[]]

    def watch(layer: Layer) -> Callable[..., Any]:
        original = layer.output_shape

        def output_shape(*shapes: Shape) -> Any:
            open_calls.append([])
            try:
                result = original(*shapes)
            finally:
                inner = open_calls.pop()
            result = (*result,)  # an object of its own
            open_calls[-1].append(Call(paths[id(layer)], layer, shapes, result, inner))
            return result

        return output_shape

    with _replaced(model, watch):
        model.output_shape(*shapes)
    return open_calls[0][0]


@contextmanager
def _replaced(model: Layer, watch: Callable[[Layer], Callable[..., Any]]) -> Iterator[None]:
    """Exchange the `output_shape` of all layers of a model within the ``with`` block."""
    layers = {id(layer): layer for layer in model.layers().values()}.values()
    for layer in layers:
        vars(layer)["output_shape"] = watch(layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["output_shape"]


def outline(name: str, options: Mapping[str, Any] | None = None) -> tuple[Layer, tuple[int, ...]]:
    """Return a registered network that has shapes but no weights, and the shape of the image that it takes.

    Parameters
    ----------
    name : str
        The network's registered name.
    options : mapping or None
        Its options; `image` says what it is given, and is the network's default if left out.

    Raises
    ------
    PluginError
        There is no such network.
    ConfigError
        The network has no such option, or does not say what image it takes.
    OptionError
        An option is of another type.
    ShapeError
        A window is larger than its map; the error names the layer and the map.

    Examples
    --------
    >>> model, image = outline("lenet5", {"classes": 7})
    >>> image, model.output_shape((1, *image))
    ((32, 32, 1), (1, 7))
    """
    table = {"name": name, **(options or {})}
    known = inspect.signature(registry.models.bind(table)).parameters
    image = known["image"].default if "image" in known else None  # the given one, if there is one
    if not isinstance(image, (tuple, list)) or not all(type(n) is int and n > 0 for n in image):
        raise ConfigError(f"{name}: expected an option image of (height, width, channels), got {image!r}")
    with shapes_only():
        return registry.models.make(table), tuple(image)


def kind_of(layer: Layer) -> str:
    """Return a layer's registered name, or the name of its class."""
    try:
        return registry.layers.name_of(type(layer))
    except PluginError:
        return type(layer).__name__
