"""Folder of a run: made with its recipe in it, and written by one process at a time."""

from __future__ import annotations

import errno
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import ConfigError, StateError
from tinygrad_lab.files.locking import locked
from tinygrad_lab.files.parsing import from_json, read_text
from tinygrad_lab.files.writing import refusal, remove_leftovers, write_atomically, writing
from tinygrad_lab.train.recipe import Recipe, check_name, checked

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
_RENAMED = {"held_out": "validation", "window": "kernel_size", "windows": "kernel_sizes"}  # by earlier versions


def new_run_folder(root: Path, recipe: Recipe) -> Path:
    """Make and return a folder of its own for a run: the recipe's name and the time, and a number if that is taken.

    The folder gets its name when ``recipe.json`` is in it, so that a run that is killed at once can be resumed too.

    Raises
    ------
    ConfigError
        The recipe's name is no name of a file, or the folder cannot be made.
    """
    check_name(recipe.name, "runs")
    unnamed = root / f".{secrets.token_hex(4)}.tmp"
    with writing(ConfigError, f"runs: expected to make a folder for {recipe.name!r} in {root}"):
        try:
            unnamed.mkdir(parents=True)
            write_atomically(unnamed / "recipe.json", recipe_text(recipe))
            return _named(unnamed, root / f"{recipe.name.replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}")
        except BaseException:
            shutil.rmtree(unnamed, ignore_errors=True)
            raise


def _named(unnamed: Path, wanted: Path) -> Path:
    """Give a folder the name that is wanted, or the next that is free."""
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
    """Write one file of a run in one piece.

    Raises
    ------
    StateError
        The system refuses to write it, for one when the disk is full.
    """
    with writing_into(folder, name):
        write_atomically(folder / name, content)


def writing_into(folder: Path, name: str) -> AbstractContextManager[None]:
    """Return what raises a StateError that names the run where the system refuses to write a file of it."""
    how = f"; then go on with --resume {folder}"
    return writing(StateError, f"run {folder}: expected to write {name}", more=how)


def recipe_text(recipe: Recipe) -> bytes:
    """Return the content of ``recipe.json``."""
    return json.dumps({"name": recipe.name, **recipe.tables}, indent=2).encode()


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
        raise ConfigError(f"--resume: expected the tables of a recipe and its name in {path}, got others")
    name = tables.pop("name")
    if old := [f"{key} (now {_RENAMED[key]})" for key in _RENAMED if key in _keys(tables)]:
        raise ConfigError(
            f"--resume: {path} was written by an earlier version, with the settings {', '.join(old)}; begin a new run "
            f"with tinygrad-lab train {name}"
        )
    return Recipe(name, checked(tables, name))


def _keys(tables: Any) -> Iterator[str]:
    """Yield all keys of tables, at any depth."""
    if isinstance(tables, dict):
        yield from tables
    for value in tables.values() if isinstance(tables, dict) else tables if isinstance(tables, list) else ():
        yield from _keys(value)


@contextmanager
def used_alone(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run's folder inside the ``with`` block, and remove what dead ones left.

    Where there are no locks, two processes may write into one run, each file of which stays whole.

    Raises
    ------
    StateError
        Another process trains there.
    ConfigError
        There is no such folder.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError as error:
            raise StateError(
                f"run {folder}: expected a run that no other process goes on with, got one in use; wait for its end, "
                "or begin another run"
            ) from error
        except OSError as error:
            raise ConfigError(f"run {folder}: expected the folder of a run, got {refusal(error)}") from error
        with suppress(OSError):  # a folder that is only read, say
            for place in (folder, folder / "checkpoints"):
                remove_leftovers(place)
        yield
