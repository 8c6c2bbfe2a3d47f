"""Curves of a run: loss and accuracy against the epoch, as a picture."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

from tinygrad_lab.errors import warn_once
from tinygrad_lab.train.callbacks import Metrics
from tinygrad_lab.writing import write_atomically

_REFUSALS = (ImportError, OSError, RuntimeError, ValueError)  # what Matplotlib, its fonts and the disk raise
_LONGEST_TITLE = 120  # characters; more do not fit on the picture


def save_curves(history: Sequence[Metrics], path: Path, title: str) -> None:
    """Write the picture, or one line that says why there is none: a picture is never worth a run."""
    try:
        write_atomically(path, draw_curves(history, title))
    except _REFUSALS as error:
        why = textwrap.shorten(str(error), 160, placeholder=" ...")
        warn_once(f"no picture {path}: {type(error).__name__}: {why}; the figures are in metrics.jsonl")


def draw_curves(history: Sequence[Metrics], title: str) -> bytes:
    """Return a PNG of loss and accuracy for training, test and validation data; the title is text, not mathematics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [m["epoch"] for m in history]
    for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [m[key] for m in history], label="training (augmented)")
        if "test" in history[-1]:
            axes.plot(epochs, [m["test"][key] for m in history], label="test")
        if "validation" in history[-1]:
            axes.plot(epochs, [m["validation"][key] for m in history], label="validation", alpha=0.6)
        axes.set_xlabel("epoch")
        axes.set_ylabel(key)
        axes.legend()
        axes.grid(alpha=0.3)
    title = title.encode(errors="replace").decode()  # a file's name may hold what no font can
    figure.suptitle(textwrap.shorten(title, _LONGEST_TITLE, placeholder=" ..."), parse_math=False)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a sign that the font lacks
        figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
