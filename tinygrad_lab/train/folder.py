"""Folder of a run: created with its recipe, read back, and locked against other processes."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tinygrad_lab.data.files import data_roots
from tinygrad_lab.errors import ConfigError, StateError, warn_once
from tinygrad_lab.files.locking import locked
from tinygrad_lab.files.parsing import from_json, read_text
from tinygrad_lab.files.writing import refusal, remove_leftovers, write_atomically, writing
from tinygrad_lab.train.recipe import NO_SETTINGS, Recipe, check_name, checked

RESULT = "result.json"

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
# Names of settings in the files of earlier versions, and their present names.
_RENAMED = {"held_out": "validation", "window": "kernel_size", "windows": "kernel_sizes"}


def new_run_folder(root: Path, recipe: Recipe, name: str | None = None) -> Path:
    """Make a new folder for a run, named after the recipe and the time by default, with a number if the name is taken.

    The folder gets its name only after ``recipe.json`` is written, so even a run that is killed at once can be resumed.

    Raises
    ------
    ConfigError
        The name, or that of the recipe, is not a valid file name, or the folder cannot be made.
    """
    check_name(recipe.name if name is None else name, "runs")
    name = name or f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    unnamed = root / f".{secrets.token_hex(4)}.tmp"
    with writing(ConfigError, f"runs: expected to make a folder for {recipe.name!r} in {root}"):
        try:
            unnamed.mkdir(parents=True)
            write_atomically(unnamed / "recipe.json", recipe_text(recipe))
            return _named(unnamed, root / name.replace(":", "-"))
        except BaseException:
            shutil.rmtree(unnamed, ignore_errors=True)
            raise


def _named(unnamed: Path, wanted: Path) -> Path:
    """Rename a folder to the wanted name, or to the next free one."""
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        folder = wanted.with_name(wanted.name + suffix)
        if folder.exists():
            continue
        try:
            return unnamed.rename(folder)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
    raise ConfigError(f"runs: expected a free name like {wanted}, got none")


def write_into(folder: Path, name: str, content: bytes) -> None:
    """Write one file of a run atomically.

    Raises
    ------
    StateError
        The file cannot be written, for example because the disk is full.
    """
    with writing_into(folder, name):
        write_atomically(folder / name, content)


def writing_into(folder: Path, name: str) -> AbstractContextManager[None]:
    """Return a context manager that turns an OSError into a StateError with advice on how to resume the run."""
    how = f"; then continue with --resume {folder}"
    return writing(StateError, f"run {folder}: expected to write {name}", more=how)


def test_looks(folder: Path) -> int:
    """Return how often the test images of a run were evaluated so far; 0 if the run has no result."""
    looks = _result(folder).get("test_looks", 0)
    return looks if isinstance(looks, int) else 0


def count_test_look(folder: Path) -> int | None:
    """Add 1 to the number of evaluations of the test images in a run's result, and return it.

    The result is None, and nothing is counted, if the run has no result. The same holds, with a warning, if another
    process uses the run, or if its result cannot be read or written, for example because the folder is read-only.
    """
    if not (folder / RESULT).exists():
        return None
    try:
        with used_alone(folder), writing(StateError, f"run {folder}: expected to write {RESULT}"):
            if not (before := _result(folder)):
                return None
            looks = test_looks(folder) + 1
            write_atomically(folder / RESULT, json.dumps({**before, "test_looks": looks}, indent=2).encode())
    except (ConfigError, StateError) as error:
        warn_once(f"this look at the test images was not counted in {folder / RESULT}: {error}")
        return None
    return looks


def _result(folder: Path) -> dict[str, Any]:
    """Return the content of a run's ``result.json``; nothing if there is no such file."""
    path = folder / RESULT
    found = from_json(read_text(path, "run"), f"run: {path}") if path.exists() else {}
    return found if isinstance(found, dict) else {}


def recipe_text(recipe: Recipe) -> bytes:
    """Return the content of ``recipe.json``."""
    found = {} if recipe.file is None else {"file": recipe.file}
    return json.dumps({"name": recipe.name, **found, **recipe.tables}, indent=2).encode()


def digest(recipe: Recipe, *, root: str | None, device: str) -> str:
    """Return a digest of all that determines a run except seed and code: settings, data folders and device."""
    settings = {table: content for table, content in recipe.tables.items() if table not in NO_SETTINGS}
    settings["training"] = {key: value for key, value in recipe["training"].items() if key != "seed"}
    folders = [str(Path(folder).absolute()) for folder in data_roots(root).values()]
    content = json.dumps([settings, folders, device], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def same_run(noted: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a finished run need not be repeated: recipe, seed, digest and commit are equal."""
    same = all(noted.get(name) == wanted[name] for name in ("recipe", "seed", "digest", "revision"))
    return same and not wanted["revision"].endswith("+")  # +: the code may have been edited since then


def read_run(folder: Path) -> Recipe:
    """Return the recipe in a run's folder.

    Raises
    ------
    ConfigError
        The folder holds no valid recipe, or one of an earlier version.
    """
    path = folder / "recipe.json"
    if not path.is_file():
        raise ConfigError(f"--resume: expected the folder of a run, got {folder}; it holds no recipe.json")
    tables = from_json(read_text(path, "--resume"), f"--resume: {path}")
    if not isinstance(tables, dict) or "name" not in tables:
        raise ConfigError(f"--resume: expected the tables of a recipe and its name in {path}, got other content")
    name, file = tables.pop("name"), tables.pop("file", None)
    if old := [f"{key} (now {_RENAMED[key]})" for key in _RENAMED if key in _keys(tables)]:
        raise ConfigError(
            f"--resume: {path} was written by an earlier version, with the settings {', '.join(old)}; begin a new run "
            f"with tinygrad-lab train {name}"
        )
    return Recipe(name, checked(tables, name), file if isinstance(file, str) else None)


def _keys(tables: Any) -> Iterator[str]:
    """Yield all keys of tables, at any depth."""
    if isinstance(tables, dict):
        yield from tables
    for value in tables.values() if isinstance(tables, dict) else tables if isinstance(tables, list) else ():
        yield from _keys(value)


@contextmanager
def used_alone(folder: Path) -> Iterator[None]:
    """Lock a run's folder inside the ``with`` block, and remove temporary files of killed processes.

    On systems without locks, two processes may write into one run; each file is still written atomically.

    Raises
    ------
    StateError
        Another process uses the folder.
    ConfigError
        The folder does not exist.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise StateError(
                f"run {folder}: expected a run that no other process uses, got one in use; wait until that process "
                "ends, or begin a new run"
            ) from error
        except OSError as error:
            raise ConfigError(f"run {folder}: expected the folder of a run, got {refusal(error)}") from error
        with suppress(OSError):  # for example a read-only folder
            for place in (folder, folder / "checkpoints"):
                remove_leftovers(place)
        yield
