"""Checkpoints of a run: its whole state in one file, written atomically.

A checkpoint is a safetensors file. Its tensors are the arrays of the state, named by their paths
(``model/features.0.weight``), so any reader of the format finds them. The other values are JSON in the metadata,
together with a checksum of everything. Reading a checkpoint never executes anything in it.

A checkpoint is written to a temporary file, synced to the disk and renamed, so a kill or a power cut at any moment
leaves the whole old file or the whole new one.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, backend_of, is_array
from tinygrad_lab.errors import CheckpointError, OptionError, PluginError
from tinygrad_lab.files.writing import remove_leftovers, write_atomically, writing
from tinygrad_lab.nn.layer import Layer

FORMAT = "tinygrad_lab checkpoint 1"
REFERENCE = "$array"  # in the JSON, {"$array": name} refers to the array of that name
CODES = {  # safetensors' names of dtypes
    "bool": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}


def save(path: str | Path, contents: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically; an older file stays until the new one is safely on the disk.

    Parameters
    ----------
    path : str or Path
        The file; missing folders are made.
    contents : mapping
        Dicts and lists, at any depth, of arrays, tensors, numbers, strings, booleans and None. Tuples come back as
        lists.

    Raises
    ------
    CheckpointError
        The file cannot be written, or the contents hold a value of another type.

    Examples
    --------
    >>> save("run/last.safetensors", {"model": {"weight": np.ones(2)}, "epoch": 3})
    >>> load("run/last.safetensors")
    {'model': {'weight': array([1., 1.])}, 'epoch': 3}
    """
    path = Path(path)
    arrays: dict[str, Array] = {}
    text = json.dumps(_to_json(contents, (), arrays))
    arrays = dict(sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])))  # aligned
    what = f"checkpoint {path}: expected to write {sum(array.nbytes for array in arrays.values()) / 1e6:.1f} MB"
    with writing(CheckpointError, what, more=" (an older checkpoint there is still good)"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _header(text, arrays), *map(_bytes, arrays.values()))


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint and verify its checksum.

    Parameters
    ----------
    path : str or Path
        A file that `save` wrote.

    Returns
    -------
    dict
        The contents, with NumPy arrays.

    Raises
    ------
    CheckpointError
        The file is missing, cannot be read, is damaged, or is no checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"checkpoint {path}: expected a file, got {what}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  it is no dict
            known = "format" in metadata and kinds <= set(CODES.values())
            arrays = {name: file.get_tensor(name) for name in file.keys()} if known else {}  # noqa: SIM118  as above
    except OSError as error:
        problem = f"expected a file that can be read, got {error}; check its permissions"
        raise CheckpointError(f"checkpoint {path}: {problem}") from error
    except (SafetensorError, ValueError) as error:  # ValueError: shapes that NumPy does not have
        raise CheckpointError(_damage(path, f"no whole safetensors file ({error})")) from error
    if "format" not in metadata:
        raise CheckpointError(
            f"checkpoint {path}: expected {FORMAT!r}, got a safetensors file of weights alone; load it as weights"
        )
    if metadata["format"] != FORMAT:
        got = metadata["format"]
        raise CheckpointError(f"checkpoint {path}: expected {FORMAT!r}, got {got!r}; upgrade tinygrad-lab")
    text = metadata.get("contents", "")
    if metadata.get("checksum") != _checksum(text, arrays):
        raise CheckpointError(_damage(path, "contents that do not match its checksum"))
    try:
        contents = _restored(json.loads(text), arrays)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(_damage(path, f"contents that cannot be read ({error})")) from error
    if not isinstance(contents, dict):
        raise CheckpointError(_damage(path, f"contents of type {type(contents).__name__} instead of a table"))
    return contents


def provenance(model: Layer) -> dict[str, dict[str, Any]]:
    """Return distribution, release and version of each registered layer of a model.

    A checkpoint can include this, so that a reader without those layers learns what to install. Layers that are not
    registered are left out.

    Examples
    --------
    >>> from tinygrad_lab_layers.dense import Dense
    >>> provenance(Dense(2, 3, rng=0))
    {'dense': {'distribution': 'tinygrad-lab', 'release': '...', 'version': 1}}
    """
    found: dict[str, dict[str, Any]] = {}
    for cls in {type(layer): None for layer in model.layers().values()}:
        with contextlib.suppress(PluginError):
            name = registry.layers.name_of(cls)
            plugin = registry.layers.plugin(name)
            found[name] = {"distribution": plugin.distribution, "release": plugin.version, "version": cls.version}
    return dict(sorted(found.items()))


