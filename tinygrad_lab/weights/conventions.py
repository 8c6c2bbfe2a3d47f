"""Conventions of frameworks: names of arrays, orders of axes, and the rules that rename layers."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from tinygrad_lab.arguments import fits
from tinygrad_lab.backend import Array, Shape
from tinygrad_lab.errors import OptionError, PluginError
from tinygrad_lab.nn.functional import watched_output_shapes
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Variable
from tinygrad_lab.registry import layers as registered

__all__ = ["CONVENTIONS", "original", "renamed"]

Axes = tuple[int, ...]
Rules = Mapping[str, str | None]
Names = dict[str, tuple[str, Axes]]  # their name for an array -> our name and the order of its axes

_MAP_AXES = 3  # axes of an example: height, width, channels

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
"""Our name for an array (empty to skip it) and the order of its axes, by framework, kind of layer and their name."""


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
    """Return a convention's names for the arrays of a layer; empty if it has none for that kind of layer."""
    if layer is None:
        return {}
    try:
        kind = registered.name_of(type(layer))
    except PluginError:
        return {}
    return CONVENTIONS[convention].get(kind, {})


def renamed(name: str, rules: Rules) -> str | None:
    """Rename by the first matching rule; None means that the array is skipped. See `import_weights`.

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
    """Return the name that `renamed` changes into this one, by the first rule with such a result.

    Raises
    ------
    OptionError
        No rule changes a name into this one, and the name itself would be changed.

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
    raise OptionError(f"rules: expected a rule that gives the name {name!r}, got none; add one for that layer")


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
    """Return a name with texts in place of its stars."""
    remaining = iter(texts)
    return re.sub(r"\*", lambda _: next(remaining), target)


def check_rules(rules: Rules) -> None:
    """Check that each pattern has a name with as many stars, or None.

    Raises
    ------
    OptionError
        A name has another type, or another number of stars than its pattern.
    """
    for pattern, target in rules.items():
        if not fits(target, str | None):
            raise OptionError(f"rules: expected a name for each pattern, or None, got {pattern!r} = {target!r:.80}")
        if target and target.count("*") != pattern.count("*"):
            raise OptionError(f"rules: expected as many * on both sides, got {pattern!r} and {target!r}")


def check_maps(layers: Mapping[str, Layer], flattened: Mapping[str, Sequence[int]]) -> None:
    """Check the shapes of maps before flattened layers.

    Raises
    ------
    OptionError
        A shape is not (channels, height, width) of as many elements as the layer has inputs.
    """
    for path, map_shape in flattened.items():
        layer = layers.get(path)
        rows = max((variable.shape[0] for variable in in_row_order(layer).values()), default=None) if layer else None
        if not fits(map_shape, tuple[int, int, int]) or math.prod(map_shape) != rows:
            raise OptionError(
                f"flattened[{path!r}]: expected (channels, height, width) of the {rows or ''} inputs of "
                f"{layer or 'a dense layer at that path'}, got {map_shape!r:.80}"
            )


def flattened_layers(model: Layer) -> list[str]:
    """Return the paths of layers in row order whose input is a flattened map.

    Inner layers are assumed to run in the order of declaration, except branches.
    """
    found: list[str] = []
    _follow(model, "", False, found)
    return found


def _follow(layer: Layer, path: str, flat: bool, found: list[str]) -> bool:
    """Collect in `found` the layers whose input is a flattened map, and return whether the output is one."""
    if children := layer.children():
        branches = type(layer) is registered["parallel_concat"]
        before, ends = flat, []
        for name, child in children.items():
            flat = _follow(child, joined(path, name), before if branches else flat, found)
            ends.append(flat)
        return any(ends) if branches else flat
    if flat and in_row_order(layer):
        found.append(path)
    if type(layer) is registered["reshape"]:
        return len(layer.shape) < _MAP_AXES  # type: ignore[attr-defined]  # of a Reshape
    if any(parameter.ndim > 1 for parameter in layer.parameters().values()):  # it mixes its inputs
        return False
    return flat or _flattens(layer)


def _flattens(layer: Layer) -> bool:
    """Return whether a layer merges the positions of a map with its channels; global pooling leaves no positions."""
    channels = 5
    try:
        shape = layer.output_shape((1, 2, 3, channels))
    except Exception:  # any kind of layer that does not take such a map
        return False
    return isinstance(shape, tuple) and len(shape) <= _MAP_AXES and shape[-1] != channels


def in_row_order(layer: Layer) -> dict[str, Variable]:
    """Return the variables of a dense or elementwise layer with an entry along the first axis for each input."""
    own = {} if layer.children() else layer.variables()
    if type(layer) is registered["dense"]:
        return {"weight": own["weight"]}
    if any(variable.ndim > 1 for variable in own.values()):
        return {}
    return {name: variable for name, variable in own.items() if variable.ndim == 1 and variable.shape[0] > 1}


def flattened_maps(model: Layer, image: Shape) -> dict[str, tuple[int, int, int]]:
    """Return (channels, height, width) of the map before each of `flattened_layers`, found from shapes alone.

    Parameters
    ----------
    model : Layer
        A network; if it does not define `output_shape`, no map is found.
    image : (height, width, channels)
        The shape of its input.
    """
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
    return {path: maps[path] for path in flattened_layers(model) if path in maps}


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
    """Return the path of a part of the layer at a path; the model's own path is empty."""
    return f"{path}.{name}" if path else name
