"""Progress of a learner, stored in a file of the user's data folder."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from tinygrad_lab.errors import StateError

FOLDER_VARIABLE = "TINYGRAD_LAB_LEARN"  # names another folder for the progress
FORMAT = 1


@dataclass
class Entry:
    """Progress in one exercise.

    Parameters
    ----------
    where : str
        The folder of the learner's files; empty before the exercise is started.
    attempts, hints : int
        The numbers of checks and of hints shown.
    passed : bool
        Whether the answer has passed.
    """

    where: str = ""
    attempts: int = 0
    hints: int = 0
    passed: bool = False


@dataclass
class Progress:
    """Progress in all exercises that were started.

    Parameters
    ----------
    path : Path
        The file.
    entries : dict
        The entries by the exercise's name.
    damage : str
        The reason why the file cannot be read; empty if it can. A damaged file is kept under another name.
    """

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    damage: str = ""

    def of(self, name: str) -> Entry:
        """Return an exercise's entry, which may be changed."""
        return self.entries.setdefault(name, Entry())

    def save(self) -> str:
        """Write the file atomically; return the new path of a damaged one, or an empty text.

        Raises
        ------
        StateError
            The folder cannot be written to.
        """
        kept = ""
        text = json.dumps({"format": FORMAT, "exercises": {k: asdict(v) for k, v in self.entries.items()}}, indent=2)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.damage:
                aside = free_name(self.path.with_suffix(".damaged"))
                self.path.replace(aside)
                kept, self.damage = str(aside), ""
            write_whole(self.path, text)
        except OSError as error:
            raise StateError(
                f"cannot save progress in {self.path}: {error}; name another folder in {FOLDER_VARIABLE}"
            ) from error
        return kept


def progress_file() -> Path:
    """Return the path of the progress file."""
    folder = os.environ.get(FOLDER_VARIABLE) or platformdirs.user_data_dir("tinygrad_lab", appauthor=False)
    return Path(folder) / "learn.json"


def load_progress(path: Path | None = None) -> Progress:
    """Return the progress in a file: empty if there is no file, and with `damage` set if it cannot be read.

    Examples
    --------
    >>> load_progress(Path("nowhere.json")).entries
    {}
    """
    path = progress_file() if path is None else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Progress(path)
    except (OSError, UnicodeDecodeError) as error:
        return Progress(path, damage=damaged(path, error))
    try:
        table = json.loads(text)
        if table["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {table['format']!r}")
        return Progress(path, {str(name): entry(given) for name, given in table["exercises"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Progress(path, damage=damaged(path, error))


def entry(given: Any) -> Entry:
    """Return an entry from plain values.

    Raises
    ------
    TypeError
        The values are not those of an entry.
    """
    found = Entry(**given)
    if any(type(getattr(found, name)) is not type(value) for name, value in asdict(Entry()).items()):
        raise TypeError(f"expected an entry, got {given}")
    return found


def damaged(path: Path, error: Exception) -> str:
    """Return a message that a file cannot be read, and what will become of it."""
    return (
        f"the progress in {path} cannot be read ({type(error).__name__}: {error}); it is not lost: repair the file, "
        "or continue, and it will be kept beside a new one"
    )


def free_name(path: Path) -> Path:
    """Return a path that does not exist yet: this one with a number."""
    number = 1
    while (candidate := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return candidate


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically, so that a reader finds the old text or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