class CheckpointFolder:
    """The newest few checkpoints of one run, and the best. Each run needs a folder of its own.

    Parameters
    ----------
    folder : str or Path
        The folder, which is made when the first checkpoint is saved.
    keep : int
        The number of newest checkpoints to keep. With two, a run can be resumed even if the disk damages one.

    Raises
    ------
    OptionError
        `keep` is less than 1.

    Examples
    --------
    >>> checkpoints = CheckpointFolder("run")
    >>> for step in (100, 200, 300):
    ...     checkpoints.save(step, {"step": step}, best=step == 200)
    >>> checkpoints.steps(), checkpoints.latest(), checkpoints.best()
    ([200, 300], {'step': 300}, {'step': 200})
    """

    def __init__(self, folder: str | Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise OptionError(f"CheckpointFolder: expected to keep at least 1, got {keep}")
        self.folder, self.keep = Path(folder), keep

    def path(self, step: int) -> Path:
        """Return the file of a step."""
        return self.folder / f"step-{step:09d}.safetensors"

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in order."""
        names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in self.folder.glob("step-*.safetensors"))
        return sorted(int(name[1]) for name in names if name)

    def save(self, step: int, contents: Mapping[str, Any], *, best: bool = False) -> None:
        """Write the checkpoint of a step, then remove the oldest ones beyond `keep`.

        Parameters
        ----------
        step : int
            The number of the step, which grows during a run.
        contents : mapping
            See the function `save`.
        best : bool
            Whether it is the best so far; it is then kept in a file of its own.

        Raises
        ------
        CheckpointError
            The file cannot be written. Earlier checkpoints are unchanged.
        """
        if best:  # first: a run that is killed in between repeats this step and loses nothing
            save(self.folder / "best.safetensors", contents)
        save(self.path(step), contents)
        for old in [s for s in self.steps() if s != step][: -self.keep + 1 or None]:
            self.path(old).unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def latest(self) -> dict[str, Any] | None:
        """Return the contents of the newest undamaged checkpoint, or None if there is none yet.

        Warns
        -----
        UserWarning
            A newer checkpoint is damaged.

        Raises
        ------
        CheckpointError
            All checkpoints are damaged.
        """
        failures: list[CheckpointError] = []
        for step in reversed(self.steps()):
            try:
                contents = load(self.path(step))
            except CheckpointError as error:
                failures.append(error)
                continue
            for failure in failures:
                warnings.warn(f"{failure}; continuing from step {step}", stacklevel=2)
            return contents
        if failures:
            names = ", ".join(path.name for path in map(self.path, self.steps()))
            raise CheckpointError(
                f"checkpoints {self.folder}: expected an undamaged one, got only damaged ones, {names}; begin a new run"
            ) from failures[0]
        return None

    def best(self) -> dict[str, Any]:
        """Return the contents of the best checkpoint.

        Raises
        ------
        CheckpointError
            The file is missing or damaged.
        """
        return load(self.folder / "best.safetensors")


def _to_json(value: Any, place: tuple[str, ...], arrays: dict[str, Array]) -> Any:
    """Return values that JSON can hold; arrays move into `arrays` and are replaced by references."""
    value = unbox(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and REFERENCE not in value and all(isinstance(key, str) for key in value):
        return {key: _to_json(v, (*place, key), arrays) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(v, (*place, str(i)), arrays) for i, v in enumerate(value)]
    name = "/".join(place)
    if not is_array(value) or value.dtype.name not in CODES or name in arrays:
        problem = "a second array of that name" if name in arrays else getattr(value, "dtype", type(value).__name__)
        raise CheckpointError(
            f"checkpoint: expected arrays of numbers, numbers, strings, None, and lists and dicts of them with strings "
            f"for keys, got {problem} at {name!r}"
        )
    array = backend_of(value).to_numpy(value)
    arrays[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return {REFERENCE: name}


def as_loaded(contents: Mapping[str, Any]) -> Any:
    """Return contents as `load` would return them after `save`, without a file.

    Raises
    ------
    CheckpointError
        The contents cannot be stored.

    Examples
    --------
    >>> as_loaded({"steps": 3, "betas": (0.9, 0.99)})
    {'steps': 3, 'betas': [0.9, 0.99]}
    """
    arrays: dict[str, Array] = {}
    return _restored(json.loads(json.dumps(_to_json(contents, (), arrays))), arrays)


def _restored(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Invert `_to_json`."""
    if isinstance(value, dict):
        if REFERENCE in value:
            return arrays[value[REFERENCE]]
        return {key: _restored(v, arrays) for key, v in value.items()}
    return [_restored(v, arrays) for v in value] if isinstance(value, list) else value


def _header(text: str, arrays: Mapping[str, Array]) -> bytes:
    """Return the head of a safetensors file: its length, and JSON padded to a multiple of 8."""
    entries: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "contents": text, "checksum": _checksum(text, arrays)}
    }
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        entries[name] = {"dtype": CODES[array.dtype.name], "shape": array.shape, "data_offsets": [start, end]}
    header = json.dumps(entries, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def _checksum(text: str, arrays: Mapping[str, Array]) -> str:
    """Return a digest of the plain values and of each array's name, dtype, shape and bytes."""
    digest = blake2b(text.encode(), digest_size=32)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name}\n{array.dtype.name}\n{array.shape}\n".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _bytes(array: Array) -> Any:
    """Return the bytes of a contiguous array without copying them."""
    return array.reshape(-1).view(np.uint8).data  # (...) -> (bytes,)


def _damage(path: Path, what: str) -> str:
    return f"checkpoint {path}: expected a whole checkpoint, got {what}; it is damaged: use an older one"
