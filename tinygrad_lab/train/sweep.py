"""Sweep over settings: the trials of `tinygrad_lab.train.tuning`, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tinygrad_lab.distributed.launcher import cores
from tinygrad_lab.distributed.workers import call_each
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.train.ledger import LEDGER, Trial
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.tuning import attempt, planned, record


def sweep(
    recipe: Recipe,
    settings: Sequence[str],
    *,
    seeds: int = 3,
    ranks: int | None = None,
    folder: Path = Path("sweep"),
    root: str | None = None,
    device: str = "cpu",
    notify: Callable[[Trial, int, int], object] = lambda trial, done, count: None,
) -> list[Trial]:
    """Run every combination of settings with every seed, several at once, and return the trials in that order.

    The folder, its ledger and the rules are those of `tune`: validation images alone are looked at, and a trial that
    finished before is not run again. A trial that fails, even if its process is killed, gets a line in the ledger, and
    the others go on. Ctrl-C ends the running trials, which get no line; the next sweep runs them again.

    Parameters
    ----------
    recipe, settings, seeds, folder, root, device
        As in `tune`.
    ranks : int, optional
        The number of processes, which share the cores; by default one for each core.
    notify : callable
        ``notify(trial, done, count)`` is called after each trial.

    Raises
    ------
    ConfigError
        A setting is wrong, there are no validation images, there are more ranks than cores, or the folder cannot be
        written into.
    """
    ranks = cores() if ranks is None else ranks
    if not 1 <= ranks <= cores():
        raise ConfigError(f"--ranks: expected 1 to {cores()}, the number of cores, got {ranks}")
    ledger = folder / LEDGER
    trials, todo = planned(recipe, settings, seeds=seeds, ledger=ledger, root=root, device=device)
    calls = [(seeded, trial, folder, root, device) for seeded, trial in todo]
    found = call_each(_work, calls, workers=min(ranks, max(1, len(calls))))
    for number, ((_, trial, *_), outcome) in enumerate(found, 1):
        failed = isinstance(outcome, BaseException)
        trial |= {"status": f"failed: {' '.join(str(outcome).split())}"} if failed else outcome
        record(ledger, trial)
        notify(trial, number, len(calls))
    return trials


def _work(recipe: Recipe, trial: Trial, folder: Path, root: str | None, device: str) -> Trial:
    """Run one trial in a worker, and return its line."""
    with suppress(KeyboardInterrupt):  # then its status is "stopped"
        attempt(recipe, trial, Reporter(), folder, root=root, device=device)
    return trial
