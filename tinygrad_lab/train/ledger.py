"""Ledger of tuning: a line of JSON for every trial, and the section of the results page that lists them.

A trial gets its line when it ends, whether it finished, diverged, was stopped by Ctrl-C, or failed. No line is ever
removed, so that readers of a published figure can see everything that was tried for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tinygrad_lab.arguments import check_state
from tinygrad_lab.errors import StateError
from tinygrad_lab.files.locking import locked
from tinygrad_lab.files.parsing import from_json, read_text
from tinygrad_lab.files.writing import json_text
from tinygrad_lab.train.evaluation import spread
from tinygrad_lab.train.metrics import HEADLINES, headline_in

Trial = dict[str, Any]
LEDGER = "ledger.jsonl"
_TRIAL = {
    "recipe": str,
    "settings": list[str],
    "seed": int,
    "status": str,
    "machine": dict,
    "revision": str,
    "command": str,
}
_LATER = {"digest": str}  # missing in older lines
_DONE = {"loss": float, "images": int, "epochs": int, "seconds": float}


def append(ledger: Path, trials: Iterable[Trial]) -> None:
    """Add lines to a ledger, each written whole and synced to the disk."""
    with locked(ledger.parent), ledger.open("ab") as file:
        for trial in trials:
            file.write(json_text(trial).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_ledger(path: Path) -> list[Trial]:
    """Return the trials of a ledger; none if there is no such file.

    Raises
    ------
    ConfigError, StateError
        A line cannot be read, lacks an entry, or has an entry of the wrong type.
    """
    if not path.exists():
        return []
    trials = []
    for number, line in enumerate(read_text(path, "ledger").splitlines(), 1):
        who = f"ledger: {path}: line {number}"
        trial = from_json(line, who)
        if not isinstance(trial, dict):
            raise StateError(f"{who}: expected a trial, got {type(trial).__name__}")
        done = {**_DONE, headline_in(trial).name: float}
        kinds = _TRIAL | (done if trial.get("status") == "finished" else {})
        kinds = kinds | {name: kind for name, kind in _LATER.items() if name in trial}
        check_state(who, {name: trial[name] for name in kinds.keys() & trial.keys()}, kinds)
        trials.append(trial)
    return trials


def trials_page(trials: Sequence[Trial]) -> str:
    """Return the section of the page of experiments that lists every trial, in Markdown."""
    found = (headline_in(trial) for trial in trials if trial["status"] == "finished")
    scores = {score.name: score for score in found} or {"accuracy": HEADLINES["accuracy"]}
    what = " or ".join(map(str, scores.values()))
    lines = [
        "## Trials",
        "",
        f"Every trial of `tinygrad-lab tune`, including rejected ones, with its {what} on the validation images. No",
        "trial used the test images. If a seed was repeated, the last trial counts.",
        "",
        f"| recipe | settings | seeds | validation {what} | revision |",
        "|---|---|---|---|---|",
    ]
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        key = json.dumps([trial["recipe"], trial["settings"], trial["revision"], trial.get("digest")])
        groups.setdefault(key, []).append(trial)
    for every in groups.values():
        group = list({trial["seed"]: trial for trial in every}.values())
        seeds = f"{len(group)}" + f"; {len(every) - len(group)} repeated" * (len(every) > len(group))
        done = [trial for trial in group if trial["status"] == "finished"]
        score = headline_in(done[0] if done else {})
        told = score.spread(spread([trial[score.name] for trial in done])) if done else "-"
        told += "".join(f"; seed {t['seed']} {t['status'].partition(':')[0]}" for t in group if t not in done)
        settings = ", ".join(f"`{setting}`" for setting in group[0]["settings"])
        lines.append(f"| `{group[0]['recipe']}` | {settings} | {seeds} | {told} | {group[0]['revision']} |")
    return "\n".join(lines) + "\n"
