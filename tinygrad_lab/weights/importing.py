"""Import of weights from other frameworks, with other names and axis orders.

An import pairs every array of a file with a variable of the model in two steps. Rules rename the authors' layers. The
convention of their framework defines the names of arrays inside a layer and the order of their axes. The import is
strict: unless all names and shapes match, nothing is loaded and the error lists every mismatch.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError, StateError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.weights.conventions import (
    Axes,
    Rules,
    check_convention,
    check_maps,
    check_rules,
    flattened_layers,
    in_row_order,
    joined,
    names_in,
    renamed,
    rows_channel_last,
)
from tinygrad_lab.weights.reading import read_arrays

__all__ = ["import_weights"]

_SHOWN = 8  # mismatches of each kind in the error
_COMPARED = 1000  # names compared to find the nearest


def import_weights(
    model: Layer,
    path: str | PathLike[str],
    *,
    rules: Rules | None = None,
    convention: str = "own",
    flattened: Mapping[str, Sequence[int]] | None = None,
    fresh: str | Iterable[str] = (),
) -> dict[str, str]:
    """Load a file's arrays, which may have other names and orders of axes, into a model; on an error, load nothing.

    Parameters
    ----------
    model : Layer
        The model to load.
    path : str or path
        An ``.npz`` or ``.safetensors`` file.
    rules : mapping of pattern to name or None
        Names in the file and names in the model: ``{"layer*.conv*.*": "stage*.conv*.*"}``. Each ``*`` matches any text,
        as short as possible. This text replaces the corresponding ``*`` on the right. The first rule that matches a
        name is used. None or an empty name skips an array. A name that no rule matches is unchanged.
    convention : {"own", "torch"}
        The framework that defines names and orders of axes of the arrays inside a layer: this one, or PyTorch. PyTorch
        stores filters as (out, in, height, width) and dense weights as (out, in), and names batch normalization's
        arrays weight, bias, running_mean and running_var.
    flattened : mapping of path to (channels, height, width)
        For the path of a dense layer, the shape of the flattened map that is its input. PyTorch orders the layer's rows
        with the channel first; here the channel is last. With PyTorch's convention, such a shape is required for every
        dense layer after a flatten, and for a normalization between the two.
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
    check_convention("import_weights", convention)
    check_rules(rules or {})
    pairing = _Pairing(model, Path(path), dict(rules or {}), convention, _patterns(model, fresh))
    pairing.flattened = _checked_flattened(model, flattened or {}, pairing)
    for name, array in read_arrays(path).items():
        pairing.add(name, array)
    pairing.check()
    model.load_state(model.state() | {ours: array for ours, (_, array) in pairing.taken.items()})
    return {ours: name for ours, (name, _) in pairing.taken.items()}


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
    unknown: dict[str, str] = field(default_factory=dict)  # names in the file -> names after renaming
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
        ours, axes = names_in(self.layers.get(layer_path), self.convention).get(leaf, (leaf, ()))
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

    def _fitted(self, ours: str, layer_path: str, name: str, array: Array, axes: Axes) -> Array:
        """Return an array with its axes in our order; record a mismatch of shape or dtype."""
        before, wanted = array.shape, self.own[ours].shape
        if len(axes) == array.ndim:
            array = array.transpose(axes or None)
        ordered = in_row_order(self.layers[layer_path]) if layer_path in self.flattened else {}
        if ours.rpartition(".")[2] in ordered and array.shape == wanted:
            array = rows_channel_last(array, self.flattened[layer_path])
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
        return f"{ours} {self.own[ours].shape}" + (f" (the nearest array left over: {near[0]})" if near else "")

    def _unknown(self, name: str) -> str:
        return name if name == self.unknown[name] else f"{name}, renamed to {self.unknown[name]}"


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
    """Return `flattened` with tuples; raise if a shape is missing, because rows in the wrong order would fit too."""
    check_maps(pairing.layers, flattened)
    if pairing.convention == "torch":
        for path in flattened_layers(model):
            ordered = [joined(path, name) for name in in_row_order(pairing.layers[path])]
            if path not in flattened and not all(map(pairing.stays, ordered)):
                raise OptionError(
                    f"import_weights: expected flattened={{{path!r}: (channels, height, width)}}, the shape of the map "
                    f"before {pairing.layers[path]}, got none; PyTorch orders the rows of this layer by channel first, "
                    "this framework by channel last, and the shapes fit either way. If no map of more than one pixel "
                    "is flattened before it, give (number of inputs, 1, 1)"
                )
    return {path: tuple(map_shape) for path, map_shape in flattened.items()}
