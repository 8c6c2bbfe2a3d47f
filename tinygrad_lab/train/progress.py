"""Progress of a run: a live display in a terminal, plain lines elsewhere, or silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from tinygrad_lab.train.callbacks import Callback, Metrics
from tinygrad_lab.train.recipe import Recipe


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def describe_epoch(metrics: dict[str, Any], epochs: int, *, first: bool = False) -> str:
    """Return one line about a finished epoch. The time of a process's first epoch includes its start-up."""
    test, validation = metrics.get("test"), metrics.get("validation")
    return (
        f"epoch {metrics['epoch']:>3}/{epochs}  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.2%}  "
        + (f"validation {validation['accuracy']:.2%}  " if validation else "")
        + (f"test: loss {test['loss']:.4f}  accuracy {test['accuracy']:.2%}  " if test else "")
        + f"{metrics['images_per_second']:,.0f} images/s"
        + (", start-up included" if first else "")
    )


class Reporter(Callback):
    """Base class of reporters, which prints nothing."""

    @contextmanager
    def training(self, recipe: Recipe, epochs: int) -> Iterator[None]:
        """Report on the training inside the ``with`` block."""
        yield


class LineReporter(Reporter):
    """Prints one line for each epoch, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.epochs = self.reported = 0
        self.after_first = 0.0

    @contextmanager
    def training(self, recipe: Recipe, epochs: int) -> Iterator[None]:
        """Print the title of the recipe first."""
        self.epochs = epochs
        print(recipe["recipe"].get("title", recipe.name), file=self.stream, flush=True)
        yield

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Print the epoch's line, with the remaining time."""
        self.reported, now = self.reported + 1, time.perf_counter()
        line = describe_epoch(history[-1], self.epochs, first=self.reported == 1)
        if self.reported == 1:  # its time includes the start-up, so it predicts nothing
            self.after_first = now
        else:
            pace = (now - self.after_first) / (self.reported - 1)
            line += f"  {_clock(pace * (self.epochs - history[-1]['epoch']))} left"
        print(line, file=self.stream, flush=True)
        return None


class LiveReporter(LineReporter):
    """Shows a progress bar with epoch, step, loss, accuracy, speed and remaining time, above it one line per epoch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self.bar: Any = None
        self.task: Any = None

    @contextmanager
    def training(self, recipe: Recipe, epochs: int) -> Iterator[None]:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.epochs = epochs
        columns = ("{task.description}", BarColumn(), "{task.percentage:>3.0f} %", TimeRemainingColumn())
        console = Console(file=self.stream, soft_wrap=True)
        self.bar = Progress(*columns, TextColumn("{task.fields[state]}"), console=console, transient=True)
        console.print(recipe["recipe"].get("title", recipe.name), style="bold", markup=False)
        with self.bar:
            self.task = self.bar.add_task("training", total=None, state="")
            yield

    def step(self, metrics: Metrics) -> None:
        """Advance the bar."""
        steps = metrics["steps"]
        state = (
            f"step {metrics['step']}/{steps}  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.1%}  "
            f"{metrics['images_per_second']:,.0f} images/s"
        )
        self.bar.update(
            self.task,
            total=self.epochs * steps,
            completed=(metrics["epoch"] - 1) * steps + metrics["step"],
            description=f"epoch {metrics['epoch']}/{self.epochs}",
            state=state,
        )

    def epoch(self, history: Sequence[Metrics]) -> str | None:
        """Print the epoch's line above the bar."""
        self.reported += 1
        self.bar.console.print(describe_epoch(history[-1], self.epochs, first=self.reported == 1), highlight=False)
        return None
