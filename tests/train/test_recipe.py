"""Recipes: they are complete, checked, and overridden key by key."""

from __future__ import annotations

import inspect
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_lab import registry
from tinygrad_lab.data import Compose, Dataset
from tinygrad_lab.errors import ConfigError, PluginError, warn_once
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.train import find_recipe, recipe_names
from tinygrad_lab.train.build import build_trainer, network_of
from tinygrad_lab.train.folder import new_run_folder, read_run
from tinygrad_lab.train.recipe import Recipe, checked
from tinygrad_lab.train.results import read_runs
from tinygrad_lab.train.shapes import check_images, dummy_images
from tinygrad_lab_layers import Dense, Flatten


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_well_formed_and_states_its_source(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe["recipe"]["source"]
    assert recipe["training"]["epochs"] >= 1


def test_settings_replace_one_key_and_do_not_change_the_recipe() -> None:
    recipe = find_recipe("lenet5")
    changed = recipe.override(["optimizer.lr=1", "training.epochs=2", "recipe.title=mine"])
    assert changed["optimizer"]["lr"] == 1.0
    assert changed["training"]["epochs"] == 2
    assert changed["recipe"]["title"] == "mine"
    assert changed["data"] == recipe["data"]
    assert recipe["optimizer"]["lr"] != 1.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizr.lr=1", "did you mean 'optimizer'"),
        ("training.epoch=3", "did you mean 'epochs'"),
        ("training.epochs=many", "expected a value of type int"),
        ("training.epochs=0", "training.epochs: expected 1 or more"),
        ("optimizer.lr", "expected table.key=value"),
        ("loss.reduction=sum", "expected loss.reduction 'mean'.*got 'sum'"),
        ("lr=3", "expected table.key=value, such as optimizer.lr=3, got"),
        ("epochs=5", "expected table.key=value, such as training.epochs=5, got"),
        ("data.root=pictures", "got root = 'pictures'; name it with --data"),
        ("model.image=[1,32,32]", r"expected height, width and channels; use \[32, 32, 1\]"),
        ("augment.rotaton.degrees=3", "did you mean 'rotation'"),
        ("augment.rotation=3", "expected augment.NAME.key=value"),
        ("augment.rotation.degrees=far", "expected degrees of type float, got 'far'"),
        ("optimizer.nesterov=1", "expected nesterov of type bool, got 1"),
        ("model.name=3", "expected a value of type str like 'lenet5', got 3"),
        ("data.batch_size=1.5", "expected a value of type int"),
        ("augment=[3]", "expected augment.name, a registered name"),
        ("augment={}", "expected a list of tables"),
        ("optimizer=[]", "expected a table"),
    ],
)
def test_wrong_settings_are_refused_with_a_suggestion(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_recipe("lenet5").override([setting])


def test_settings_must_have_the_declared_types() -> None:
    assert find_recipe("initial_scale").override(["model.init=0.01"])["model"]["init"] == 0.01
    assert find_recipe("alexnet_small").override(["schedule.start=70.5"])["schedule"]["start"] == 70.5
    clipped = find_recipe("lenet5").override(["training.clip_norm=5", "training.clip_norm=0.5"])
    assert clipped["training"]["clip_norm"] == 0.5
    named = find_recipe("lenet5").override(["optimizer.name=rmsprop", "optimizer.rho=0.5", "optimizer.momentum=0"])
    assert named["optimizer"]["momentum"] == 0
    with pytest.raises(ConfigError, match=r"--set schedule.start=soon: expected start of type float, got 'soon'"):
        find_recipe("alexnet_small").override(["schedule.start=soon"])
    layered = Recipe("layered", {**find_recipe("lenet5").tables, "model": {"name": "sequential", "layers": []}})
    with pytest.raises(ConfigError, match="expected a value of type list"):
        layered.override(["model.layers=3"])


def test_settings_without_a_declared_type_must_have_the_type_of_the_old_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.models._loaded, "lenet5", lambda *, width=3, rng=None: None)
    recipe = find_recipe("lenet5")
    mine = Recipe("mine", {**recipe.tables, "model": {"name": "lenet5", "width": 3}})
    assert mine.override(["model.width=4"])["model"]["width"] == 4
    with pytest.raises(ConfigError, match="expected a value of type int like 3, got wide"):
        mine.override(["model.width=wide"])


def test_a_recipe_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nname = "lenet5"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"missing .*'optimizer'"):
        find_recipe(str(path))
    path.write_text("[model\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected TOML"):
        find_recipe(str(path))
    with pytest.raises(ConfigError, match=r"none\.toml, found none"):
        find_recipe(str(tmp_path / "none.toml"))


def test_unknown_recipes_get_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lenet5'"):
        find_recipe("lenet")


