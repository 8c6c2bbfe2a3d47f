"""Files of the learner: copying them without overwriting work, and finding them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tinygrad_lab.errors import ConfigError
from tinygrad_lab.learn.catalog import Exercise
from tinygrad_lab.learn.progress import free_name


def default_folder(exercise: Exercise) -> Path:
    """Return the default folder of an exercise.

    Examples
    --------
    >>> from tinygrad_lab.learn.catalog import find_exercise
    >>> print(default_folder(find_exercise("im2col")))
    06-im2col
    """
    return Path(f"{exercise.number:02}-{exercise.name.replace('_', '-')}")


def answers_folder(exercise: Exercise, folder: Path) -> Path:
    """Return the folder of the learner's files: the exercise's folder, or its package's if it is a distribution."""
    return folder / exercise.distribution.replace(".", "_") if exercise.distribution else folder


def hand_out(
    exercise: Exercise, folder: Path, *, again: bool = False, new_distribution: Callable[[Path], object]
) -> tuple[list[Path], list[Path]]:
    """Copy an exercise into a folder; return the paths that were written, and the new paths of old work.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    folder : Path
        The target folder.
    again : bool
        Whether to replace files that differ; the old ones are renamed.
    new_distribution : callable
        Writes a new distribution into a folder, for an exercise whose answer is a distribution.

    Raises
    ------
    ConfigError
        Work would be overwritten.
    """
    if exercise.distribution:
        return hand_out_distribution(exercise, folder, again, new_distribution)
    texts = {folder / f"{exercise.name}.md": exercise.story}
    texts |= {folder / name: text for name, text in exercise.with_holes.items()}
    taken = [path for path, text in texts.items() if path.exists() and read_answer(path) != text]
    if taken and not again:
        raise ConfigError(
            f"{' and '.join(map(str, taken))}: expected no answer yet, found one and left it as it is; "
            f"`tinygrad-lab learn check {exercise.number}` grades it, --again renames it and starts a new one"
        )
    kept = [set_aside(path) for path in taken]
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts), kept


def hand_out_distribution(
    exercise: Exercise, folder: Path, again: bool, new_distribution: Callable[[Path], object]
) -> tuple[list[Path], list[Path]]:
    """Copy an exercise whose answer is a distribution; see `hand_out`."""
    kept = []
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not again:
            raise ConfigError(
                f"expected a new or empty folder, got {folder}, which holds files and was left as it is; name another "
                "folder, or use --again, which first renames this one"
            )
        kept.append(set_aside(folder))
    new_distribution(folder)
    for page in (folder / "docs").rglob("*.md"):
        page.unlink()  # it describes another layer
    (folder / "docs").rmdir()
    texts = {folder / "README.md": exercise.story}
    texts |= {answers_folder(exercise, folder) / name: text for name, text in exercise.with_holes.items()}
    texts |= {
        folder / "tests" / path.name.removesuffix(".in"): path.read_text(encoding="utf-8")
        for path in (exercise.folder / "extra").glob("test_*.in")
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts), kept


def set_aside(path: Path) -> Path:
    """Rename a file or folder, and return the new path."""
    aside = free_name(path.with_name(f"{path.name}.old"))
    path.rename(aside)
    return aside


def find_answer(exercise: Exercise, given: Path | None, remembered: str) -> Path:
    """Return the folder of the learner's files, or the one file that was named.

    Parameters
    ----------
    exercise : Exercise
        The exercise.
    given : Path or None
        A file or folder that the learner named.
    remembered : str
        The folder of the last copy of the exercise; empty if there is none.

    Raises
    ------
    ConfigError
        No answer is found.
    """
    if given is not None and given.is_file():
        return given
    if given is not None and not given.exists():
        raise ConfigError(f"expected your file, or its folder, got {given}, which does not exist")
    here = (
        [given]
        if given is not None
        else [default_folder(exercise), Path(), *([Path(remembered)] if remembered else [])]
    )
    places = [place for folder in here for place in (folder, folder / default_folder(exercise))]
    places = [place for folder in places for place in (answers_folder(exercise, folder), folder)]
    for place in places:
        if all((place / name).is_file() for name in exercise.with_holes):
            return place
    names = " and ".join(exercise.with_holes)
    where = " or ".join(str(folder.absolute()) for folder in here)
    raise ConfigError(
        f"expected {names} in {where}, found none; `tinygrad-lab learn start {exercise.number}` begins the exercise, "
        f"and `tinygrad-lab learn check {exercise.number} FILE` grades a file in another place"
    )


def read_answers(exercise: Exercise, place: Path) -> dict[str, str]:
    """Return the learner's files by name."""
    paths = [place] if place.is_file() else [place / name for name in exercise.with_holes]
    return {path.name: read_answer(path) for path in paths}


def read_answer(path: Path) -> str:
    """Return the text of a file.

    Raises
    ------
    ConfigError
        The file is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected Python in UTF-8 in {path}, got {type(error).__name__}: {error}") from error
