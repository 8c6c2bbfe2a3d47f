"""Conventions of frameworks: names of arrays, orders of axes, and the rules that rename layers."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lab.arguments import fits
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.backend import Array, Shape, transfer
from tinygrad_lab.errors import OptionError, PluginError
from tinygrad_lab.nn.functional import watched_output_shapes
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Variable
from tinygrad_lab.registry import layers as registered
from tinygrad_lab.tensor import tensor

__all__ = ["CONVENTIONS", "original", "renamed"]

Axes = tuple[int, ...]
Rules = Mapping[str, str | None]
Names = dict[str, tuple[str, Axes]]  # a framework's name for an array -> our name, our order of axes

_MAP_AXES = 3  # axes of the map of one example: height, width, channels

_FILTERS: Names = {"weight": ("weight", (2, 3, 1, 0)), "bias": ("bias", ())}
_NORM: Names = {"weight": ("scale", ()), "bias": ("shift", ())}
_STATISTICS: Names = {
    "running_mean": ("running_mean", ()),
    "running_var": ("running_var", ()),
    "num_batches_tracked": ("", ()),
}

CONVENTIONS: dict[str, dict[str, Names]] = {
    "own": {},
    "torch": {
        "batch_norm": _NORM | _STATISTICS,
        "conv2d": _FILTERS,
        "conv2d_transpose": _FILTERS,
        "dense": {"weight": ("weight", (1, 0)), "bias": ("bias", ())},
        "depthwise_conv2d": _FILTERS,
        "embedding": {"weight": ("weight", ())},
        "group_norm": _NORM,
        "layer_norm": _NORM,
        "prelu": {"weight": ("slope", ())},
    },
}
"""By framework and kind of layer: for each of the framework's names for an array, our name and our order of its axes.

An array whose name here is empty is skipped. An empty order leaves the axes as they are. A plugin adds an entry for its
layer: ``CONVENTIONS["torch"]["acme.snake"] = {"alpha": ("alpha", ())}``.
"""


def check_convention(who: str, convention: str) -> None:
    """Check the name of a convention.

    Raises
    ------
    OptionError
        The name is unknown.
    """
    if convention not in CONVENTIONS:
        raise OptionError(f"{who}: expected convention to be one of {sorted(CONVENTIONS)}, got {convention!r}")


def names_in(layer: Layer | None, convention: str) -> Mapping[str, tuple[str, Axes]]:
    """Return a layer's entry in a convention of `CONVENTIONS`, or an empty mapping if it has none."""
    if layer is None:
        return {}
    try:
        kind = registered.name_of(type(layer))
    except PluginError:
        return {}
    return CONVENTIONS[convention].get(kind, {})


def renamed(name: str, rules: Rules) -> str | None:
    """Return an array's name after the first rule that matches it, or None if that rule skips the array.

    A name that no rule matches is unchanged. `import_weights` describes rules.

    Examples
    --------
    >>> rules = {"layer*.bn*.*": "stage*.norm*.*", "fc.*": None}
    >>> renamed("layer2.bn1.bias", rules), renamed("fc.bias", rules), renamed("conv.bias", rules)
    ('stage2.norm1.bias', None, 'conv.bias')
    """
    for pattern, target in rules.items():
        found = re.fullmatch(_expression(pattern), name, re.DOTALL)
        if found:
            return _filled(target, found.groups()) if target else None
    return name


def original(name: str, rules: Rules) -> str:
    """Return a name that `renamed` changes into the given one.

    If several rules can give it, the first of them is inverted. A name that no rule gives is returned unchanged.

    Raises
    ------
    OptionError
        No rule gives this name, and `renamed` would not leave it unchanged.

    Examples
    --------
    >>> rules = {"layer*.bn*.*": "stage*.norm*.*", "fc.*": None}
    >>> original("stage2.norm1.bias", rules), original("conv.bias", rules)
    ('layer2.bn1.bias', 'conv.bias')
    """
    reverse = ((target, pattern) for pattern, target in rules.items() if target)
    for pattern, target in (*reverse, (name, name)):
        found = re.fullmatch(_expression(pattern), name, re.DOTALL)
        theirs = _filled(target, found.groups()) if found else None
        if theirs is not None and renamed(theirs, rules) == name:
            return theirs
    raise OptionError(
        f"rules: expected a rule whose result is the name {name!r}, because another rule renames or skips this name, "
        "got none; add a rule for that layer"
    )


@functools.cache
def _expression(pattern: str) -> str:
    """Return a regular expression for a pattern with stars, each of which matches as little as possible.

    The text after a star matches at its first occurrence (an atomic group), without backtracking. With backtracking,
    the time for a name that does not match would grow as its length to the power of the number of stars.
    """
    first, *others = map(re.escape, pattern.split("*"))
    last = f"(.*){others.pop()}" if others else ""
    return first + "".join(f"(?>(.*?){text})" for text in others) + last


