"""What full runs of recipes reached, from the files in docs/results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tinygrad_lab.inspect.tables import html_table

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results"  # in a clone; an installed package has none


@dataclass(frozen=True)
class Results:
    """Results of recipes as a table, which shows itself in a notebook.

    Parameters
    ----------
    rows : tuple of (str, dict or None)
        Recipes by name with what they reached; None is one that was not run.
    """

    rows: tuple[tuple[str, Mapping[str, Any] | None], ...]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._cells(), strict=True)]
        lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in self._cells()]
        return "\n".join([*lines, *self._missing()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *rows = self._cells()
        missing = "".join(f"<p>{escape(line)}</p>" for line in self._missing())
        return (html_table(head, rows, numbers=(2, 3, 4)) if rows else "") + missing

    def _cells(self) -> list[tuple[str, ...]]:
        head = ("recipe", "epochs × seeds", "chosen on held-out", "last epoch", "best on test", "published")
        return [head, *(_cells(name, found) for name, found in self.rows if found is not None)]

    def _missing(self) -> list[str]:
        names = [name for name, found in self.rows if found is None]
        return [f"Not yet run in full: tinygrad-lab train {name}" for name in names]


def results(*recipes: str, folder: Path = FOLDER) -> Results:
    """Return what full runs of recipes reached, as far as they were done.

    Parameters
    ----------
    *recipes : str
        Their names; ``NAME:VARIANT`` is a variant.
    folder : path
        Where the JSON files are, each with the key `recipe`.

    Examples
    --------
    >>> print(results("none_such"))
    recipe  epochs × seeds  chosen on held-out  last epoch  best on test  published
    Not yet run in full: tinygrad-lab train none_such
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for entry in content if isinstance(content, list) else [content]:
            if isinstance(entry, dict) and "recipe" in entry:
                found[entry["recipe"]] = entry
    return Results(tuple((name, found.get(name)) for name in recipes))


def _cells(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    seeds = found.get("seeds")
    count = len(seeds) if isinstance(seeds, list) else seeds or 1
    figures = (_percent(found.get(key)) for key in ("chosen_on_held_out", "last", "best_on_test"))
    return (name, f"{found.get('epochs', '?')} × {count}", *figures, str(found.get("published") or "none"))


def _percent(figure: Any) -> str:
    """Return a mean with its standard deviation over seeds."""
    if not isinstance(figure, Mapping) or figure.get("mean") is None:
        return "none"
    spread = f" ± {100 * figure['std']:.2f}" if figure.get("std") else ""
    return f"{100 * figure['mean']:.2f}{spread} %"
