"""Tuning of a recipe: settings tried on validation images alone, with a ledger of every trial."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from tinygrad_lab.errors import ConfigError, NonFiniteError
from tinygrad_lab.files.parsing import value_of
from tinygrad_lab.files.writing import writing
from tinygrad_lab.train.ledger import LEDGER, Trial, append, read_ledger
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.provenance import describe, revision
from tinygrad_lab.train.recipe import Recipe, setting_text
from tinygrad_lab.train.run import run_recipe
from tinygrad_lab.train.statistics import Verdict, verdict


def candidates(settings: Sequence[str]) -> list[list[str]]:
    """Return every combination of settings with several values, each as `Recipe.override` takes it.

    Raises
    ------
    ConfigError
        A setting is not ``table.key=VALUE,VALUE,...``, with values in TOML's notation.

    Examples
    --------
    >>> candidates(["optimizer.lr=0.01,0.03", "model.dropout=0.1"])
    [['optimizer.lr=0.01', 'model.dropout=0.1'], ['optimizer.lr=0.03', 'model.dropout=0.1']]
    """
    choices = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        values = value_of(f"[{text}]", "--set") if equals else None
        if not isinstance(values, list) or not values:
            raise ConfigError(f"--set: expected table.key=VALUE,VALUE, such as optimizer.lr=0.01,0.03, got {setting!r}")
        choices.append([f"{path.strip()}={setting_text(value)}" for value in values])
    return [list(one) for one in itertools.product(*choices)]


def tune(
    recipe: Recipe,
    settings: Sequence[str],
    reporter: Reporter,
    *,
    seeds: int = 2,
    folder: Path = Path("tuning"),
    root: str | None = None,
    device: str = "cpu",
) -> list[Trial]:
    """Run every combination of settings with every seed, and return the trials in that order.

    The test split is not opened. A trial that the ledger holds already, finished by this revision of the code, is not
    run again.

    Parameters
    ----------
    recipe : Recipe
        What the settings change. It needs ``data.validation``.
    settings : sequence of str
        See `candidates`.
    reporter : Reporter
        Shows the progress of each trial.
    seeds : int
        The number of seeds for each combination, from the recipe's own on.
    folder : path
        Where the ledger and the run folders are.
    root : str, optional
        The data folder.
    device : str
        Where to train.

    Raises
    ------
    ConfigError
        A setting is wrong, there are no validation images, or the folder cannot be written into.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1, got {seeds}")
    first, ledger, trials = recipe["training"].get("seed", 0), folder / LEDGER, []
    finished = (trial for trial in read_ledger(ledger) if trial["status"] == "finished")
    known = {_key(trial): trial for trial in finished if not trial["revision"].endswith("+")}  # +: edited since then
    for choice in candidates(settings):
        for seed in range(first, first + seeds):
            trial = _begun(recipe.name, choice, seed)
            if (same := known.get(_key(trial))) is None:
                chosen = recipe.override([*choice, f"training.seed={seed}", 'training.test="never"'])
                same = _try(chosen, trial, reporter, ledger, root=root, device=device)
            trials.append(same)
    return trials


def _begun(recipe: str, settings: list[str], seed: int) -> Trial:
    sets = "".join(f" --set {shlex.quote(setting)}" for setting in settings)
    command = f"tinygrad-lab tune {recipe}{sets} --set training.seed={seed} --seeds 1"
    machine, at = describe(), revision()
    return {
        "recipe": recipe,
        "settings": settings,
        "seed": seed,
        "machine": machine,
        "revision": at,
        "command": command,
    }


def _key(trial: Trial) -> str:
    return json.dumps([trial[name] for name in ("recipe", "settings", "seed", "revision")])


def _try(recipe: Recipe, trial: Trial, reporter: Reporter, ledger: Path, *, root: str | None, device: str) -> Trial:
    """Run one trial and write its line, however it ends."""
    status = "stopped"
    try:
        result = run_recipe(recipe, reporter, runs=ledger.parent, root=root, device=device)
        status = "diverged: validation loss not finite"
        if math.isfinite(result["validation"]["loss"]):
            trial |= {**result["validation"], "epochs": result["epochs"], "seconds": result["seconds"]}
            status = "finished"
    except NonFiniteError as error:
        status = f"diverged: {str(error).partition(';')[0]}"
    finally:
        trial["status"] = status
        with writing(ConfigError, f"tune: expected to write into the ledger {ledger}"):
            ledger.parent.mkdir(parents=True, exist_ok=True)
            append(ledger, [trial])
    return trial


def ranking(trials: Sequence[Trial]) -> list[tuple[list[str], dict[int, float]]]:
    """Return the combinations whose trials are all finished, best mean first, each with its accuracies by seed."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(json.dumps(trial["settings"]), []).append(trial)
    whole = [group for group in groups.values() if all(trial["status"] == "finished" for trial in group)]
    found = [(g[0]["settings"], {t["seed"]: t["accuracy"] for t in g}) for g in whole]
    return sorted(found, key=lambda one: -sum(one[1].values()) / len(one[1]))


def lead(ranked: Sequence[tuple[list[str], dict[int, float]]], images: int) -> Verdict | None:
    """Return the verdict on the best combination and the second; None if there is no second."""
    return verdict(ranked[0][1], ranked[1][1], images=images) if len(ranked) > 1 else None