def _filled(target: str, texts: Iterable[str]) -> str:
    """Return the right side of a rule with the texts in place of its stars."""
    remaining = iter(texts)
    return re.sub(r"\*", lambda _: next(remaining), target)


def check_rules(rules: Rules) -> None:
    """Check that each pattern's new name is None, empty, or a name with the same number of stars as the pattern.

    Raises
    ------
    OptionError
        A new name is neither a string nor None, or its number of stars differs from the pattern's.
    """
    for pattern, target in rules.items():
        if not fits(target, str | None):
            raise OptionError(f"rules: expected a new name or None for the pattern {pattern!r}, got {target!r:.80}")
        if target and target.count("*") != pattern.count("*"):
            raise OptionError(
                f"rules: expected a new name with as many * as its pattern {pattern!r}, which has "
                f"{pattern.count('*')}, got {target!r}"
            )


def check_maps(layers: Mapping[str, Layer], flattened: Mapping[str, Sequence[int]]) -> None:
    """Check the option ``flattened``: paths of layers, each with the shape of the flattened map that is its input.

    Raises
    ------
    OptionError
        A path has no layer, its layer has no row or entry for each input, or the shape is not (channels, height, width)
        with a product equal to the layer's number of inputs.
    """
    for path, map_shape in flattened.items():
        layer = layers.get(path)
        if layer is None:
            raise OptionError(f"flattened: expected the path of a layer in the model, got {path!r}; see model.layers()")
        rows = max((variable.shape[0] for variable in in_row_order(layer).values()), default=None)
        if rows is None:
            raise OptionError(
                f"flattened[{path!r}]: expected the path of a layer with a row of weights for each input, such as a "
                f"dense layer, got the path of {layer}"
            )
        if not fits(map_shape, tuple[int, int, int]) or math.prod(map_shape) != rows:
            raise OptionError(
                f"flattened[{path!r}]: expected (channels, height, width) of a map with {rows} elements, the number of "
                f"inputs of {layer}, got {map_shape!r:.80}"
            )


class _Flow(NamedTuple):
    """State of the data between two layers."""

    flat: bool = False  # whether it is a flattened map
    channels: int = 0  # of the last layer that makes a map; 0 if there is none yet
    features: int = 0  # of the last dense layer


def flattened_layers(model: Layer) -> list[str]:
    """Return the paths of the layers whose input is a flattened map and whose variables `in_row_order` returns.

    Inner layers are assumed to run in the order of their declaration, except branches, which run side by side. The
    `forward` of a user's layer may flatten a map too. Therefore, each dense layer is included that has more inputs than
    the map before it has channels, unless the layer directly before it is a dense layer with as many outputs.
    """
    found: list[str] = []
    _follow(model, "", _Flow(), found)
    return found


def _follow(layer: Layer, path: str, flow: _Flow, found: list[str]) -> _Flow:
    """Append the paths in a layer to `found`; `flow` and the result describe its input and its output."""
    if children := layer.children():
        branches = type(layer) is registered["parallel_concat"]
        before, ends = flow, []
        for name, child in children.items():
            flow = _follow(child, joined(path, name), before if branches else flow, found)
            ends.append(flow)
        return _Flow(*(sum(values) for values in zip(*ends, strict=True))) if branches else flow
    dense, rows = type(layer) is registered["dense"], in_row_order(layer)
    inputs = rows["weight"].shape[0] if dense else 0
    if (flow.flat and rows) or (flow.channels and inputs > flow.channels and inputs != flow.features):
        found.append(path)
    if type(layer) is registered["reshape"]:
        return flow._replace(flat=len(layer.shape) < _MAP_AXES)  # type: ignore[attr-defined]  # of a Reshape
    weights = [parameter.shape for parameter in layer.parameters().values() if parameter.ndim > 1]
    if dense:
        return _Flow(False, flow.channels, weights[0][-1])
    if weights:  # it mixes its inputs
        return _Flow(False, _channels(weights[0]) or flow.channels)
    return flow._replace(flat=flow.flat or _flattens(layer))


def _channels(weight: Shape) -> int:
    """Return the number of channels that filters of the shape (height, width, in, out) make; 0 for other weights."""
    return weight[-1] if len(weight) == _MAP_AXES + 1 else 0


def _flattens(layer: Layer) -> bool:
    """Return whether a layer flattens a map. Global pooling does not: it leaves one number for each channel."""
    channels = 5
    try:
        shape = layer.output_shape((1, 2, 3, channels))
    except Exception:  # any kind of layer that does not take such a map
        return False
    return isinstance(shape, tuple) and len(shape) <= _MAP_AXES and shape[-1] != channels


def in_row_order(layer: Layer) -> dict[str, Variable]:
    """Return the variables whose first axis has an entry for each input: a dense layer's weight, or plain vectors."""
    own = {} if layer.children() else layer.variables()
    if type(layer) is registered["dense"]:
        return {"weight": own["weight"]}
    if any(variable.ndim > 1 for variable in own.values()):
        return {}
    return {name: variable for name, variable in own.items() if variable.ndim == 1 and variable.shape[0] > 1}


