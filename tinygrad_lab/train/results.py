"""Results of many runs: the scores of each experiment over its seeds, stored as JSON, and the page that shows them.

An experiment is a recipe or a variant. Its runs are the folders whose ``recipe.json`` has the same settings except for
the seed. Runs of the same name with other settings form another experiment.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_lab.arguments import check_state
from tinygrad_lab.data import find_source
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.files.parsing import from_json, read_text
from tinygrad_lab.files.writing import write_atomically, writing
from tinygrad_lab.train.evaluation import FIGURES, spread
from tinygrad_lab.train.folder import digest, same_run
from tinygrad_lab.train.ledger import LEDGER, Trial, append, read_ledger, trials_page
from tinygrad_lab.train.metrics import HEADLINES, Score, headline_in
from tinygrad_lab.train.provenance import revision
from tinygrad_lab.train.recipe import (
    NO_SETTINGS,
    TEST,
    Recipe,
    check_name,
    find_recipe,
    recipe_names,
    setting_text,
    split_name,
)
from tinygrad_lab.train.statistics import LEVEL, Verdict, verdict

Result = dict[str, Any]
_SHOWN: Mapping[str, Any] = {  # required entries of an experiment's result
    "recipe": str,
    "seeds": list,
    "epochs": int,
    "images_per_second": float,
    "last": dict,
}
_EXPERIMENT: Mapping[str, Any] = {  # optional entries of an experiment's results
    "epochs_by_seed": list[int],
    "training_curves": list[list[float]],
    "validation_curves": list[list[float]],
    "test_curves": list[list[float]],
    "settings": dict,
    "published": str,
    "test_images": int,
    "test_looks": list[int],
    "evaluated_on": str,
    "validation_images": int,
    "stopping": list,
    "file": str,
    "command": str,
    "machines": list[dict[str, Any]],
    "revisions": list[str],
}
_SPREAD: Mapping[str, Any] = {"mean": float, "std": float, "values": list[float]}
_RECIPE: Mapping[str, Any] = {"name": object, "training": dict}
_RESULT: Mapping[str, Any] = {
    "seed": int,
    "epochs": int,
    "figures": dict,
    "images_per_second": float,
}
_PROVENANCE: Mapping[str, Any] = {"machine": dict, "revision": str}  # entries of runs that record it
_LATER: Mapping[str, Any] = {**_PROVENANCE, "test_looks": int, "validation": dict}  # missing in older runs
_EVALUATED = ("validation", "test")

STOPPING = "stopping.json"  # in the folder of a run: the rule by which seeds were added to its experiment
_RULE: Mapping[str, Any] = {"compared_with": str, "at_most": int, "level": float}

_SAME_TRAINING = ("seed", "test", "metrics")  # settings of `training` in which runs of one experiment may differ

HEAD = """# Experiments

The tables give the accuracy on the test images in percent, as mean and standard deviation over the seeds. Accuracy
moves from epoch to epoch, so there are three figures:

- **best** is the best epoch on the test set, for runs that evaluate it after every epoch. Many publications quote this
  figure, which is optimistically biased.
- **last** is the last epoch.
- **chosen** is the epoch chosen on validation images. The choice does not use the test images.

**training** is the mean accuracy on the batches of the last epoch, measured with dropout and augmentation, so it may be
below the test accuracy. **looks** is how often each run evaluated the test images: by default once or twice, after the
last epoch. **images/s** is the speed of the fastest run; the machine did other work at the same time. A row
marked *validation* gives accuracies on validation images, of runs that did not use the test images. Accuracies measured
on different images are not compared.