def experiments() -> list[str]:
    """Return the names of the recipes and of their variants."""
    return [full for name in recipe_names() for full in (name, *(f"{name}:{v}" for v in find_recipe(name).variants))]


@pytest.mark.parametrize("name", experiments())
def test_every_recipe_names_registered_plugins_and_valid_options(name: str) -> None:
    recipe = find_recipe(name)
    with shapes_only():
        model = network_of(recipe)
    registry.optimizers[recipe["optimizer"]["name"]](model.parameters(), **recipe.options("optimizer"))
    inspect.signature(registry.losses[recipe["loss"]["name"]]).bind(None, None, **recipe.options("loss"))
    if recipe["schedule"]:
        lasting = {"length": 1} if recipe["schedule"]["name"] == "one_cycle" else {}
        registry.schedules.make({**lasting, **recipe["schedule"]})
    example = dummy_images(registry.datasets[recipe["data"]["name"]](), recipe["data"].get("size"))
    assert example is not None
    check_images(recipe, model, Compose.from_config(recipe.augment).fit(example), example)


def test_each_setting_has_a_mark_of_its_origin() -> None:
    recipe = find_recipe("alexnet_small")
    assert recipe.origin("data.classes") == "stated"
    assert recipe.origin("schedule.start") == "stated"
    assert recipe.origin("optimizer.lr") == "inferred"
    assert recipe.origin("training.epochs") == "ours"
    tables = {**recipe.tables, "origin": {"stated": ["data.clases"]}}
    with pytest.raises(ConfigError, match=r"did you mean 'data.classes'"):
        checked(tables, "mine")


def test_replaced_settings_are_marked_ours_and_variants_have_their_own_marks() -> None:
    recipe = find_recipe("ten_layer")
    assert [recipe.origin(f"augment.{step}") for step in ("shift.width", "shift.fill", "channel_shift.amount")] == [
        "stated", "inferred", "ours",
    ]  # fmt: skip
    changed = recipe.override(["augment.shift.width=0.1", "training.epochs=700", 'data={name="cifar10"}'])
    assert changed.origin("augment.shift.width") == "ours"
    assert changed.origin("augment.shift.height") == "stated"
    assert changed.origin("training.epochs") == "stated", "the value is the same"
    assert changed.origin("data.name") == "ours"
    assert recipe.origin("augment.shift.width") == "stated", "the recipe has not changed"
    ablations = find_recipe("ablations_ten_layer")
    for variant, mark in (("one", "stated"), ("matched", "ours")):
        assert ablations.origin(f"variants.{variant}.model.kernel_sizes") == mark
        assert ablations.variant(variant).origin("model.kernel_sizes") == mark
    short = find_recipe("resnet20:short")
    assert short.origin("optimizer.weight_decay") == short.origin("schedule.name") == "ours"
    assert short.origin("optimizer.momentum") == "stated"


def test_augmentations_and_whole_tables_can_be_replaced() -> None:
    recipe = find_recipe("lenet5")
    changed = recipe.override(["augment.rotation.degrees=2.5", "augment.zoom.fill=zero", "schedule={name='cosine'}"])
    assert changed.augment[0] == {"name": "rotation", "degrees": 2.5}
    assert changed.augment[2]["fill"] == "zero"
    assert changed["schedule"] == {"name": "cosine"}
    assert recipe.override(["augment=[]"]).augment == []
    assert recipe.augment[0]["degrees"] == 10, "the recipe has not changed"


def test_a_variant_replaces_settings_and_whole_tables() -> None:
    recipe = find_recipe("ablations_ten_layer")
    changed = find_recipe("ablations_ten_layer:one")
    assert changed.name == "ablations_ten_layer:one"
    assert not changed.variants
    assert changed["model"]["kernel_sizes"] == [5, 3, 1]
    assert changed.augment == []
    assert recipe["model"]["kernel_sizes"] == [1, 3, 5], "the recipe has not changed"
    with pytest.raises(ConfigError, match="did you mean 'two'"):
        find_recipe("ablations_ten_layer:twoo")


def test_variants_are_checked_with_their_recipe() -> None:
    tables = find_recipe("lenet5").tables
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        checked({**tables, "variants": {"wide": {"modl.classes": 3}}}, "mine")
    with pytest.raises(ConfigError, match=r"variants\.wide as a table"):
        checked({**tables, "variants": {"wide": 3}}, "mine")


@pytest.mark.parametrize(
    ("setting", "kind"), [("transfer=[1]", "a table"), ("augment={a=1}", "a list of tables"), ("model=[2]", "a table")]
)
def test_a_table_can_only_be_replaced_by_a_table(setting: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"--set {re.escape(setting)}: expected {kind}"):
        find_recipe("lenet5").override([setting, "transfer.freeze=true"])


