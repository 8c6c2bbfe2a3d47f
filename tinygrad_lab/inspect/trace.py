"""Trace of the shapes that a network's layers take and return, without running it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.backend import Shape
from tinygrad_lab.data import Compose, Dataset, find_source
from tinygrad_lab.data.resizing import as_size
from tinygrad_lab.errors import ConfigError, PluginError
from tinygrad_lab.nn.functional import replaced_output_shapes
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.train.build import network_of
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.shapes import dummy_images, shape_after


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
        The shapes of its inputs.
    returned : shape
        The shape of its result, as a new object: a later call with that object as input follows this one.
    inner : list of Call
        The calls that it made itself, in order.
    """

    path: str
    layer: Layer
    taken: tuple[Shape, ...]
    returned: Shape
    inner: list[Call] = field(default_factory=list)

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of the call: those that the layer counts, or those of its inner calls if they are more."""
        return max(int(self.layer.multiply_adds(*self.taken)), sum(call.multiply_adds for call in self.inner))

    @property
    def own_multiply_adds(self) -> int:
        """The multiply-adds of the call without those of its inner calls."""
        return self.multiply_adds - sum(call.multiply_adds for call in self.inner)

    def finished(self) -> Iterator[Call]:
        """Yield the calls in the order in which they returned, this one last."""
        for call in self.inner:
            yield from call.finished()
        yield self


def trace(model: Layer, *shapes: Shape) -> Call:
    """Return the call of a network's `output_shape`, which contains the calls of its layers' `output_shape`.

    Parameters
    ----------
    model : Layer
        The network, which is not changed.
    *shapes : tuple of int
        The inputs' shapes, batch axis included.

    Raises
    ------
    ShapeError
        A layer does not accept the shape of its input.

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
            result = (*result,)  # a new object
            open_calls[-1].append(Call(paths[id(layer)], layer, shapes, result, inner))
            return result

        return output_shape

    with replaced_output_shapes(model, watch):
        model.output_shape(*shapes)
    return open_calls[0][0]


def outline(name: str, options: Mapping[str, Any] | None = None) -> tuple[Layer, tuple[int, ...]]:
    """Return a registered network with shapes but no weights, and the shape of its input.

    Parameters
    ----------
    name : str
        The network's registered name.
    options : mapping or None
        Its options. `image`, or `length` of a network for sequences, is the shape of its input; if it is left out, the
        network's default is used.

    Raises
    ------
    PluginError
        The network is unknown.
    ConfigError
        The network has no such option, or has neither an option `image` nor an option `length`.
    OptionError
        An option is of another type.
    ShapeError
        A window is larger than its feature map; the error names both.

    Examples
    --------
    >>> model, image = outline("lenet5", {"classes": 7})
    >>> image, model.output_shape((1, *image))
    ((32, 32, 1), (1, 7))
    """
    table = {"name": name, **(options or {})}
    known = inspect.signature(registry.models.bind(table)).parameters
    image = known["image"].default if "image" in known else None  # the bound one, or the default
    if "length" in known:  # of sequences
        image = (known["length"].default,)
    if not isinstance(image, (tuple, list)) or not all(type(n) is int and n > 0 for n in image):
        raise ConfigError(f"{name}: expected the option `image` to be (height, width, channels), got {image!r}")
    with shapes_only():
        return registry.models.make(table), tuple(image)


def outline_recipe(recipe: Recipe) -> tuple[Layer, tuple[int, ...]]:
    """Return the network of a recipe with shapes but no weights, and the shape of an image that it is evaluated on.

    Raises
    ------
    PluginError, ConfigError, OptionError, ShapeError
        As `outline`; a ConfigError too if only the files of the data set determine the shape of its images.

    Examples
    --------
    >>> from tinygrad_lab.train.recipe import find_recipe
    >>> model, image = outline_recipe(find_recipe("lenet5"))
    >>> image, model.output_shape((1, *image))
    ((32, 32, 1), (1, 10))
    """
    source = find_source(recipe["data"]["name"])
    size = as_size(recipe["data"]["size"], f"recipe {recipe.name!r}: data.size") if "size" in recipe["data"] else None
    example = dummy_images(source, size)
    if example is None and size is not None:  # pictures
        example = Dataset(np.zeros((2, *size, 3), np.uint8), np.zeros(2, int), name=source.name)
    with shapes_only():
        model = network_of(recipe)
    if example is None and "image" in recipe["model"]:
        return model, tuple(recipe["model"]["image"])
    if example is None:
        raise ConfigError(
            f"recipe {recipe.name!r}: expected data.size, since only the files of {source.name!r} show the shape of "
            "images; use --set data.size=[32,32]"
        )
    return model, tuple(shape_after(Compose.from_config(recipe.augment).fit(example).for_evaluation(), example))


def kind_of(layer: Layer) -> str:
    """Return a layer's registered name, or the name of its class."""
    try:
        return registry.layers.name_of(type(layer))
    except PluginError:
        return type(layer).__name__
