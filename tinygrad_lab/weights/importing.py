"""Import of weights from other frameworks, with other names and axis orders.

An import pairs every array of a file with a variable of the model in two steps. Rules rename the authors' layers. The
convention of their framework defines the names of arrays inside a layer and the order of their axes. The import is
strict: unless all names and shapes match, nothing is loaded and the error lists every mismatch.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path

from tinygrad_lab.arguments import fits
from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError, PluginError, StateError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Variable
from tinygrad_lab.registry import layers as registered
from tinygrad_lab.weights.reading import read_arrays

__all__ = ["CONVENTIONS", "import_weights", "renamed"]

Axes = tuple[int, ...]
Rules = Mapping[str, str | None]
Names = dict[str, tuple[str, Axes]]  # their name for an array -> our name and the order of its axes

_SHOWN = 8  # mismatches of each kind in the error
_COMPARED = 1000  # names compared to find the nearest
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
        "group_norm": _NORM,
        "layer_norm": _NORM,
        "prelu": {"weight": ("slope", ())},
    },
}
"""By framework, kind of layer and its name for an array: our name (empty: skip it) and the order of its axes."""


def import_weights(
    model: Layer,
    path: str | PathLike[str],
    *,
    rules: Rules | None = None,
    convention: str = "own",
    flattened: Mapping[str, Sequence[int]] | None = None,
    fresh: str | Iterable[str] = (),
) -> dict[str, str]:
    """Load arrays of a file with other names and layouts into a model; on an error none is loaded.

    Parameters
    ----------
    model : Layer
        The model to load.
    path : str or path
        An ``.npz`` or ``.safetensors`` file.
    rules : mapping of pattern to name or None
        Their names and ours: ``{"layer*.conv*.*": "stage*.conv*.*"}``. Each ``*`` matches any text, as short as
        possible, which replaces the ``*`` of the same number on the right. The first rule that matches a name is used.
        None or an empty name skips an array. A name that no rule matches is unchanged.
    convention : {"own", "torch"}
        The framework that defines names and axes of the arrays inside a layer. PyTorch stores filters as (out, in,
        height, width) and dense weights as (out, in), and names batch normalization's arrays weight, bias, running_mean
        and running_var.
    flattened : mapping of path to (channels, height, width)
        The shape of the map that was flattened before a dense layer: PyTorch orders the layer's rows with the channel
        first, here the channel is last. With PyTorch's convention it is required for every dense layer after a flatten,
        and for a normalization between the two.
    fresh : str or iterable of str
        Patterns of the model's variables that keep their values, such as those of a new head: ``"output.*"``.

    Returns
    -------
    dict of path to name
        The name of the array that each variable got.

    Raises
    ------
    StateError
        The file cannot be read, or names or shapes do not match; the error lists all mismatches.
    OptionError
        A rule or an option is invalid.

    Examples
    --------
    >>> from tinygrad_lab import Sequential, layers
    >>> model = Sequential({"first": layers["conv2d"](3, 8, kernel_size=5, rng=0), "norm": layers["batch_norm"](8)})
    >>> theirs = {"0.weight": np.ones((8, 3, 5, 5), "float32"), "0.bias": np.zeros(8, "float32")}
    >>> theirs |= {f"1.{name}": np.ones(8, "float32") for name in ("weight", "bias", "running_mean", "running_var")}
    >>> np.savez("theirs.npz", **theirs)
    >>> taken = import_weights(model, "theirs.npz", rules={"0.*": "first.*", "1.*": "norm.*"}, convention="torch")
    >>> taken["norm.running_var"], model["first"].weight.shape
    ('1.running_var', (5, 5, 3, 8))
    """
    if convention not in CONVENTIONS:
        raise OptionError(f"import_weights: expected a convention of {sorted(CONVENTIONS)}, got {convention!r}")
    _check_rules(rules or {})
    pairing = _Pairing(model, Path(path), dict(rules or {}), convention, _patterns(model, fresh))
    pairing.flattened = _checked_flattened(model, flattened or {}, pairing)
    for name, array in read_arrays(path).items():
        pairing.add(name, array)
    pairing.check()
    model.load_state(model.state() | {ours: array for ours, (_, array) in pairing.taken.items()})
    return {ours: name for ours, (name, _) in pairing.taken.items()}


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


def _check_rules(rules: Rules) -> None:
    for pattern, target in rules.items():
        if not fits(target, str | None):
            raise OptionError(f"rules: expected a name for each pattern, or None, got {pattern!r} = {target!r:.80}")
        if target and target.count("*") != pattern.count("*"):
            raise OptionError(f"rules: expected as many * on both sides, got {pattern!r} and {target!r}")


@dataclass
class _Pairing:
    """Matches the file's arrays to the model's variables and collects mismatches."""

    model: Layer
    path: Path
    rules: Rules
    convention: str
    fresh: tuple[str, ...]
    flattened: dict[str, tuple[int, ...]] = field(default_factory=dict)
    taken: dict[str, tuple[str, Array]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)  # their names and what they became
    misfits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers, self.own = self.model.layers(), self.model.variables()
        self.used: set[str] = set()

    def add(self, name: str, array: Array) -> None:
        """Find the variable for an array."""
        self.used.update(p for p in self.rules if renamed(name, {p: ""}) is None)
        target = renamed(name, self.rules)
        if target is None:
            return
        layer_path, _, leaf = target.rpartition(".")
        ours, axes = self._table(layer_path).get(leaf, (leaf, ()))
        if not ours:
            return
        ours = f"{layer_path}.{ours}" if layer_path else ours
        if ours not in self.own:
            self.unknown[name] = ours
        elif ours in self.taken:
            self.misfits.append(f"{ours}: expected one array, got {self.taken[ours][0]} and {name}")
        elif not self.stays(ours):
            self.taken[ours] = (name, self._fitted(ours, layer_path, name, array, axes))

    def stays(self, ours: str) -> bool:
        """Return whether a variable keeps its value."""
        return any(fnmatchcase(ours, pattern) for pattern in self.fresh)

    def _table(self, layer_path: str) -> Mapping[str, tuple[str, Axes]]:
        if layer_path not in self.layers:
            return {}
        try:
            kind = registered.name_of(type(self.layers[layer_path]))
        except PluginError:
            return {}
        return CONVENTIONS[self.convention].get(kind, {})

    def _fitted(self, ours: str, layer_path: str, name: str, array: Array, axes: Axes) -> Array:
        """Return an array with its axes in our order; record a mismatch of shape or dtype."""
        before, wanted = array.shape, self.own[ours].shape
        if len(axes) == array.ndim:
            array = array.transpose(axes or None)
        ordered = _in_row_order(self.layers[layer_path]) if layer_path in self.flattened else {}
        if ours.rpartition(".")[2] in ordered and array.shape == wanted:
            array = _rows_channel_last(array, self.flattened[layer_path])
        if array.shape != wanted:
            became = "" if array.shape == before else f", which is {array.shape} in our order"
            self.misfits.append(f"{ours}: expected shape {wanted}, got {name} of {before}{became}")
        elif array.dtype.kind != self.own[ours].dtype.kind:
            self.misfits.append(f"{ours}: expected {self.own[ours].dtype}, got {name} of {array.dtype}")
        return array

    def check(self) -> None:
        """Raise if there is any mismatch."""
        missing = [ours for ours in self.own if ours not in self.taken and not self.stays(ours)]
        if not (missing or self.unknown or self.misfits):
            return
        lines = [
            *_listed("no array for the variable", missing, self._missing),
            *_listed("no variable for the array", list(self.unknown), self._unknown),
            *_listed("does not fit:", self.misfits, str),
            *_listed("a rule that matches nothing:", [p for p in self.rules if p not in self.used], str),
        ]
        raise StateError(
            f"import_weights({type(self.model).__name__} <- {self.path}): expected one array for every variable, and "
            "one variable for every array; nothing was loaded. Rename with rules={'theirs.*': 'ours.*'}, skip arrays "
            "with rules={'theirs.*': None}, keep variables unchanged with fresh=['ours.*'].\n  " + "\n  ".join(lines)
        )

    def _missing(self, ours: str) -> str:
        near = difflib.get_close_matches(ours, list(self.unknown)[:_COMPARED], n=1, cutoff=0.4)
        return f"{ours} {self.own[ours].shape}" + (f" (the nearest left: {near[0]})" if near else "")

    def _unknown(self, name: str) -> str:
        return name if name == self.unknown[name] else f"{name}, renamed {self.unknown[name]}"


def _listed(what: str, entries: Sequence[str], describe: Callable[[str], str]) -> Iterator[str]:
    """Yield a line for each entry, up to a limit."""
    for entry in entries[:_SHOWN]:
        yield f"{what} {describe(entry)}"
    if len(entries) > _SHOWN:
        yield f"... and {len(entries) - _SHOWN} more of these"


def _patterns(model: Layer, fresh: str | Iterable[str]) -> tuple[str, ...]:
    patterns = (fresh,) if isinstance(fresh, str) else tuple(fresh)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise OptionError(f"import_weights: expected fresh to be patterns such as 'output.*', got {pattern!r:.80}")
        if not any(fnmatchcase(path, pattern) for path in model.variables()):
            near = difflib.get_close_matches(pattern, model.variables(), n=3, cutoff=0.3)
            raise OptionError(f"import_weights: expected fresh to match variables such as {near}, got {pattern!r}")
    return patterns


def _checked_flattened(
    model: Layer, flattened: Mapping[str, Sequence[int]], pairing: _Pairing
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the maps before flattened layers; raise if one is missing, since shapes fit in any order."""
    for path, map_shape in flattened.items():
        layer = pairing.layers.get(path)
        rows = max((variable.shape[0] for variable in _in_row_order(layer).values()), default=None) if layer else None
        if not fits(map_shape, tuple[int, int, int]) or math.prod(map_shape) != rows:
            raise OptionError(
                f"flattened[{path!r}]: expected (channels, height, width) of the {rows or ''} inputs of "
                f"{layer or 'a dense layer at that path'}, got {map_shape!r:.80}"
            )
    if pairing.convention == "torch":
        found: list[str] = []
        _follow(model, "", False, found)
        for path in found:
            ordered = [_joined(path, name) for name in _in_row_order(pairing.layers[path])]
            if path not in flattened and not all(map(pairing.stays, ordered)):
                raise OptionError(
                    f"import_weights: expected flattened={{{path!r}: (channels, height, width)}}, the map before "
                    f"{pairing.layers[path]}, got none; PyTorch orders its rows by channel first, here it is last, and "
                    "the shapes fit either way"
                )
    return {path: tuple(map_shape) for path, map_shape in flattened.items()}