def test_a_path_may_contain_colons(tmp_path: Path) -> None:
    folder = tmp_path / "C:" / "a:b"
    folder.mkdir(parents=True)
    path = folder / "mine.toml"
    text = (resources.files("tinygrad_lab") / "recipes" / "padding_cnn7.toml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    assert find_recipe(str(path)).name == "mine"
    assert find_recipe(f"{path}:edge").name == "mine:edge"
    with pytest.raises(ConfigError, match="variants of recipe 'mine'"):
        find_recipe(f"{path}:")


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "a\\b", "", "a b", "a\n", 3])
def test_names_that_are_not_safe_in_paths_are_refused(name: Any, tmp_path: Path) -> None:
    tables = find_recipe("lenet5").tables
    for refused in (
        lambda: checked(tables, name),
        lambda: checked({**tables, "variants": {name: {}}}, "mine"),
        lambda: new_run_folder(tmp_path, Recipe(name, tables)),
    ):
        with pytest.raises(ConfigError, match="expected a name of letters"):
            refused()
    (tmp_path / "recipe.json").write_text(json.dumps({"name": name, **tables}))
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(ConfigError, match="expected a name of letters"):
        read_run(tmp_path)
    with pytest.raises(ConfigError, match="expected a name of letters"):
        read_runs(tmp_path)


