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
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.folder import digest, same_run
from tinygrad_lab.train.ledger import LEDGER, Trial, append, read_ledger
from tinygrad_lab.train.metrics import HEADLINES, Score, headline_in
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.provenance import machine, revision
from tinygrad_lab.train.recipe import Recipe, setting_text
from tinygrad_lab.train.run import run_recipe
from tinygrad_lab.train.statistics import Verdict, verdict

_SINGLE = {"training", "training.seed", "training.test", "data"}  # settings with one value in a tuning
_SINGLE |= {f"data.{key}" for key in ("name", "classes", "validation", "seed")}


def candidates(settings: Sequence[str]) -> list[list[str]]:
    """Return every combination of settings with several values, each as `Recipe.override` takes it.

    Raises
    ------
    ConfigError
        A setting is not ``table.key=VALUE,VALUE,...``, with values in TOML's notation. Or it has several values, but
        trials could not be compared then: it is the seed, or selects the images that trials are ranked on.

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
        if len(values) > 1 and (path := path.strip()) in _SINGLE:
            raise ConfigError(
                f"--set {path}: expected one value, got {len(values)}; trials are ranked on the same images, and "
                "--seeds gives the number of seeds"
            )
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

    The test split is not opened. All combinations are checked before the first trial. A trial is not run again if the
    ledger holds a finished one with the same settings, data folder, device and revision of the code.

    Parameters
    ----------
    recipe : Recipe
        The recipe that the settings change. It needs ``data.validation``.
    settings : sequence of str
        See `candidates`.
    reporter : Reporter
        Shows the progress of each trial.
    seeds : int
        The number of seeds for each combination, from ``training.seed`` on.
    folder : path
        The folder of the ledger and of the run folders.
    root : str, optional
        The data folder.
    device : str
        Where to train.

    Raises
    ------
    ConfigError
        A setting is wrong, there are no validation images, or the folder cannot be written into.
    """
    ledger = folder / LEDGER
    trials, todo = planned(recipe, settings, seeds=seeds, ledger=ledger, root=root, device=device)
    for seeded, trial in todo:
        try:
            attempt(seeded, trial, reporter, folder, root=root, device=device)
        finally:
            record(ledger, trial)
    return trials


def planned(
    recipe: Recipe, settings: Sequence[str], *, seeds: int, ledger: Path, root: str | None, device: str
) -> tuple[list[Trial], list[tuple[Recipe, Trial]]]:
    """Return all trials, and those that the ledger does not hold as finished with their recipes; check all of them.

    Raises
    ------
    ConfigError
        A setting is wrong, or there are no validation images.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds: expected at least 1, got {seeds}")
    trials, todo = list[Trial](), list[tuple[Recipe, Trial]]()
    known = [trial for trial in read_ledger(ledger) if trial["status"] == "finished"]
    for choice in candidates(settings):
        chosen = recipe.override([*choice, 'training.test="never"'])
        first = chosen["training"].get("seed", 0)
        shown = [setting for setting in choice if not setting.startswith("training.seed=")]
        for seed in range(first, first + seeds):
            seeded = chosen.override([f"training.seed={seed}"])
            trial = _begun(seeded, shown, seed, root=root, device=device)
            same = next((one for one in reversed(known) if same_run(one, trial)), None)
            trials.append(same or trial)
            todo += [(seeded, trial)] if same is None else []
    for chosen in {trial["digest"]: chosen for chosen, trial in todo}.values():
        build_trainer(chosen, root=root, device=device)  # so that no combination is refused after hours of others
    return trials, todo


def _begun(recipe: Recipe, settings: list[str], seed: int, *, root: str | None, device: str) -> Trial:
    sets = "".join(f" --set {shlex.quote(setting)}" for setting in settings)
    places = f" --data {shlex.quote(str(root))}" * (root is not None) + f" --device {device}" * (device != "cpu")
    command = f"tinygrad-lab tune {shlex.quote(recipe.argument)}{sets} --set training.seed={seed} --seeds 1{places}"
    return {
        "recipe": recipe.name,
        "settings": settings,
        "seed": seed,
        "machine": machine(device),
        "revision": revision(),
        "digest": digest(recipe, root=root, device=device),
        "command": command,
    }


def attempt(recipe: Recipe, trial: Trial, reporter: Reporter, runs: Path, *, root: str | None, device: str) -> None:
    """Run one trial, and note its status and scores, however it ends."""
    trial["status"] = "failed"
    try:
        result = run_recipe(recipe, reporter, runs=runs, root=root, device=device)
        trial["status"] = "diverged: validation loss not finite"
        if math.isfinite(result["validation"]["loss"]):
            trial |= {**result["validation"], "epochs": result["epochs"], "seconds": result["seconds"]}
            trial["status"] = "finished"
    except NonFiniteError as error:
        trial["status"] = f"diverged: {str(error).partition(';')[0]}"
    except KeyboardInterrupt:
        trial["status"] = "stopped"
        raise


def record(ledger: Path, trial: Trial) -> None:
    """Add the line of a trial to a ledger.

    Raises
    ------
    ConfigError
        The ledger cannot be written.
    """
    with writing(ConfigError, f"tune: expected to write into the ledger {ledger}"):
        ledger.parent.mkdir(parents=True, exist_ok=True)
        append(ledger, [trial])


def ranking(trials: Sequence[Trial]) -> list[tuple[list[str], dict[int, float]]]:
    """Return the combinations whose trials are all finished, best mean first, each with its headline scores by seed."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(json.dumps(trial["settings"]), []).append(trial)
    whole = [group for group in groups.values() if all(trial["status"] == "finished" for trial in group)]
    score = score_of(trials)
    found = [(group[0]["settings"], {trial["seed"]: trial[score.name] for trial in group}) for group in whole]
    return sorted(found, key=lambda one: score.rank(sum(one[1].values()) / len(one[1])))


def score_of(trials: Sequence[Trial]) -> Score:
    """Return the headline score of the trials of one recipe."""
    return headline_in(next((trial for trial in trials if trial["status"] == "finished"), {}))


def lead(
    ranked: Sequence[tuple[list[str], dict[int, float]]], images: int, score: Score = HEADLINES["accuracy"]
) -> Verdict | None:
    """Return the verdict on the best combination and the second; None if there is no second."""
    return verdict(ranked[0][1], ranked[1][1], images=images, score=score) if len(ranked) > 1 else None
