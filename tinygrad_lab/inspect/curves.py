"""Curves of a run: loss and headline score of each epoch, as a picture."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import LabError, warn_once
from tinygrad_lab.files.parsing import from_json, read_text
from tinygrad_lab.files.writing import write_atomically
from tinygrad_lab.train.callbacks import Metrics
from tinygrad_lab.train.folder import read_run
from tinygrad_lab.train.metrics import headline_in
from tinygrad_lab.train.range_test import RangeTest
from tinygrad_lab.train.state import check_history

_REFUSALS = (LabError, ImportError, OSError, RuntimeError, ValueError)  # of Matplotlib, its fonts, the disk and files
_LONGEST_TITLE = 120  # characters; more do not fit on the picture


def save_curves(run: Path) -> None:
    """Draw the curves of a run into ``curves.png`` in its folder, or log a warning if that fails.

    Parameters
    ----------
    run : Path
        The folder of a run, with ``recipe.json`` and ``metrics.jsonl``.
    """
    path = run / "curves.png"
    try:
        recipe = read_run(run)
        title = recipe["recipe"].get("title", recipe.name)
        write_atomically(path, draw_curves(read_history(run / "metrics.jsonl"), title, augmented=bool(recipe.augment)))
    except _REFUSALS as error:
        why = textwrap.shorten(str(error), 160, placeholder=" ...")
        warn_once(f"no picture {path}: {type(error).__name__}: {why}; the numbers are in metrics.jsonl")


def read_history(path: Path) -> list[Metrics]:
    """Return the metrics of each epoch from a run's ``metrics.jsonl``.

    Raises
    ------
    ConfigError, StateError
        The file cannot be read, or contains anything other than the metrics of epochs.
    """
    who = f"curves: {path}"
    history = [_with_nan(from_json(line, who)) for line in read_text(path, who).splitlines()]
    splits = [split for split in ("test", "validation") if history and split in history[-1]]
    check_history(history, splits, headline=headline_in(history[-1] if history else {}).name)
    return history


def _with_nan(metrics: Any) -> Any:
    """Return an epoch's metrics with NaN for null: JSON has no number for one that is not finite."""
    if isinstance(metrics, dict):
        return {name: _with_nan(value) for name, value in metrics.items()}
    return math.nan if metrics is None else metrics


def draw_range_test(found: RangeTest, title: str) -> bytes:
    """Return a PNG with the losses of a learning-rate range test, their moving mean and the suggested rate."""
    figure = new_figure(size=(6, 3.6))
    axes = figure.subplots()
    axes.semilogx(found.rates, found.losses, alpha=0.3, label="loss of an update")
    axes.semilogx(found.rates, found.means, label="moving mean")
    if found.suggestion is not None:
        axes.axvline(found.suggestion, linestyle="--", color="tab:green", label=f"suggestion: {found.suggestion:.2g}")
    axes.set_ylim(top=min(max(found.losses), 3 * found.means[0]))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.legend()
    axes.grid(alpha=0.3)
    return png(figure, title)


def new_figure(size: tuple[float, float]) -> Any:
    """Return an empty figure of a size in inches, which needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Any, title: str) -> bytes:
    """Return a figure as PNG, under a title that is plain text, not TeX."""
    figure.suptitle(shortened(title), parse_math=False)
    return saved(figure, "png", dpi=120)


def shortened(title: str) -> str:
    """Return a title as Matplotlib can draw it in one line; the name of a file may not be valid Unicode."""
    return textwrap.shorten(title.encode(errors="replace").decode(), _LONGEST_TITLE, placeholder=" ...")


def saved(figure: Any, format: str, *, dpi: float) -> bytes:
    """Return a figure as a file's content without a date, and without warnings about characters that the font lacks."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(content, format=format, dpi=dpi, metadata={"Date": None} if format == "svg" else None)
    return content.getvalue()


def draw_curves(history: Sequence[Metrics], title: str, *, augmented: bool = False) -> bytes:
    """Return a PNG with loss and headline score on training, test and validation data.

    The title is plain text, not TeX.
    """
    score = headline_in(history[-1])
    figure = new_figure(size=(8, 3.2))
    epochs = [m["epoch"] for m in history]
    for axes, key in zip(figure.subplots(1, 2), ("loss", score.name), strict=True):
        axes.plot(epochs, [m[key] for m in history], label="training (augmented)" if augmented else "training")
        if "test" in history[-1]:
            axes.plot(epochs, [m["test"][key] for m in history], label="test")
        if "validation" in history[-1]:
            axes.plot(epochs, [m["validation"][key] for m in history], label="validation", alpha=0.6)
        axes.set_xlabel("epoch")
        axes.set_ylabel(str(score) if key == score.name else key)
        axes.legend()
        axes.grid(alpha=0.3)
    return png(figure, title)