def test_another_optimizer_by_name_keeps_the_options_that_it_has(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    recipe = find_recipe("lenet5").override(["optimizer.name=adam", "optimizer.beta1=0.8"])
    assert recipe["optimizer"] == {"name": "adam", "lr": 0.08, "weight_decay": 0.0005, "beta1": 0.8}
    told = "--set optimizer.name=adam: kept lr=0.08, weight_decay=0.0005; left out momentum=0.9"
    assert caplog.messages == [f"tinygrad_lab: {told}"]
    caplog.clear()
    same = find_recipe("lenet5").override(["optimizer.name=sgd", 'optimizer={name="adam", lr=1e-3}'])
    assert same["optimizer"] == {"name": "adam", "lr": 1e-3}
    assert not caplog.messages


def test_options_that_the_user_set_are_never_left_out() -> None:
    recipe = find_recipe("lenet5").override(["optimizer.momentum=0.5", "optimizer.name=adam"])
    with pytest.raises(ConfigError, match="option of 'adam': expected a known name, got 'momentum'"):
        registry.optimizers.check_options("adam", recipe.options("optimizer"))
    with pytest.raises(PluginError, match="did you mean 'adam'"):
        registry.optimizers.check_options("adamm", recipe.override(["optimizer.name=adamm"]).options("optimizer"))


def test_marks_of_options_that_were_left_out_are_removed() -> None:
    recipe = find_recipe("lenet5")
    marked = Recipe("marked", {**recipe.tables, "origin": {"stated": ["optimizer.momentum", "optimizer.lr"]}})
    changed = marked.override(["optimizer.name=adam"])
    assert (changed.origin("optimizer.lr"), changed.origin("optimizer.name")) == ("stated", "ours")


def test_another_schedule_by_name_keeps_no_option_of_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    recipe = find_recipe("alexnet_small").override(["schedule.rise=0.2", "schedule.name=one_cycle"])
    assert recipe["schedule"] == {"name": "one_cycle", "rise": 0.2}
    told = "--set schedule.name=one_cycle: kept nothing; left out start=75, interval=5, factor=0.9"
    assert caplog.messages == [f"tinygrad_lab: {told}"]
    caplog.clear()
    same = find_recipe("alexnet_small").override(["schedule.name=step"])
    assert same["schedule"] == find_recipe("alexnet_small")["schedule"]
    assert not caplog.messages


def test_another_augmentation_by_name_keeps_no_option_of_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    recipe = find_recipe("lenet5").override(["augment.rotation.name=shift", "augment.shift.height=0.3"])
    assert recipe.augment[0] == {"name": "shift", "height": 0.3}
    told = "--set augment.rotation.name=shift: kept nothing; left out degrees=10"
    assert caplog.messages == [f"tinygrad_lab: {told}"]
    caplog.clear()
    Compose.from_config(recipe.augment)
    ten = find_recipe("ten_layer")
    changed = ten.override(["augment.shift.name=rotation", "augment.rotation.degrees=5"])
    assert ten.origin("augment.shift.width") == "stated"
    assert changed.origin("augment.rotation") == changed.origin("augment.rotation.degrees") == "ours"


class Undemanding(Layer):
    """A network that accepts images of any shape."""

    def forward(self, x: Any) -> Any:
        return x


class TwoHeaded(Undemanding):
    """A network with two outputs."""

    def output_shape(self, shape: Any) -> Any:
        return (shape[0], 3), (shape[0], 3)


def test_networks_without_an_output_shape_or_with_several_outputs_are_accepted() -> None:
    recipe = find_recipe("lenet5")
    images = Dataset(np.zeros((20, 32, 32, 1), np.uint8), np.arange(20) % 10, name="made up")
    pipeline = Compose.from_config(recipe.augment).fit(images)
    for model in (Undemanding(), Sequential(Undemanding()), TwoHeaded()):
        check_images(recipe, model, pipeline, images)
    with pytest.raises(ConfigError, match="expected an output for each of the 10 classes of 'made up', got 3"):
        check_images(recipe, Sequential(Flatten(), Dense(1024, 3, rng=0)), pipeline, images)


COMPLETE = """
[model]
name = "lenet5"
[data]
name = "digits"
[loss]
name = "softmax_cross_entropy"
[optimizer]
name = "sgd"
lr = 0.1
[training]
epochs = 1
"""


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            '"training.epoch" = 3',
            "'mine:slow': training: expected a known name, got 'epoch'; did you mean 'epochs'",
        ),
        ('"training.epochs" = "many"', "recipe 'mine:slow': training.epochs: expected int, got 'many'"),
        (
            '"optimizer.lrr" = 3',
            "'mine': variants: optimizer: expected a known name, got 'lrr'; did you mean 'lr'",
        ),
        ('"model.paddng" = "zero"', "variants: model: expected a known name, got 'paddng'; did you mean 'padding'"),
        ('augment = [{name = "rotation", degree = 3}]', "augment: expected a known name, got 'degree'; did you mean"),
        ('"loss.name.deep" = 3', "variants: loss: expected a known name"),
        ('"training.epochs" = 0', "training.epochs: expected 1 or more, got 0"),
    ],
)
def test_a_variant_is_checked_when_the_recipe_is_read(variant: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{COMPLETE}[variants.slow]\n{variant}\n")
    with pytest.raises(ConfigError, match=message):
        find_recipe(str(path))


def test_a_variant_may_name_another_plugin_with_its_options(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'{COMPLETE}[variants.adam]\noptimizer = {{name = "adam", lr = 0.001, beta1 = 0.8}}\n')
    assert find_recipe(f"{path}:adam")["optimizer"]["beta1"] == 0.8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ('name = "sgd"', 'type = "sgd"'),
            "optimizer.name, a registered name; write name = 'sgd' instead of type =",
        ),
        (("lr = 0.1", "lr = = 0.1"), r"expected TOML, got .*line 10.*: 'lr = = 0.1'"),
        (("lr = 0.1", "lr = [0.1"), r"expected TOML, got "),
    ],
)
def test_common_mistakes_are_named(wrong: tuple[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(COMPLETE.replace(*wrong))
    with pytest.raises(ConfigError, match=message):
        find_recipe(str(path))


def test_a_path_that_is_not_a_recipe_is_explained(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    (tmp_path / "mine.toml").write_text(COMPLETE)
    for name, message in (
        ("nowhere.toml", "expected a file at .*nowhere.toml, found none"),
        ("nowhere", "expected the path of a file that ends in .toml, got .*nowhere, which does not exist"),
        ("run", "got the folder of a run, .*run; .*run/recipe.json trains it again, and --resume .*run continues it"),
        ("mine", "did you mean .*mine.toml?"),
        (".", "expected a file that ends in .toml, or a run's recipe.json, got"),
        ("x" * 5000, "recipe: expected"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_recipe(str(tmp_path / name))


def test_options_that_the_library_sets_are_not_listed() -> None:
    with pytest.raises(ConfigError, match=r"got 'foo'; there are groups, lr, momentum, nesterov, weight_decay$"):
        registry.optimizers.check_options("sgd", {"foo": 1})
    assert registry.losses.options_of("softmax_cross_entropy") == ["reduction", "label_smoothing"]
    with pytest.raises(ConfigError, match="; write name = 'relu' instead of type = 'relu'"):
        registry.layers.make({"type": "relu"})


def test_a_network_that_gives_maps_is_refused() -> None:
    layers = '[{name="conv2d", in_channels=1, out_channels=10, kernel_size=3}]'
    recipe = find_recipe("lenet5").override([f'model={{name="sequential", layers={layers}}}'])
    with pytest.raises(ConfigError, match=r"expected outputs \(N, classes\), got maps of shape \(30, 30, 10\); end"):
        build_trainer(recipe)


def test_outputs_without_a_class_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    build_trainer(find_recipe("lenet5").override(["model.classes=30"]))
    assert "recipe 'lenet5': 30 outputs for 10 classes; --set model.classes=10" in caplog.text
    assert "has only the class" not in caplog.text
    build_trainer(find_recipe("lenet5").override(["data.classes=['3']", "data.validation=0.0"]))
    assert "'digits' has only the class '3', so every answer is right" in caplog.text
