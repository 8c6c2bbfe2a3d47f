"""The table `transfer` of a recipe: initial weights and frozen layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_lab import registry
from tinygrad_lab.data import Dataset, Loader
from tinygrad_lab.data.augment import Compose
from tinygrad_lab.errors import ConfigError, OptionError, StateError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import models
from tinygrad_lab.train import Trainer, find_recipe, run_recipe
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.folder import read_run
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.weights import save_weights
from tinygrad_lab.weights.transfer import begin_with, replace_head


def with_transfer(*settings: str) -> Recipe:
    return find_recipe("lenet5").override([*settings])


def trained(folder: Path) -> Path:
    """Write weights of the recipe's network for seven classes and return the file's path."""
    recipe = find_recipe("lenet5")
    options = {**recipe.options("model"), "classes": 7}
    save_weights(models["lenet5"](**options, rng=5), folder / "seven.safetensors")
    return folder / "seven.safetensors"


def test_weights_are_loaded_and_only_the_new_head_learns(tmp_path: Path) -> None:
    path = trained(tmp_path)
    names = list(models["lenet5"](rng=0).children())
    head = names[-1]
    settings = [f"transfer.weights='{path}'", f'transfer.fresh=["{head}.*"]', 'transfer.freeze=["*"]']
    groups = 'optimizer.groups={"*"={lr_factor=0.5}}'
    trainer = build_trainer(with_transfer(*settings, f'transfer.but=["{head}"]', groups))
    before = trainer.model.state()
    with np.errstate(all="raise"):
        trainer.train_epoch()
    changed = {name for name, array in trainer.model.state().items() if not np.array_equal(array, before[name])}
    assert changed == {f"{head}.weight", f"{head}.bias"}
    first = next(iter(before))
    from tinygrad_lab.weights import read_arrays

    assert np.array_equal(before[first], read_arrays(path)[first])


def test_a_run_resumes_without_the_file_of_its_initial_weights(tmp_path: Path) -> None:
    path, head = trained(tmp_path), list(models["lenet5"](rng=0).children())[-1]
    settings = [f"transfer.weights='{path}'", f'transfer.fresh=["{head}.*"]', 'transfer.freeze=["*"]']
    short = [*settings, f'transfer.but=["{head}"]', "data.per_class=20", "training.epochs=2"]
    (folder,) = ended_after_one_epoch(with_transfer(*short), tmp_path / "runs")
    path.unlink()
    result = run_recipe(read_run(folder), Reporter(), resume=folder)
    assert result["epochs"] == 2
    path = trained(tmp_path)
    whole = run_recipe(with_transfer(*short), Reporter(), runs=tmp_path / "whole")
    assert whole["test"] == result["test"]


def ended_after_one_epoch(recipe: Recipe, runs: Path) -> list[Path]:
    """Interrupt a run and return the run folders."""

    class Interrupts(Reporter):
        def epoch(self, history: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, Interrupts(), runs=runs)
    return list(runs.iterdir())


def test_the_recipe_transfer_loads_weights_of_eight_classes(tmp_path: Path) -> None:
    before, after = find_recipe("eight_classes"), find_recipe("transfer")
    path = tmp_path / "eight.safetensors"
    save_weights(models[before["model"]["name"]](**before.options("model"), rng=1), path)
    for variant, learning in (("", 2), (":partly_frozen", 4), (":fine_tuned", 8), (":slowly_tuned", 8)):
        recipe = find_recipe(f"transfer{variant}").override([f"transfer.weights='{path}'"])
        model = models[after["model"]["name"]](**recipe.options("model"), rng=0)
        begin_with(model, **recipe["transfer"])
        assert sum(parameter.node is not None for parameter in model.parameters().values()) == learning
        registry.optimizers[recipe["optimizer"]["name"]](model.parameters(), **recipe.options("optimizer"))


def test_the_recipe_transfer_keeps_the_normalization_of_the_weights() -> None:
    recipe = find_recipe("transfer")
    few = Dataset(np.full((2, 32, 32, 3), 9, "uint8"), np.arange(2))
    (normalize,) = Compose.from_config(recipe.augment).fit(few).steps
    assert normalize.mean == pytest.approx((0.487, 0.467, 0.415), abs=1e-3)
    assert normalize.std == pytest.approx((0.246, 0.241, 0.252), abs=1e-3)


def test_without_the_table_all_parameters_learn() -> None:
    model = build_trainer(find_recipe("lenet5")).model
    assert all(parameter.node for parameter in model.parameters().values())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (['transfer.frozen=["*"]'], ConfigError, "did you mean 'freeze'"),
        (["transfer.freeze=conv1"], ConfigError, "freeze: expected list"),
        (['transfer.freeze=["convv"]'], OptionError, "which matches none"),
        (['transfer.fresh=["output.*"]'], OptionError, "expected the option weights"),
        (["transfer.weights=nowhere.safetensors"], StateError, "nowhere.safetensors: expected a file"),
    ],
)
def test_wrong_transfer_settings_are_refused(settings: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_trainer(with_transfer(*settings))


def test_an_optimizer_of_a_replaced_head_is_refused() -> None:
    model = models["gap7"](rng=0, image=(16, 16, 3))
    before = SGD(model.parameters(), lr=0.1)
    replace_head(model, 2, rng=0)
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype("float32")
    softmax_cross_entropy(model(images), np.array([0, 1])).backward()
    told = "got 'output.weight' of a head that replace_head replaced; make the optimizer after replace_head"
    with pytest.raises(OptionError, match=told):
        before.step()
    data = Loader(Dataset((images * 255).astype("uint8"), np.array([0, 1])), batch_size=2)
    with pytest.raises(OptionError, match=told):
        Trainer(model, softmax_cross_entropy, before, data)
    SGD(model.parameters(), lr=0.1).step()
