"""Results of full runs of recipes, from the files in docs/results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tinygrad_lab.tables import html_table
from tinygrad_lab.train.recipe import find_recipe, recipe_names, split_name
from tinygrad_lab.train.results import comparisons, headline_of, read_results

_FIGURES = ("chosen_on_validation", "last", "best_on_test")  # test accuracy at three epochs
_HEAD = ("recipe", "epochs × seeds", "test %, epoch chosen on validation", "test %, last epoch", "test %, best epoch")
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results"  # only in a clone of the repository


@dataclass(frozen=True)
class Results:
    """Table of the results of recipes, which a notebook displays.

    Parameters
    ----------
    rows : tuple of (str, dict or None)
        Recipes by name with their results; None for one that was not run.
    folder : path or None
        The folder that should contain the results, if it does not exist; else None.
    """

    rows: tuple[tuple[str, Mapping[str, Any] | None], ...]
    folder: Path | None = None

    def __str__(self) -> str:
        table = [_HEAD, *self._cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
        return "\n".join([*(lines if self._cells() else []), *self._notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = html_table(_HEAD, self._cells(), numbers=(2, 3, 4)) if self._cells() else ""
        return table + "".join(f"<p>{escape(line)}</p>" for line in self._notes())

    def _cells(self) -> list[tuple[str, ...]]:
        return [_cells(name, found) for name, found in self.rows if found is not None]

    def _notes(self) -> list[str]:
        if self.folder is not None:
            return [
                f"No results here: those of {', '.join(name for name, _ in self.rows)} are in docs/results of the "
                f"repository, which an installed package does not have; expected a folder {self.folder}"
            ]
        published = dict.fromkeys(str(found["published"]) for _, found in self.rows if found and found.get("published"))
        missing = [name for name, found in self.rows if found is None]
        diverging = [name for name in missing if _diverges(name)]
        missing = [name for name in missing if name not in diverging]
        notes = [f"Published: {text}." for text in published] + self._remarks()
        notes += [line.replace("`", "") for line in comparisons(found for _, found in self.rows if found)]
        if diverging:
            notes.append(f"Stopped because the loss became infinite or NaN: {', '.join(diverging)}.")
        return notes + ([f"Not yet run in full: tinygrad-lab train {', '.join(missing)}"] if missing else [])

    def _remarks(self) -> list[str]:
        """Return the remarks of recipes on their own results, such as how settings were chosen."""
        names = dict.fromkeys(split_name(name)[0] for name, found in self.rows if found is not None)
        remarks = ((name, find_recipe(name)["recipe"].get("remark")) for name in names if name in recipe_names())
        return [f"{name}: {remark}." for name, remark in remarks if remark]


def results(*recipes: str, folder: Path = FOLDER) -> Results:
    """Return the results of full runs of recipes, as far as they exist.

    Parameters
    ----------
    *recipes : str
        The recipes' names; ``NAME:VARIANT`` is a variant.
    folder : path
        The folder of the JSON files that `tinygrad-lab results --write` made, or of folders of them.

    Raises
    ------
    ConfigError
        There are no results of a recipe or variant, and it does not exist.

    Examples
    --------
    >>> print(results("ten_layer"))
    Not yet run in full: tinygrad-lab train ten_layer
    """
    found = {result["recipe"]: result for result in read_results(folder)} if folder.is_dir() else {}
    for name in recipes:
        if name not in found:
            find_recipe(name)  # a page that quotes a misspelled recipe fails
    if not folder.is_dir():
        return Results(tuple((name, None) for name in recipes), folder)
    return Results(tuple((name, found.get(name)) for name in recipes))


def _diverges(name: str) -> bool:
    """Return whether the recipe says that the loss of this variant becomes infinite or NaN."""
    base, variant = split_name(name)
    return base in recipe_names() and variant in find_recipe(base)["recipe"].get("diverging", [])


def _cells(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    score = headline_of(found)
    cells = [score.spread(found.get(figure)) for figure in _FIGURES]
    told = cells if score.percent else [f"{score} {cell}" if cell != "-" else cell for cell in cells]
    return (name, f"{found['epochs']} × {len(found['seeds'])}", *told)