[`verdict`](../../explanation/when-a-difference-counts.md) compares a variant with its recipe. It gives the mean
difference over the seeds that both ran, with its 95 % confidence interval; where seeds were added until a verdict
decided, the confidence level is higher. If the interval contains 0, the verdict is *undecided*, and the page
estimates how many more seeds would decide. Trying several settings and keeping the best on the test images also biases
a figure; a remark marks such recipes. `tinygrad-lab results` makes this page from the files in this folder.
"""


def read_runs(*roots: Path) -> list[tuple[dict[str, Any], Result]]:
    """Return (recipe as it was run, result) of every finished run below folders, in the order of the runs' names.

    A folder is named after the recipe and the time, so the runs of a recipe are in order of time.

    Raises
    ------
    ConfigError
        There is no finished run, or a file cannot be read.
    StateError
        A file lacks an entry of a run, or has one of another type.
    """
    if missing := [root for root in roots if not root.exists()]:
        raise ConfigError(f"results: expected a folder with runs, got {missing[0]}, which does not exist")
    found = []
    for path in sorted({path for root in roots for path in root.glob("**/result.json")}, key=_in_order):
        made_by = path.with_name("recipe.json")
        tables = _read(made_by, _RECIPE)
        check_name(tables["name"], f"results: {made_by}")
        _checked(made_by, {"recipe": {}, **tables}, {"recipe": dict})
        result = _read(path, _RESULT)
        _checked(path, result, {name: kind for name, kind in _LATER.items() if name in result})
        if "last" not in result["figures"]:
            raise ConfigError(f"results: {path}: expected figures of the last epoch, got {sorted(result['figures'])}")
        last = result["figures"]["last"]
        score = headline_in(last if isinstance(last, dict) else {})
        judged = {score.name: float}
        for name, figure in result["figures"].items():
            _checked(path, figure, {"epoch": int, **judged}, name)
        _checked(path, result, {f"training_{score.name}": float})
        if (rule := path.with_name(STOPPING)).exists():
            result["stopping"] = _read(rule, _RULE)
        result["run"] = str(path.parent)
        if (metrics := path.with_name("metrics.jsonl")).exists():
            lines = read_text(metrics, "results").splitlines()
            epochs = [_checked(metrics, from_json(line, f"results: {metrics}"), judged) for line in lines]
            result["training_curve"] = [epoch[score.name] for epoch in epochs]
            for split in _EVALUATED:
                if all(split in epoch for epoch in epochs):
                    measured = [_checked(metrics, epoch[split], judged, split) for epoch in epochs]
                    result[f"{split}_curve"] = [one[score.name] for one in measured]
            noted = [epoch["gradient_norms"] for epoch in epochs if "gradient_norms" in epoch]
            result["gradient_norms"] = noted[:1] + noted[-1:]
        found.append((tables, result))
    if not found:
        where = ", ".join(map(str, roots))
        raise ConfigError(f"results: expected folders of finished runs in {where}, got none; run tinygrad-lab train")
    return found


def finished_run(runs: Path, recipe: Recipe, *, root: str | None, device: str) -> Result | None:
    """Return the newest result below a folder of a run that would be the same now, or None.

    Its recipe, seed, settings, data folders, device and revision of the code equal the given or present ones.
    """
    if not any(runs.glob("**/result.json")):
        return None
    wanted = {
        "recipe": recipe.name,
        "seed": recipe["training"].get("seed", 0),
        "digest": digest(recipe, root=root, device=device),
        "revision": revision(),
    }
    return next((result for _, result in reversed(read_runs(runs)) if same_run(result, wanted)), None)


def _read(path: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table in a file after a check of the entries that are needed, and their types."""
    return _checked(path, from_json(read_text(path, "results"), f"results: {path}"), kinds)


