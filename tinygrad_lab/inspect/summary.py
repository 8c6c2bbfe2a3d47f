"""Tables of a network's layers, with shapes, parameters and multiply-adds, computed without running the network."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinygrad_lab.backend import Shape
from tinygrad_lab.inspect.trace import Call, kind_of, outline, trace
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.nn.variables import Parameter, Variable
from tinygrad_lab.tables import html_table

_SIDE_BY_SIDE = ("parallel_concat", "residual")  # as deep as their deepest part; others have the sum of the depths
_FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Row:
    """One layer of a network.

    Parameters
    ----------
    name : str
        Its path in the network.
    kind : str
        Its registered name, or else the name of its class.
    output_shape : tuple of int
        The result's shape for one example, without the batch axis.
    parameters : int
        The number of its parameters and statistics.
    multiply_adds : int
        For one example.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """A network in numbers.

    Parameters
    ----------
    model : str
        Its name.
    total_parameters, trainable_parameters, non_trainable_parameters : int
        The numbers of all values, of learned ones, and of the others: frozen ones and statistics.
    multiply_adds : int
        For one example.
    depth : int
        Convolutions and dense layers on the longest path from input to output.
    layers : tuple of Row
        The layers in the order in which they are applied, after the input.
    """

    model: str
    total_parameters: int
    trainable_parameters: int
    non_trainable_parameters: int
    multiply_adds: int
    depth: int
    layers: tuple[Row, ...]

    @property
    def activation_memory(self) -> int:
        """Bytes of all layers' results for one example in float32, the input included."""
        return _FLOAT32 * sum(math.prod(row.output_shape) for row in self.layers)

    def __str__(self) -> str:
        rows = [
            (f"{row.name} ({row.kind})", "x".join(map(str, row.output_shape)), row.parameters, row.multiply_adds)
            for row in self.layers
        ]
        width = max(len(name) for name, *_ in rows)
        lines = [f"{name:{width}}  {shape:>12}  {size:>12,}  {work:>15,}" for name, shape, size, work in rows]
        head = f"{self.model:{width}}  {'output':>12}  {'parameters':>12}  {'multiply-adds':>15}"
        total = f"{'together':{width}}  {'':12}  {self.total_parameters:>12,}  {self.multiply_adds:>15,}"
        return "\n".join([head, *lines, total])

    def _repr_html_(self) -> str:
        rows = [
            (row.name, row.kind, "×".join(map(str, row.output_shape)), f"{row.parameters:,}", f"{row.multiply_adds:,}")
            for row in self.layers
        ]
        total = ("together", f"depth {self.depth}", "", f"{self.total_parameters:,}", f"{self.multiply_adds:,}")
        head = ("layer", "kind", "output", "parameters", "multiply-adds")
        return html_table(head, [*rows, total], numbers=(3, 4))

    def as_json(self) -> dict[str, Any]:
        """Return plain dicts and lists."""
        return asdict(self) | {"layers": [asdict(row) | {"output_shape": [*row.output_shape]} for row in self.layers]}


def summarize(model: Layer, image: Sequence[int], *, name: str | None = None) -> Summary:
    """Return the summary of a network without running it.

    Parameters
    ----------
    model : Layer
        The network.
    image : sequence of int
        The shape of one example, without the batch axis.
    name : str or None
        The network's name; by default that of its class.

    Raises
    ------
    ShapeError
        A layer does not accept the shape of its input.

    Notes
    -----
    Layers are found when their `output_shape` is called. A layer gets a row if its `output_shape` calls that of no
    other layer, or if it has variables or multiply-adds that no inner row shows. So the rows add up to the totals. A
    layer that is applied several times appears once, with the multiply-adds of all its calls.

    Examples
    --------
    >>> from tinygrad_lab.registry import layers
    >>> summary = summarize(layers["dense"](4, 3), (4,))
    >>> summary.total_parameters, summary.multiply_adds, summary.depth
    (15, 12, 1)
    """
    whole = trace(model, (1, *image))
    traced: dict[int, list[Call]] = {}
    for call in whole.finished():
        traced.setdefault(id(call.layer), []).append(call)
    rows = [Row("input", "input", tuple(image), 0, 0)]
    for calls in traced.values():
        layer, path = calls[0].layer, calls[0].path
        own = _own_variables(layer, traced)
        products = sum(call.own_multiply_adds for call in calls)
        if own or products or not any(call.inner for call in calls):
            size = sum(math.prod(v.shape) for v in own)
            rows.append(Row(path or kind_of(layer), kind_of(layer), calls[-1].returned[1:], size, products))
    variables = model.variables().values()
    total = sum(math.prod(v.shape) for v in variables)
    trainable = sum(math.prod(v.shape) for v in variables if isinstance(v, Parameter) and v.node is not None)
    return Summary(
        model=name or type(model).__name__,
        total_parameters=total,
        trainable_parameters=trainable,
        non_trainable_parameters=total - trainable,
        multiply_adds=whole.multiply_adds,
        depth=_depth(model, {layer: sum(call.multiply_adds for call in calls) for layer, calls in traced.items()}),
        layers=tuple(rows),
    )


def summarize_model(name: str, options: Mapping[str, Any] | None = None) -> Summary:
    """Return the summary of a registered network, without initializing weights.

    Parameters
    ----------
    name : str
        The network's registered name.
    options : mapping or None
        Its options; see `outline`.

    Raises
    ------
    PluginError, ConfigError, ShapeError
        See `outline`.

    Examples
    --------
    >>> summarize_model("lenet5").total_parameters
    61706
    >>> summarize_model("lenet5", {"image": (28, 28, 1), "padding": "zero"}).layers[1].output_shape
    (28, 28, 6)
    """
    model, image = outline(name, options)
    return summarize(model, image, name=name)


def _own_variables(layer: Layer, traced: Container[int]) -> list[Variable]:
    """Return a layer's variables without those of the inner layers that have calls of their own."""
    inner = [part for part in layer.layers().values() if part is not layer and id(part) in traced]
    shown = {id(v) for part in inner for v in part.variables().values()}
    return [v for v in layer.variables().values() if id(v) not in shown]


def _depth(layer: Layer, products: Mapping[int, int]) -> int:
    """Return the number of layers with products on the longest path through a layer.

    A `Sequential` may hold more layers than are on its path, such as auxiliary classifiers.
    """
    inner = layer.inner if isinstance(layer, Sequential) else layer.children()
    ways = [_depth(child, products) for child in inner.values()]
    if not ways:
        return int(products.get(id(layer), 0) > 0)
    return max(ways) if kind_of(layer) in _SIDE_BY_SIDE else sum(ways)
