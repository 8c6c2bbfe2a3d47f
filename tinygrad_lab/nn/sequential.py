"""Sequential: layers applied one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from tinygrad_lab.arguments import listing
from tinygrad_lab.errors import ConfigError, LabError, OptionError, hint
from tinygrad_lab.foreign_names import LAYER, missing
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.misuse import brief


def _expect_layer(who: str, layer: Any, key: Any) -> None:
    if isinstance(layer, type) and issubclass(layer, Layer):
        raise OptionError(
            f"{who}: expected layers, got the class {layer.__name__} at {key!r}; write {layer.__name__}(...)"
        )
    if not isinstance(layer, Layer):
        table = f": {layer}; a layer's table needs a name, such as name = 'relu'" if isinstance(layer, dict) else ""
        raise OptionError(f"{who}: expected layers, got {type(layer).__name__} at {key!r}{table}")


class Sequential(Layer):
    r"""Layers one after another: :math:`y = f_n(\dots f_2(f_1(x)))`.

    Parameters
    ----------
    *layers : Layer, or one list or dict of layers
        In the order of application; a dict gives them names.

    Shapes
    ------
    x : the input of the first layer; y : the output of the last one

    References
    ----------
    None: a composition of functions.

    Examples
    --------
    >>> model = Sequential()
    >>> model.output_shape((2, 3))
    (2, 3)
    """

    def __init__(self, *layers: Any) -> None:
        given = layers[0] if len(layers) == 1 and isinstance(layers[0], (Mapping, list, tuple)) else layers
        named = given if isinstance(given, Mapping) else dict(enumerate(given))
        for key, layer in named.items():
            _expect_layer("Sequential", layer, key)
        self.inner = {str(key): layer for key, layer in named.items()}
        if len(self.inner) != len(named) or any("." in key for key in self.inner):
            raise OptionError(f"Sequential: expected different names without dots, got {list(named)}")

    def children(self) -> dict[str, Layer]:
        """Return the layers by name or number."""
        return dict(self.inner)

    def forward(self, *inputs: Any) -> Any:
        """Apply the layers in order; the first may take several inputs."""
        for layer in self.inner.values():
            inputs = (layer(*inputs),)
        return inputs[0]

    def output_shape(self, *shapes: Any) -> Any:
        """Return the shape after the last layer."""
        for name, layer in self.inner.items():
            try:
                shapes = (layer.output_shape(*shapes),)
            except LabError as error:
                error.add_note(f"in layer {name!r}: {brief(layer)}, on an input of shape {shapes[0]}")
                raise
        return shapes[0]

    def multiply_adds(self, *shapes: Any) -> int:
        """Return the sum over the layers."""
        total = 0
        for layer in self.inner.values():
            total += layer.multiply_adds(*shapes)
            shapes = (layer.output_shape(*shapes),)
        return total

    def __getitem__(self, index: int | str | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self.inner.items())[index]))
        layers = self.children()  # a subclass may have layers outside of the sequence, such as extra heads
        return layers[index if isinstance(index, str) else list(layers)[index]]

    def __setitem__(self, index: int | str, layer: Layer) -> None:
        """Replace a layer by name or number; an unknown name raises."""
        name = index if isinstance(index, str) else list(self.inner)[index]
        if name not in self.inner:
            raise OptionError(
                f"Sequential: expected the name of a layer to replace, got {name!r}; {hint(name, self.inner)}"
            )
        _expect_layer("Sequential", layer, name)
        self.inner[name] = layer

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("inner", {})
        if name not in inner:
            raise missing(f"'{type(self).__name__}' object", name, LAYER)
        return inner[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Layer) and (type(self) is Sequential or name in self.inner):  # goes into the sequence
            self[name] = value
        else:
            super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.inner.values())

    def config(self) -> dict[str, Any]:
        """Return the layers by name."""
        return {"layers": dict(self.inner)}

    def __repr__(self) -> str:
        if list(self.inner) == list(map(str, range(len(self)))):
            return listing("Sequential(", list(map(repr, self)), ")")
        return listing("Sequential({", [f"{name!r}: {layer!r}" for name, layer in self.inner.items()], "})")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a Sequential of the layers in a configuration, a table by name or a list."""
        layers = config.get("layers")
        if len(config) != 1 or not isinstance(layers, (Mapping, list)):
            raise ConfigError(f"Sequential: expected only the entry layers, a list or table of layers, got {config}")
        return cls(layers) if isinstance(layers, Mapping) else cls(*layers)