def _checked(path: Path, table: Any, kinds: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Return a table after a check of the entries that are needed; other entries are not checked."""
    who = f"results: {path}" + (f": {within}" if within else "")
    if not isinstance(table, dict):
        raise ConfigError(f"{who}: expected a table with {sorted(kinds)}, got {type(table).__name__}")
    check_state(who, {name: table[name] for name in kinds.keys() & table.keys()}, kinds)
    for name, score in HEADLINES.items():
        if name in table and not score.is_possible(table[name]):
            an = "an accuracy" if name == "accuracy" else f"a value of {score}"
            raise ConfigError(f"{who}: expected {an} {_between(score)}, got {table[name]:.4g}")
    return table


def _between(score: Score) -> str:
    return f"from {score.low:g} to {score.high:g}" if math.isfinite(score.low) else f"of at most {score.high:g}"


def headline_of(experiment: Mapping[str, Any]) -> Score:
    """Return the headline score of an experiment's result."""
    return HEADLINES[experiment.get("headline", "accuracy")]


def _in_order(path: Path) -> tuple[list[str | int], Path]:
    """Return the sort key of a run: its folder's name, with the numbers in it as numbers."""
    parts = re.split(r"(\d+)", path.parent.name)  # text and numbers in turn
    return [int(part) if part.isdecimal() else part for part in parts], path


def gather(runs: Iterable[tuple[dict[str, Any], Result]]) -> list[Result]:
    """Return one summary per experiment, sorted by name. If a seed has two runs, the later one counts."""
    groups: dict[str, dict[int, tuple[dict[str, Any], Result]]] = {}
    for tables, result in runs:
        settings = {table: tables[table] for table in tables if table not in ("file", *NO_SETTINGS)}
        settings["training"] = {k: v for k, v in tables["training"].items() if k not in _SAME_TRAINING}
        settings["evaluated on"] = [_split(result), result.get("machine", {}).get("device", "cpu")]
        groups.setdefault(json.dumps(settings, sort_keys=True), {})[result["seed"]] = (tables, result)
    return sorted((_summary(list(group.values())) for group in groups.values()), key=lambda one: str(one["recipe"]))


def _summary(runs: Sequence[tuple[dict[str, Any], Result]]) -> Result:
    tables, results = runs[-1][0], [result for _, result in runs]  # as in the newest run
    about = tables.get("recipe", {})
    score = headline_in(results[-1]["figures"]["last"])
    figures = {
        name: spread([result["figures"][name][score.name] for result in results])
        for name in FIGURES
        if all(name in result["figures"] for result in results)
    }
    summary: Result = {
        "recipe": tables["name"],
        "title": about.get("title", tables["name"]),
        "source": about.get("source", ""),
        "published": about.get("published", ""),
        "seeds": [result["seed"] for result in results],
        "runs": [result["run"] for result in results],
        "epochs": max(result["epochs"] for result in results),
        "epochs_by_seed": [result["epochs"] for result in results],  # fewer where early stopping ended a run
        **figures,
        "chosen_epochs": [r["figures"].get("chosen_on_validation", r["figures"]["last"])["epoch"] for r in results],
        f"training_{score.name}": spread([result[f"training_{score.name}"] for result in results]),
        "training_curves": [result.get("training_curve", []) for result in results],
        **_curves(results),
        "gradient_norms": results[-1].get("gradient_norms", []),  # in the first epoch and the last
        "images_per_second": max(result["images_per_second"] for result in results),
        "settings": {table: tables[table] for table in tables if table not in ("name", "file", *NO_SETTINGS)},
    }
    split = summary["evaluated_on"] = _split(results[-1])
    if images := results[-1].get(split, {}).get("images"):
        summary[f"{split}_images"] = images
    rules = [result["stopping"] for result in results if "stopping" in result]
    summary |= {"stopping": rules[-1:]} if rules else {}
    summary |= {"file": tables["file"]} if "file" in tables else {}
    summary |= {"headline": score.name} if score.name != "accuracy" else {}
    if all("test_looks" in result for result in results):
        summary["test_looks"] = [result["test_looks"] for result in results]
    summary |= _provenance(results)
    return {**summary, "command": command(summary)}


def _curves(results: Sequence[Result]) -> Result:
    """Return each run's headline scores by epoch, for each split that every run evaluated after every epoch."""
    curves = {f"{split}_curves": [result.get(f"{split}_curve", []) for result in results] for split in _EVALUATED}
    return {name: of_runs for name, of_runs in curves.items() if all(of_runs)}


def _split(result: Result) -> str:
    """Return the split that a run's scores were measured on."""
    return "test" if "test" in result else "validation"


def _provenance(results: Sequence[Result]) -> Result:
    """Return the distinct machines (with package versions) and the distinct revisions of the code of the runs."""
    noted: Result = {}
    for name in _PROVENANCE:
        values = [result[name] for result in results if name in result]
        if values:
            noted[f"{name}s"] = [value for i, value in enumerate(values) if value not in values[:i]]
    return noted


def command(result: Result) -> str:
    """Return the command that runs an experiment's seeds again.

    One command runs consecutive seeds. If there are gaps between the seeds, several commands are joined by "; ".
    """
    recipe = recipe_of(result)
    replaced, gone = ([], []) if recipe is None else _replacing(recipe, result.get("settings", recipe.tables))
    settings = "".join(f" --set {shlex.quote(change)}" for change in replaced)
    devices = {machine.get("device", "cpu") for machine in result.get("machines", [])} - {"cpu"}
    settings += "".join(f" --device {device}" for device in sorted(devices))
    usual = 0 if recipe is None else recipe["training"].get("seed", 0)
    lines, seeds = [], sorted(result["seeds"])
    while seeds:
        count = next((n for n in range(1, len(seeds)) if seeds[n] != seeds[0] + n), len(seeds))
        first, several = f" --set training.seed={seeds[0]}" * (seeds[0] != usual), f" --seeds {count}" * (count > 1)
        name = shlex.quote(_argument(result))
        lines.append(f"tinygrad-lab train {name}{several}{settings}{first}")
        seeds = seeds[count:]
    return "; ".join(lines) + f"  # without {', '.join(gone)}, which the recipe has today" * bool(gone)


def _replacing(recipe: Recipe, tables: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the settings for `Recipe.override` that change a recipe's tables to `tables`.

    The second result names the recipe's tables that are not in `tables`, which no setting can remove. A key that is
    not in `tables` is removed by replacing its whole table.
    """
    found, now = [], {table: dict(recipe[table]) for table in recipe.tables if table != "augment"}
    now["training"].pop("seed", None)
    for table, content in tables.items():
        if not isinstance(content, dict) or table in NO_SETTINGS:
            if table not in NO_SETTINGS and content != recipe.tables.get(table, []):
                found.append(f"{table}={setting_text(content)}")
            continue
        wanted = {key: value for key, value in content.items() if (table, key) != ("training", "seed")}
        gone = now.get(table, {}).keys() - wanted.keys()
        if table == "training" and gone == {"test"}:
            wanted["test"], gone = TEST[0], set()
        if gone or table not in now:
            found.append(f"{table}={setting_text(wanted)}")
        else:
            found += [f"{table}.{k}={setting_text(v)}" for k, v in wanted.items() if now[table].get(k) != v]
    return found, [table for table in now if table not in (*tables, *NO_SETTINGS)]


def _argument(result: Result) -> str:
    return str(result.get("file", result["recipe"]))


def recipe_of(result: Result) -> Recipe | None:
    """Return the recipe of an experiment as it is today, from the package or its file; None if it is not there."""
    try:
        return find_recipe(_argument(result))
    except ConfigError:
        return None


def changes(result: Result) -> list[str]:
    """Return the settings in which an experiment differs from its recipe, as ``--set`` takes them.

    There are none if the recipe cannot be found or the result holds no settings.
    """
    recipe = recipe_of(result)
    if recipe is None or "settings" not in result:
        return []
    return _differences(result["settings"], recipe.tables)


def distinctions(results: Sequence[Result]) -> list[list[str]]:
    """Return for each experiment the settings that differ from its recipe, or from other experiments of its name."""
    found = []
    for result in results:
        others = [_flat(r.get("settings", {})) for r in results if r["recipe"] == result["recipe"]]
        own = _flat(result.get("settings", {}))
        unlike = {path: value for path, value in own.items() if any(o.get(path) != value for o in others)}
        among = [f"{path}={setting_text(value)}" for path, value in unlike.items()]
        found.append([*among, *(change for change in changes(result) if change not in among)])
    return found


def _differences(tables: dict[str, Any], others: dict[str, Any]) -> list[str]:
    then, now = _flat(tables), _flat(others)
    new = [f"{path}={setting_text(value)}" for path, value in then.items() if now.get(path) != value]
    return [*new, *(f"no {path}" for path in now if path not in then)]


def _flat(tables: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that define an experiment, by path; a list is one setting."""
    flat: dict[str, Any] = {}
    for table, content in tables.items():
        if table not in NO_SETTINGS:
            flat |= {f"{table}.{k}": v for k, v in content.items()} if isinstance(content, dict) else {table: content}
    return {path: value for path, value in flat.items() if path.removeprefix("training.") not in _SAME_TRAINING}


def write_results(results: Sequence[Result], folder: Path, trials: Sequence[Trial] = ()) -> None:
    """Write a JSON file for each experiment, the trials into the ledger, and the page of the folder.

    Raises
    ------
    ConfigError
        Two experiments have one name, or the folder cannot be written into.
    """
    names = [str(result["recipe"]) for result in results]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        one, other, *_ = [r for r in results if r["recipe"] == twice[0]]
        measured = [f"{r['evaluated_on']} images, {_devices(r)}" for r in (one, other)]
        differences = "; ".join(_differences(one["settings"], other["settings"]) or measured)
        raise ConfigError(
            f"results: expected the same settings in all runs of one name, got different ones for {twice} "
            f"({differences}); keep the runs with one of these settings here, and move the others to another folder"
        )
    with writing(ConfigError, f"results: expected a folder to write into, {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for result in results:
            text = json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=2) + "\n"
            write_atomically(folder / f"{result['recipe'].replace(':', '-')}.json", text.encode())
        known = read_ledger(folder / LEDGER)
        if new := [trial for trial in trials if trial not in known]:
            append(folder / LEDGER, new)
        write_atomically(folder / "index.md", page(read_results(folder), read_ledger(folder / LEDGER)).encode())


def read_results(folder: Path) -> list[Result]:
    """Return the experiments in the JSON files of a folder and its subfolders, sorted by name."""
    found = {path: from_json(read_text(path, "results"), f"results: {path}") for path in sorted(folder.rglob("*.json"))}
    results = [_experiment(path, one) for path, one in found.items() if _is_experiment(one)]
    return sorted(results, key=lambda one: str(one["recipe"]))


def _is_experiment(found: Any) -> bool:
    whole = isinstance(found, dict) and found.keys() >= _SHOWN.keys()
    return whole and any(f"training_{name}" in found for name in HEADLINES)


def _experiment(path: Path, result: Result) -> Result:
    """Return an experiment's result after a check that the page can show it."""
    given = {name: kind for name, kind in _EXPERIMENT.items() if name in result}
    if result.get("headline", "accuracy") not in tuple(HEADLINES):
        raise ConfigError(f"results: {path}: expected headline in {list(HEADLINES)}, got {result['headline']!r:.60}")
    score = headline_of(result)
    _checked(path, result, {**_SHOWN, f"training_{score.name}": dict, **given})
    several: dict[str, Any] = {name: result[name] for name in ("seeds", "epochs_by_seed") if name in result}
    for name in (f"training_{score.name}", *(name for name in FIGURES if name in result)):
        several[name] = _checked(path, result[name], _SPREAD, name)["values"]
        if not all(map(score.is_possible, several[name])):
            what = "accuracies" if score.name == "accuracy" else f"values of {score}"
            raise ConfigError(f"results: {path}: {name}: expected {what} {_between(score)}, got others")
    if empty := [name for name, values in several.items() if not values]:
        raise ConfigError(f"results: {path}: {empty[0]}: expected a value for each seed, got none")
    if short := [name for name, values in several.items() if len(values) != len(several["seeds"])]:
        count, wanted = len(several[short[0]]), len(several["seeds"])
        raise ConfigError(f"results: {path}: {short[0]}: expected one value for each of {wanted} seeds, got {count}")
    return result


def page(results: Sequence[Result], trials: Sequence[Trial] = ()) -> str:
    """Return the page of experiments, in Markdown: results of recipes, comparisons of variants, recipes not yet run."""
    done = {result["recipe"]: result for result in results}
    parts, missing = [HEAD], []
    for name in recipe_names():
        recipe = find_recipe(name)
        names = [name, *(f"{name}:{v}" for v in recipe.variants if v not in recipe["recipe"].get("diverging", []))]
        first = "  # needs weights from another run, which the recipe names" * bool(recipe["transfer"])
        missing += [n + first for n in names if n not in done]
        if ran := [done[n] for n in names if n in done]:
            parts.append(_section(name, ran))
    if trials:
        parts.append(trials_page(trials))
    if missing:
        lines = "\n".join(f"tinygrad-lab train {name}" for name in missing)
        parts.append(f"## Not yet run in full\n\nThese recipes have no results yet:\n\n```sh\n{lines}\n```\n")
    return "\n".join(parts)


def _section(name: str, ran: Sequence[Result]) -> str:
    about, score = find_recipe(name)["recipe"], headline_of(ran[0])
    source = f"[Source](../../reference/sources.md): {about.get('source', 'not stated')}."
    lines = [f"## {about.get('title', name)}", "", source]
    if about.get("published"):
        lines.append(f"Published: {about['published']}.")
    if about.get("remark"):
        lines += ["", f"{about['remark']}."]
    lines += [
        *(["", f"The figures are values of {score}, not accuracies."] if score.name != "accuracy" else []),
        "",
        "| recipe | best | last | chosen | training | epochs | seeds | looks | images/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(result) for result in ran]
    lines += ["", *_ran_on(ran)]
    for one in ran:
        if what := changes(one):
            lines += ["", f"`{one['recipe']}` ran with settings other than the recipe's today: `{'; '.join(what)}`."]
    done = {one["recipe"]: one for one in ran}
    pairs = [(one["recipe"], ran[0]["recipe"]) for one in ran[1:]]
    pairs += [(f"{name}:{one}", f"{name}:{other}") for one, other in about.get("comparisons", [])]
    for one, other in ((done[a], done[b]) for a, b in pairs if a in done and b in done):
        if judged(one, other):
            lines += ["", compared(one, other)]
    if diverging := [f"`{name}:{variant}`" for variant in about.get("diverging", [])]:
        lines += [
            "",
            f"With {' and '.join(diverging)} the loss becomes infinite or NaN; training stops and names the layer.",
        ]
    if level := about.get("milestone"):
        reached = "; ".join(f"`{one['recipe']}` {_first_epochs(one, level)}" for one in ran)
        least = f"{100 * level:g} % training accuracy" if score.percent else f"a training {score} of {level:g}"
        lines += ["", f"First epoch of at least {least}, for each seed: {reached}."]
    return "\n".join(lines) + "\n"


def judged(result: Mapping[str, Any], other: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict on two experiments, by the seeds that both ran; None if they cannot be compared.

    They are compared at the epochs chosen on validation, or at the last ones if one of them has no validation images.
    """
    figure = compared_at(result, other)
    one, two = (dict(zip(r["seeds"], r[figure]["values"], strict=True)) for r in (result, other))
    splits = [r.get("evaluated_on", "test") for r in (result, other)]
    settings = [r.get("settings", {}) for r in (result, other)]
    scores = [headline_of(r) for r in (result, other)]
    differ = scores[0] != scores[1] or (all(settings) and other_images(settings, splits))
    if not one.keys() & two.keys() or differ:
        return None
    name = f"{splits[0]}_images"
    level = max([LEVEL, *(rule["level"] for r in (result, other) for rule in r.get("stopping", []))])
    return verdict(one, two, images=result.get(name, other.get(name)), level=level, score=scores[0])


def other_images(settings: Sequence[Mapping[str, Any]], splits: Sequence[str]) -> list[str]:
    """Return the differences between the evaluation images of two experiments, which make accuracies incomparable."""
    keys: tuple[str, ...] = ("name", "classes")
    if "validation" in splits:
        keys = (*keys, "validation", "seed")
    usual = {"seed": 0, "validation": 0.0}
    values = {f"data.{key}": [one.get("data", {}).get(key, usual.get(key)) for one in settings] for key in keys}
    values["split"] = list(splits)
    return [f"{name}: {one} and {other}" for name, (one, other) in values.items() if one != other]


def evaluated_on(recipe: Recipe, root: str | None) -> str:
    """Return the split that the runs of a recipe are evaluated on."""
    never = recipe["training"].get("test", TEST[0]) == "never"
    return "validation" if never or "test" not in find_source(recipe["data"]["name"]).splits(root) else "test"


def _devices(result: Result) -> str:
    return ", ".join(dict.fromkeys(machine.get("device", "cpu") for machine in result.get("machines", [{}])))


def compared(result: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return `judged` as a sentence of a page, for two experiments that can be compared."""
    found = judged(result, other)
    what = "" if found is None else found.text(headline_of(result))
    epochs = "epochs chosen on validation" if compared_at(result, other) == "chosen_on_validation" else "last epochs"
    revisions = {tuple(one.get("revisions", [])) for one in (result, other)}
    code = " The revisions of the code differ." if len(revisions) > 1 and all(revisions) else ""
    return f"`{result['recipe']}` compared with `{other['recipe']}` at the {epochs}: {what}.{code}"


def comparisons(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each variant, compared with the first experiment of its recipe."""
    first: dict[str, Mapping[str, Any]] = {}
    pairs = [(result, first.setdefault(split_name(result["recipe"])[0], result)) for result in results]
    return [compared(one, other) for one, other in pairs if one["recipe"] != other["recipe"] and judged(one, other)]


def compared_at(*results: Mapping[str, Any]) -> str:
    """Return the figure that experiments are compared by: at the epoch chosen on validation, or else the last."""
    return next(name for name in ("chosen_on_validation", "last") if all(name in result for result in results))


def _ran_on(ran: Sequence[Result]) -> list[str]:
    """Return the machines and the revisions of the code that ran the experiments of a section, if they are recorded."""
    groups: dict[str, list[str]] = {}
    for result in ran:
        groups.setdefault(_provenance_text(result), []).append(f"`{result['recipe']}`")
    return [f"{', '.join(names)}: {text}." for text, names in groups.items()]


def _provenance_text(result: Result) -> str:
    if not result.get("machines"):
        return "machine and revision not recorded"
    machines = (
        f"{m.get('processor', 'unknown')} with {m.get('cores', '?')} cores, "
        + ", ".join(f"{name} {m[name]}" for name in ("python", "numpy", "numba") if name in m)
        for m in result["machines"]
    )
    return f"{'; '.join(machines)}; revision {', '.join(result.get('revisions', []))}"


def _first_epochs(result: Result, level: float) -> str:
    """Return the first epoch of each seed in which the training accuracy is high enough."""
    first = [
        next((n for n, a in enumerate(curve, 1) if a >= level), None) for curve in result.get("training_curves", [])
    ]
    return ", ".join(f"none of {result['epochs']}" if epoch is None else str(epoch) for epoch in first)


def _row(result: Result) -> str:
    mark = " *validation*" * (result.get("evaluated_on") == "validation")
    score = headline_of(result)
    cells = [f"`{result['recipe']}`{mark}", *(score.spread(result.get(name)) for name in FIGURES)]
    least = min(result.get("epochs_by_seed", [result["epochs"]]))
    epochs = str(result["epochs"]) if least == result["epochs"] else f"{least} to {result['epochs']}"
    cells += [score.spread(result[f"training_{score.name}"]), epochs, str(len(result["seeds"]))]
    looks = sorted(set(result.get("test_looks", [])))
    cells.append(" to ".join(map(str, dict.fromkeys((looks[0], looks[-1])))) if looks else "-")
    return f"| {' | '.join([*cells, format(result['images_per_second'], ',.0f')])} |"
