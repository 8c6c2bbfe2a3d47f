"""Weights in files: safetensors, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from tinygrad_lab.backend import backend_of
from tinygrad_lab.errors import CallError, OptionError, StateError
from tinygrad_lab.layer import Layer


def write_atomically(path: Path, *parts: Any) -> None:
    """Write a file, whose content is given in parts, so that its name stands for the old content or the new one.

    At no moment, a kill or a power cut included, does it stand for a piece: the file is written beside its place under
    another name (the same each time, so that nothing piles up), synced to the disk, and renamed. Two processes must not
    write one file at a time.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the system lets folders be synced."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_model(who: str, model: Any, path: Any) -> None:
    if not isinstance(model, Layer):
        given = f"{type(model).__name__}, {type(path).__name__}"
        raise CallError(f"{who}: expected {who}(model, path), the model a Layer, got {who}({given})")


def save_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write all parameters and buffers of a model to a safetensors file.

    Raises
    ------
    CallError
        The model is no layer.
    OptionError
        The file's name does not end in ``.safetensors``.
    StateError
        There is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from tinygrad_lab_layers.dense import Dense
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(Dense(2, 3, rng=0), f"{folder}/weights.safetensors")
    ...     load_weights(Dense(2, 3, rng=1), f"{folder}/weights.safetensors")
    """
    from safetensors.numpy import save

    _check_model("save_weights", model, path)
    path = Path(path)
    if path.suffix != ".safetensors":
        raise OptionError(f"save_weights: expected a .safetensors file to write, got {path}")
    if not path.parent.is_dir():
        raise StateError(f"save_weights: expected a folder to write {path.name} into, found no {path.parent}; make it")
    arrays = {name: backend_of(array).to_numpy(array).copy(order="C") for name, array in model.state().items()}
    write_atomically(path, save(arrays))


def load_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Give a model the parameters and buffers in a safetensors file; all or none.

    Raises
    ------
    CallError
        The model is no layer.
    StateError
        The file cannot be read, or its names or shapes are not the model's.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    _check_model("load_weights", model, path)
    try:
        state = load(Path(path).read_bytes())
    except (OSError, SafetensorError, KeyError) as error:
        raise StateError(f"load_weights: expected a safetensors file, got {path}: {error}") from error
    model.load_state(state)