def _follow(layer: Layer, path: str, flat: bool, found: list[str]) -> bool:
    """Collect in `found` the layers whose input is a flattened map, and return whether the output is one.

    Inner layers are assumed to run in the order of declaration, except branches.
    """
    if children := layer.children():
        branches = type(layer) is registered["parallel_concat"]
        before, ends = flat, []
        for name, child in children.items():
            flat = _follow(child, _joined(path, name), before if branches else flat, found)
            ends.append(flat)
        return any(ends) if branches else flat
    if flat and _in_row_order(layer):
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


def _in_row_order(layer: Layer) -> dict[str, Variable]:
    """Return the variables of a dense or elementwise layer with an entry along the first axis for each input."""
    own = {} if layer.children() else layer.variables()
    if type(layer) is registered["dense"]:
        return {"weight": own["weight"]}
    if any(variable.ndim > 1 for variable in own.values()):
        return {}
    return {name: variable for name, variable in own.items() if variable.ndim == 1 and variable.shape[0] > 1}


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _rows_channel_last(array: Array, map_shape: tuple[int, ...]) -> Array:
    """Reorder the rows of a dense layer's weights, or the entries of a vector, from (C, H, W) to (H, W, C)."""
    maps = array.reshape(*map_shape, -1)  # (C*H*W, O) or (C*H*W,) -> (C, H, W, O) or (C, H, W, 1)
    return maps.transpose(1, 2, 0, 3).reshape(array.shape)  # -> (H*W*C, O) or (H*W*C,)
