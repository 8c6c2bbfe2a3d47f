"""Progress of a run: a live display in a terminal, plain lines elsewhere, or silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from tinygrad_lab.backend import installed
from tinygrad_lab.train.callbacks import Callback, Metrics
from tinygrad_lab.train.metrics import headline_in
from tinygrad_lab.train.recipe import Recipe


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def describe_epoch(metrics: dict[str, Any], epochs: int, *, left: float | None = None) -> str:
    """Return one line about a finished epoch, with the seconds that are left if they are known.

    Without its last entry, the speed, the line fits into 80 columns.
    """
    test, validation, score = metrics.get("test"), metrics.get("validation"), headline_in(metrics)
    return (
        f"epoch {metrics['epoch']:>{len(str(epochs))}}/{epochs}  "
        + (f"{_clock(left)} left  " if left is not None else "")
        + f"loss {metrics['loss']:.4f}  {score} {score.text(metrics[score.name])}  "
        + (f"validation {score.text(validation[score.name])}  " if validation else "")
        + (f"test {score.text(test[score.name])}  " if test else "")
        + f"{metrics['images_per_second']:,.0f} images/s"
    )


class Reporter(Callback):
    """Base class of reporters, which prints nothing."""

    @contextmanager
    def training(self, recipe: Recipe, epochs: int, head: Sequence[str] = ()) -> Iterator[None]:
        """Report on the training inside the ``with`` block; `head` are lines about data and network."""
        yield


class LineReporter(Reporter):
    """Prints one line for each epoch: for logs and pipes, or as a callback of a `Trainer`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.epochs = self.reported = 0
        self.after_first = 0.0

    @contextmanager
    def training(self, recipe: Recipe, epochs: int, head: Sequence[str] = ()) -> Iterator[None]:
        """Print the title of the recipe, data and network first."""
        self.epochs = epochs
        print(recipe["recipe"].get("title", recipe.name), *head, sep="\n", file=self.stream, flush=True)
        yield

    def step(self, metrics: Metrics) -> None:
        """Note the number of epochs."""
        self.epochs = metrics["epochs"]

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Print the epoch's line, with the remaining time."""
        print(self._line(history[-1]), file=self.stream, flush=True)
        return None

    def _line(self, metrics: Metrics) -> str:
        """Return the line of an epoch that just ended; the first predicts no time, because it includes the start-up."""
        self.reported, now = self.reported + 1, time.perf_counter()
        if self.reported == 1:
            self.after_first = now
            return f"{describe_epoch(metrics, self.epochs)}, start-up included"
        pace = (now - self.after_first) / (self.reported - 1)
        return describe_epoch(metrics, self.epochs, left=pace * (self.epochs - metrics["epoch"]))


class LiveReporter(LineReporter):
    """Shows a progress bar with epoch, remaining time, loss, score and speed, and above it one line per epoch.

    Without `training`, as a callback of a `Trainer`, it prints lines like its base class. In a notebook, the bar needs
    the package ipywidgets; without it, there are only the lines.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.bar: Any = None
        self.task: Any = None

    @contextmanager
    def training(self, recipe: Recipe, epochs: int, head: Sequence[str] = ()) -> Iterator[None]:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.epochs = epochs
        left = (TimeRemainingColumn(compact=True), "left")
        columns = ("{task.description}", BarColumn(bar_width=10), "{task.percentage:>3.0f} %", *left)
        console = Console(file=self.stream, soft_wrap=True)
        if console.is_jupyter and not installed("ipywidgets"):
            with super().training(recipe, epochs, head):
                yield
            return
        self.bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=console, transient=True)
        console.print(recipe["recipe"].get("title", recipe.name), style="bold", markup=False)
        console.print(*head, sep="\n", markup=False, highlight=False)
        with self.bar:
            self.task = self.bar.add_task("training", total=None, state="")
            yield

    def step(self, metrics: Metrics) -> None:
        """Advance the bar."""
        super().step(metrics)
        if self.bar is None:
            return
        steps = metrics["steps"]
        score = headline_in(metrics)
        shown = score.text(metrics[score.name], digits=1) if score.percent else f"{score} {metrics[score.name]:.3f}"
        state = f"loss {metrics['loss']:.3g}  {shown}  {metrics['images_per_second']:,.0f}/s"
        self.bar.update(
            self.task,
            total=self.epochs * steps,
            completed=(metrics["epoch"] - 1) * steps + metrics["step"],
            description=f"epoch {metrics['epoch']}/{self.epochs}",
            state=state,
        )

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Print the epoch's line above the bar."""
        if self.bar is None:
            return super().epoch(history)
        self.bar.console.print(self._line(history[-1]), highlight=False)
        return None
