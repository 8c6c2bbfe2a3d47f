"""Weight files in safetensors format, written atomically."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygrad_lab.backend import Array, backend_of
from tinygrad_lab.errors import CallError, OptionError, StateError
from tinygrad_lab.files.writing import write_atomically, writing
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.weights.reading import read_safetensors


def _check_model(who: str, model: Any, path: Any) -> None:
    if not isinstance(model, Layer):
        given = f"{type(model).__name__}, {type(path).__name__}"
        raise CallError(f"{who}: expected {who}(model, path) with a Layer as the model, got {who}({given})")


def save_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write all parameters and buffers of a model to a safetensors file.

    Raises
    ------
    CallError
        The model is not a layer.
    OptionError
        The file's name does not end in ``.safetensors``.
    StateError
        The folder does not exist, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from tinygrad_lab_layers.dense import Dense
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(Dense(2, 3, rng=0), f"{folder}/weights.safetensors")
    ...     load_weights(Dense(2, 3, rng=1), f"{folder}/weights.safetensors")
    """
    _check_model("save_weights", model, path)
    write_arrays("save_weights", {name: backend_of(a).to_numpy(a) for name, a in model.state().items()}, path)


def write_arrays(
    who: str, arrays: Mapping[str, Array], path: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Write arrays by name to a safetensors file; see `save_weights`."""
    from safetensors.numpy import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise OptionError(f"{who}: expected a .safetensors file to write, got {path}")
    if not path.parent.is_dir():
        raise StateError(f"{who}: expected a folder to write {path.name} in, found no {path.parent}; create it")
    content = save({name: array.copy(order="C") for name, array in arrays.items()}, metadata)
    with writing(StateError, f"{who}: expected to write {path}"):
        write_atomically(path, content)


def load_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Load all parameters and buffers of a model from a safetensors file; on an error, none of them is changed.

    Raises
    ------
    CallError
        The model is not a layer.
    StateError
        The file cannot be read, or its names or shapes differ from the model's.
    """
    _check_model("load_weights", model, path)
    arrays = read_safetensors(Path(path), who="load_weights")
    renamed = {re.sub(r"\brunning_variance$", "running_var", name): array for name, array in arrays.items()}
    model.load_state(renamed)  # earlier versions wrote running_variance
