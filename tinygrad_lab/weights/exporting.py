"""Export of weights to other frameworks, with the same rules and conventions as the import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np

from tinygrad_lab.arguments import fits
from tinygrad_lab.backend import Array, backend_of
from tinygrad_lab.errors import CallError, OptionError, PluginError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.registry import layers
from tinygrad_lab.weights.conventions import (
    CONVENTIONS,
    Rules,
    check_convention,
    check_maps,
    check_rules,
    flattened_layers,
    flattened_maps,
    in_row_order,
    joined,
    names_in,
    original,
    rows_channel_first,
)
from tinygrad_lab.weights.files import write_arrays

__all__ = ["export_weights"]

_FORMATS = {"own": "np", "torch": "pt"}  # the entry "format" of the file's metadata, which some readers require


def export_weights(
    model: Layer,
    path: str | PathLike[str],
    *,
    convention: str = "torch",
    rules: Rules | None = None,
    image: Sequence[int] | None = None,
    flattened: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, str]:
    """Write the parameters and buffers of a model with the names and axes of another framework.

    It is the inverse of `import_weights`, which loads the file into the same model with the same `convention` and
    `rules` and with the shapes of all flattened maps as `flattened`.

    Parameters
    ----------
    model : Layer
        The model.
    path : str or path
        The ``.safetensors`` file to write. ``safetensors.torch.load_file`` reads it in PyTorch.
    convention : {"torch", "own"}
        The framework whose names and orders of axes the file gets: PyTorch, or this one.
    rules : mapping of pattern to name or None
        Names in the file and names in the model, as for `import_weights`, applied from right to left:
        ``{"layer*.bn*.*": "stage*.norm*.*"}`` writes ``stage2.norm1.bias`` as ``layer2.bn1.bias``. A layer without a
        rule keeps its path.
    image : (height, width, channels), optional
        The shape of the model's input, or (length,) for a sequence. The shapes of the maps that the model flattens are
        computed from it; if the model does not define ``output_shape``, the model is run once to find them.
    flattened : mapping of path to (channels, height, width), optional
        The shapes of the flattened maps, as for `import_weights`, if they cannot be computed from `image`.

    Returns
    -------
    dict of path to name
        The name in the file that each variable got.

    Raises
    ------
    CallError
        The model is not a layer.
    OptionError
        An option is invalid, a layer has no counterpart in the framework, or the shape of a flattened map is unknown.
    StateError
        The file cannot be written.

    Examples
    --------
    >>> from tinygrad_lab.registry import models
    >>> model = models["lenet5"](rng=0)
    >>> names = export_weights(model, "lenet5.safetensors", image=(32, 32, 1), rules={"features.0.*": "c1.*"})
    >>> names["c1.weight"], model.c1.weight.shape
    ('features.0.weight', (5, 5, 1, 6))
    >>> from tinygrad_lab.weights import read_arrays
    >>> read_arrays("lenet5.safetensors")["features.0.weight"].shape
    (6, 1, 5, 5)
    """
    if not isinstance(model, Layer):
        raise CallError(f"export_weights: expected a model, a Layer, got {type(model).__name__}")
    check_convention("export_weights", convention)
    check_rules(rules or {})
    maps = _maps(model, image, flattened or {}) if convention == "torch" else {}
    by_path, names, arrays = model.layers(), {}, {}
    for ours, array in model.state().items():
        layer_path, _, leaf = ours.rpartition(".")
        layer = by_path[layer_path]
        array = backend_of(array).to_numpy(array)
        if layer_path in maps and leaf in in_row_order(layer):
            array = rows_channel_first(array, maps[layer_path])
        theirs, array = _converted(layer, ours, leaf, array, convention)
        names[ours] = original(joined(layer_path, theirs), rules or {})
        arrays[names[ours]] = array
    write_arrays("export_weights", arrays, path, {"format": _FORMATS[convention]})
    return names


def _converted(layer: Layer, path: str, leaf: str, array: Array, convention: str) -> tuple[str, Array]:
    """Return the other framework's name for an array of a layer, and the array with its order of axes."""
    for theirs, (ours, axes) in names_in(layer, convention).items():
        if ours == leaf:
            return theirs, array.transpose(np.argsort(axes)) if axes else array
    if CONVENTIONS[convention]:
        entry = f"tinygrad_lab.weights.CONVENTIONS[{convention!r}][{_kind(layer)!r}] = {{{leaf!r}: ({leaf!r}, ())}}"
        raise OptionError(
            f"export_weights: expected layers whose arrays have names in {convention!r}, got {layer} with {path!r}; "
            f"names are added by {entry}, with PyTorch's name first; or write ours by convention='own' (--as own)"
        )
    return leaf, array


def _kind(layer: Layer) -> str:
    """Return a layer's registered name, or one that its plugin might have."""
    try:
        return layers.name_of(type(layer))
    except PluginError:
        return f"your.{type(layer).__name__.lower()}"


def _maps(
    model: Layer, image: Sequence[int] | None, flattened: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of flattened maps by the path of the next layer: those given, or else computed from `image`."""
    if image is not None and not (fits(image, tuple[int, int, int]) or fits(image, tuple[int])):
        raise OptionError(
            f"export_weights: expected image=(height, width, channels), or (length,) of a sequence, got {image!r:.80}"
        )
    check_maps(model.layers(), flattened)
    found: dict[str, tuple[int, ...]] = {} if image is None else {**flattened_maps(model, tuple(image))}
    found |= {path: tuple(map_shape) for path, map_shape in flattened.items()}
    for path in flattened_layers(model):
        if path not in found:
            cure = f"flattened={{{path!r}: (channels, height, width)}}"
            raise OptionError(
                f"export_weights: expected the shape of the map before {model.layers()[path]}, got none; set "
                f"image=(height, width, channels) of the model's input, or {cure}: PyTorch orders the rows of this "
                "layer by channel first, this framework by channel last. If no map of more than one pixel is flattened "
                "before it, give (number of inputs, 1, 1)"
            )
    return found
