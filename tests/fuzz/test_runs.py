"""Folders of runs with damaged files, and with files of the right format and wrong contents."""

from __future__ import annotations

import copy
import json
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz.mutations import accepted, cases, mutated, mutated_tree
from tests.fuzz.recipes import recipes
from tinygrad_lab.inspect.run import load_run
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.checkpoint import CheckpointFolder, load, save
from tinygrad_lab.train.folder import read_run
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.train.results import gather, page, read_results, read_runs, write_results
from tinygrad_lab.train.run import run_recipe

pytestmark = pytest.mark.slow

RECIPE = Recipe("mine", {**recipes()[1], "data": {**recipes()[1]["data"], "per_class": 4}})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    run_recipe(RECIPE, Reporter(), runs=runs)
    (folder,) = runs.iterdir()
    return folder


def again(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about damaged checkpoints that are skipped
        run_recipe(read_run(folder), Reporter(), resume=folder)


def test_mutated_contents_of_checkpoints(finished: Path) -> None:
    sound = CheckpointFolder(finished / "checkpoints").latest()
    for case in cases(250):
        rng, trainer = random.Random(case), build_trainer(RECIPE)
        state = mutated_tree(sound, rng)
        if not isinstance(state, dict) or not accepted(lambda: trainer.load_state(state), case):  # noqa: B023  called here
            continue
        trainer.history = copy.deepcopy(trainer.history)
        with np.errstate(all="ignore"):  # as in a run
            accepted(lambda: trainer.train(trainer.epoch + 1), case)  # noqa: B023  called here


@pytest.mark.parametrize("name", ["recipe.json", "metrics.jsonl", "result.json", "checkpoints/step-*.safetensors"])
def test_damaged_files_of_runs(name: str, finished: Path, tmp_path: Path) -> None:
    for case in cases(40):
        rng, folder = random.Random(case), tmp_path / "runs" / "mine"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(finished, folder)
        for path in folder.glob(name):
            spoil(path, rng)
        accepted(lambda: write_results(gather(read_runs(tmp_path)), tmp_path / "pages"), case)
        if not name.startswith(("metrics", "result")):
            accepted(lambda: again(folder), case)  # noqa: B023  called here
        assert not list(tmp_path.rglob("*.tmp")), case


@pytest.mark.parametrize("name", ["manifest.json", "recipe.json"])
def test_prediction_with_damaged_runs(name: str, finished: Path, tmp_path: Path) -> None:
    height, width, channels = load_run(finished).image
    images = np.zeros((2, height, width, channels), np.uint8)
    for case in cases(100):
        rng, folder = random.Random(case), tmp_path / "mine"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(finished, folder)
        spoil(folder / name, rng)
        if accepted(lambda: load_run(folder), case):  # noqa: B023  called here
            accepted(lambda: load_run(folder).predict(images), case)  # noqa: B023  called here


def spoil(path: Path, rng: random.Random) -> None:
    """Damage the bytes of a file, or mutate the values in its JSON or checkpoint."""
    if rng.random() < 0.3:
        path.write_bytes(mutated(path.read_bytes(), rng))
    elif path.suffix == ".safetensors":
        changed = mutated_tree(load(path), rng, odd=(0, 1.5, None, "x", [], {}, {"a": 1}, -1, 2**62))
        save(path, changed if isinstance(changed, dict) else {})
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else []
        changed = mutated_tree(lines or json.loads(path.read_text()), rng)
        entries = changed if lines and isinstance(changed, list) else [changed]
        path.write_text("\n".join(map(json.dumps, entries)))


def test_pages_of_damaged_results(finished: Path, tmp_path: Path) -> None:
    (sound,) = gather(read_runs(finished.parent))
    path = tmp_path / "mine.json"
    for case in cases(300):
        rng = random.Random(case)
        changed: Any = mutated_tree({**sound, "recipe": rng.choice(("mine", "lenet5"))}, rng)
        path.write_text(json.dumps(changed))
        if rng.random() < 0.2:
            path.write_bytes(mutated(path.read_bytes(), rng))
        accepted(lambda: page(read_results(tmp_path)), case)
