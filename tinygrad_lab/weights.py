"""Weights in files: safetensors, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tinygrad_lab.backend import backend_of
from tinygrad_lab.errors import StateError
from tinygrad_lab.layer import Layer


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any moment its name stands for the old content or the new, never for a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Write all parameters and buffers of a model to a safetensors file.

    Examples
    --------
    >>> import tempfile
    >>> from tinygrad_lab_layers.dense import Dense
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(Dense(2, 3, rng=0), f"{folder}/weights.safetensors")
    ...     load_weights(Dense(2, 3, rng=1), f"{folder}/weights.safetensors")
    """
    from safetensors.numpy import save

    arrays = {name: backend_of(array).to_numpy(array).copy(order="C") for name, array in model.state().items()}
    write_atomically(Path(path), save(arrays))


def load_weights(model: Layer, path: str | os.PathLike[str]) -> None:
    """Give a model the parameters and buffers in a safetensors file; all or none.

    Raises
    ------
    StateError
        The file cannot be read, or its names or shapes are not the model's.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        state = load(Path(path).read_bytes())
    except (OSError, SafetensorError) as error:
        raise StateError(f"load_weights: expected a safetensors file, got {path}: {error}") from error
    model.load_state(state)