def flattened_maps(model: Layer, image: Shape) -> dict[str, tuple[int, int, int]]:
    """Return the shape (channels, height, width) of the map before each of `flattened_layers`.

    The shapes come from ``output_shape``, or else from a run of the network. A layer is left out if its map cannot be
    found either way.

    Parameters
    ----------
    model : Layer
        A network.
    image : (height, width, channels)
        The shape of one image of the network's input.
    """
    wanted = flattened_layers(model)
    maps = _maps_in_shapes(model, image)
    if len(image) == _MAP_AXES and not maps.keys() >= set(wanted):
        maps = _maps_in_a_run(model, image) | maps
    return {path: maps[path] for path in wanted if path in maps}


def _maps_in_shapes(model: Layer, image: Shape) -> dict[str, tuple[int, int, int]]:
    """Return the shapes of the flattened maps before layers, from ``output_shape``; none if it is not defined."""
    paths = {id(layer): path for path, layer in model.layers().items()}
    maps: dict[str, tuple[int, int, int]] = {}
    last: Shape = ()

    def note(layer: Layer, shapes: tuple[Shape, ...], result: Shape) -> None:
        nonlocal last
        if layer.children():
            return
        shape = shapes[0]
        if len(shape) == _MAP_AXES + 1 and len(result) <= _MAP_AXES:
            last = shape[1:]
        elif last and len(shape) <= _MAP_AXES and shape[-1] == last[0] * last[1] * last[2]:
            height, width, channels = last
            maps.setdefault(paths[id(layer)], (channels, height, width))

    with watched_output_shapes(model, note):
        try:
            model.output_shape((1, *image))
        except NotImplementedError:
            return {}
    return maps


def _maps_in_a_run(model: Layer, image: Shape) -> dict[str, tuple[int, int, int]]:
    """Return the shapes of the flattened maps before layers, from a run of the network in which they can be recognized.

    Each map that a layer makes is replaced by one whose values depend on the channel alone. If a later layer gets as
    many values in a row as that map has, and they repeat with the period of the channels, they are the flattened map.
    """
    paths = {id(layer): path for path, layer in model.layers().items()}
    maps: dict[str, tuple[int, int, int]] = {}
    last: Shape = ()

    def watch(layer: Layer, x: Any, run: Callable[[], Any]) -> Any:
        nonlocal last
        shape = x.shape
        if len(shape) == 2 and last and shape[1] == math.prod(last):
            height, width, channels = last
            values = x.numpy().reshape(height * width, channels)
            if (values == values[0]).all() and (channels == 1 or len(set(values[0].tolist())) > 1):
                maps.setdefault(paths[id(layer)], (channels, height, width))
        result = run()
        if result.ndim != _MAP_AXES + 1:
            return result
        last = result.shape[1:]
        ramp = np.linspace(0.5, 1, last[-1], dtype=result.dtype)
        return tensor(transfer(np.broadcast_to(ramp, result.shape).copy(), result.device))

    first = next(iter(model.variables().values()))
    with _watched_runs(model, watch), no_grad():
        model(tensor(transfer(np.zeros((1, *image), first.dtype), first.device)))
    return maps


@contextmanager
def _watched_runs(model: Layer, watch: Callable[..., Any]) -> Iterator[None]:
    """Replace `forward` of the innermost layers by ``watch(layer, x, run)``; all layers are in evaluation mode."""
    layers = list({id(layer): layer for layer in model.layers().values()}.values())
    modes = [layer.training for layer in layers]

    def watched(layer: Layer) -> Callable[..., Any]:
        original = layer.forward
        return lambda x, *more: watch(layer, x, lambda: original(x, *more))

    for layer in layers:
        layer.training = False
        if not layer.children():
            vars(layer)["forward"] = watched(layer)
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
            vars(layer).pop("forward", None)


def rows_channel_last(array: Array, map_shape: Shape) -> Array:
    """Reorder the rows of a dense layer's weights, or the entries of a vector, from (C, H, W) to (H, W, C)."""
    maps = array.reshape(*map_shape, -1)  # (C*H*W, O) or (C*H*W,) -> (C, H, W, O) or (C, H, W, 1)
    return maps.transpose(1, 2, 0, 3).reshape(array.shape)  # -> (H*W*C, O) or (H*W*C,)


def rows_channel_first(array: Array, map_shape: Shape) -> Array:
    """Reorder the rows of a dense layer's weights, or the entries of a vector, from (H, W, C) to (C, H, W)."""
    channels, height, width = map_shape
    maps = array.reshape(height, width, channels, -1)  # (H*W*C, O) or (H*W*C,) -> (H, W, C, O) or (H, W, C, 1)
    return maps.transpose(2, 0, 1, 3).reshape(array.shape)  # -> (C*H*W, O) or (C*H*W,)


def joined(path: str, name: str) -> str:
    """Return the path of the layer or variable `name` inside the layer at `path`; an empty path means the model."""
    return f"{path}.{name}" if path else name
