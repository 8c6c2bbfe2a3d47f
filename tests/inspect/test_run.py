"""Runs loaded by `load_run`: the same network and images, bit for bit, and errors that say what to do."""

from __future__ import annotations

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.data import Compose, Dataset, load
from tinygrad_lab.errors import (
    ConfigError,
    DataError,
    DTypeError,
    LabError,
    OptionError,
    PluginError,
    ShapeError,
    StateError,
)
from tinygrad_lab.inspect import Run
from tinygrad_lab.losses import binary_cross_entropy_with_logits
from tinygrad_lab.registry import Plugin, layers, losses
from tinygrad_lab.tensor import tensor
from tinygrad_lab.train import find_recipe, run_recipe
from tinygrad_lab.train import folder as run_folder
from tinygrad_lab.train.build import build_trainer, open_test
from tinygrad_lab.train.folder import read_run
from tinygrad_lab.train.manifest import Manifest, read_manifest
from tinygrad_lab.train.progress import Reporter
from tinygrad_lab.train.recipe import Recipe
from tinygrad_lab.weights import read_arrays
from tinygrad_lab_layers import Dense

LAYERS = [{"name": "flatten"}, {"name": "dense", "in_features": 64, "out_features": 10}]
TABLES: dict[str, Any] = {
    "model": {"name": "sequential", "layers": LAYERS},
    "data": {"name": "digits", "size": [8, 8], "per_class": 10, "validation": 0.1},
    "augment": [{"name": "flip"}, {"name": "normalize"}],
    "loss": {"name": "softmax_cross_entropy"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"epochs": 2},
}


def trained(runs: Path, **tables: Any) -> Path:
    """Train a network and return the run's folder."""
    recipe = Recipe("small", {**TABLES, **tables})
    return Path(run_recipe(recipe, Reporter(), runs=runs, root=tables.get("root"))["run"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of dark and light color pictures of several sizes."""
    top, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, name in ((s, n) for s in ("train", "test") for n in ("dark", "light")):
        (top / split / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 100, (20 + number, 30, 3)) + (150 if name == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(top / split / name / f"{number}.png")
    return top


@pytest.fixture(scope="module")
def of_pictures(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"name": "sequential", "layers": [LAYERS[0], {**LAYERS[1], "in_features": 192, "out_features": 2}]}
    data = {"name": "image_folder", "size": [8, 8], "validation": 0.25}
    recipe = Recipe("pictures", {**TABLES, "model": model, "data": data})
    return Path(run_recipe(recipe, Reporter(), runs=tmp_path_factory.mktemp("runs"), root=str(pictures))["run"])


def prepared(run: Run, images: Any) -> Any:
    """Return the arrays that the network gets for given images."""
    seen = []

    class Spy(type(run.model)):  # type: ignore[misc]  # a class found at run time
        def forward(self, *inputs: Any) -> Any:
            seen.append(unbox(inputs[0]))
            return super().forward(*inputs)

    original, run.model.__class__ = type(run.model), Spy
    try:
        run.predict(images)
    finally:
        run.model.__class__ = original
    return np.concatenate(seen)


def test_a_run_shows_itself_in_a_notebook(folder: Path) -> None:
    html = tgl.load_run(folder)._repr_html_()
    assert folder.name in html
    assert "8×8×1" in html
    assert "numpy" in html


def test_images_are_prepared_as_in_the_loader_of_test_images(folder: Path) -> None:
    run = tgl.load_run(folder)
    trainer = build_trainer(read_run(folder))
    loader = open_test(read_run(folder), trainer.batches, root=None)
    assert loader is not None
    expected = np.concatenate([images for images, _ in loader])
    raw = load("digits", split="test", size=(8, 8)).images
    assert expected.min() < -0.5  # it is normalized
    for given in (raw, list(raw), [*raw[:7], *raw[7:].astype(float) / 255]):
        np.testing.assert_array_equal(prepared(run, given), expected)


def test_arrays_of_another_size_are_resized_as_in_a_data_set(folder: Path) -> None:
    run, large = tgl.load_run(folder), load("digits", split="test").images[:5]
    expected = prepared(run, Dataset(large, np.zeros(5, int)).resize((8, 8)).images)
    np.testing.assert_array_equal(prepared(run, large), expected)
    np.testing.assert_array_equal(prepared(run, large[0, :, :, 0]), expected[:1])
    np.testing.assert_array_equal(prepared(run, large[0]), expected[:1])


def test_pictures_are_read_as_in_the_data_set(of_pictures: Path, pictures: Path) -> None:
    run = tgl.load_run(of_pictures)
    trainer = build_trainer(read_run(of_pictures), root=str(pictures))
    loader = open_test(read_run(of_pictures), trainer.batches, root=str(pictures))
    assert loader is not None
    expected = np.concatenate([images for images, _ in loader])
    paths = sorted((pictures / "test").rglob("*.png"))
    opened = [Image.open(path) for path in paths]
    for given in (paths, [str(path) for path in paths], opened):
        np.testing.assert_array_equal(prepared(run, given), expected)
    np.testing.assert_array_equal(prepared(run, paths[0]), expected[:1])
    assert run.classes == ("dark", "light")
    assert run.evaluate().data == "image_folder test"  # the run has recorded the folder of its pictures


def test_predictions_are_the_outputs_of_the_network(folder: Path) -> None:
    run = tgl.load_run(folder)
    test = load("digits", split="test", size=(8, 8))
    found = run.predict(test.images)
    with no_grad():
        logits = unbox(run.model(tensor(prepared(run, test.images)))).astype(float)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-5)
    assert found.classes == tuple(run.classes[label] for label in logits.argmax(axis=1))
    report = run.evaluate()
    result = json.loads((folder / "result.json").read_text())
    assert report.accuracy == result["figures"]["chosen_on_validation"]["accuracy"]
    assert tgl.load_run(folder, weights="last").evaluate().accuracy == result["figures"]["last"]["accuracy"]
    np.testing.assert_array_equal(report.prediction.probabilities, found.probabilities)


def test_best_and_last_weights_can_be_loaded(tmp_path: Path) -> None:
    folder = trained(tmp_path, optimizer={"name": "sgd", "lr": 40.0}, training={"epochs": 4})
    history = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert history[-1]["validation"]["accuracy"] < max(m["validation"]["accuracy"] for m in history)  # unstable
    for which, name in (("best", "weights-best"), ("last", "weights")):
        run, saved = tgl.load_run(folder, weights=which), read_arrays(folder / f"{name}.safetensors")
        assert run.weights == which
        assert not any(layer.training for layer in run.model.layers().values())
        assert all(np.array_equal(array, saved[path]) for path, array in run.model.state().items())
        accuracy = run.evaluate(split="validation").accuracy
        values = [m["validation"]["accuracy"] for m in history]
        assert accuracy == (max(values) if which == "best" else values[-1])


def test_best_weights_of_a_run_with_a_folder_of_validation_images(tmp_path: Path) -> None:
    for split, names in (("train", ("dark", "light")), ("val", ("light", "dark"))):  # swapped: training makes val worse
        for name, level in zip(names, (50, 200), strict=True):
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(np.full((8, 8), level, np.uint8)).save(tmp_path / split / name / "0.png")
    model = {"name": "sequential", "layers": [LAYERS[0], {**LAYERS[1], "in_features": 192, "out_features": 2}]}
    recipe = Recipe("pictures", {**TABLES, "model": model, "data": {"name": "image_folder", "size": [8, 8]}})
    folder = Path(run_recipe(recipe, Reporter(), runs=tmp_path / "runs", root=str(tmp_path))["run"])
    best, last = (read_arrays(folder / f"{name}.safetensors") for name in ("weights-best", "weights"))
    assert any((best[path] != last[path]).any() for path in best)
    for which, saved in (("best", best), ("last", last)):
        run = tgl.load_run(folder, weights=which)
        assert run.weights == which
        assert all(np.array_equal(array, saved[path]) for path, array in run.model.state().items())


def test_a_run_loads_its_own_images(folder: Path) -> None:
    run = tgl.load_run(folder)
    expected = build_trainer(read_run(folder)).batches.dataset
    np.testing.assert_array_equal(run.data("train").images, expected.images)
    assert expected.counts() == dict.fromkeys("0123456789", 10)
    validation = run.data()
    np.testing.assert_array_equal(run.prepare(validation.images), prepared(run, validation.images))
    assert run.evaluate(validation).accuracy == run.evaluate(split="validation").accuracy
    with pytest.raises(OptionError, match=r"expected a split out of \['train', 'validation', 'test'\], got 'val'"):
        run.data("val")


def test_a_pruned_run_has_a_network_without_the_planes(tmp_path: Path) -> None:
    conv = {"name": "conv2d", "in_channels": 1, "out_channels": 4, "kernel_size": 3}
    layers = [conv, LAYERS[0], {**LAYERS[1], "in_features": 144}]
    run = tgl.load_run(trained(tmp_path, model={"name": "sequential", "layers": layers}, training={"epochs": 1}))
    before = run.evaluate(split="validation")
    pruned = run.prune(1).prune([2], layer="0")
    state = {**run.model.state()}
    for name in ("0.weight", "0.bias"):
        state[name] = state[name].copy()
        state[name][..., [1, 2]] = 0
    logits = unbox(tgl.functional_call(run.model, state, run.prepare(run.data().images)))
    np.testing.assert_array_equal(pruned.evaluate(split="validation").prediction.labels, logits.argmax(axis=1))
    np.testing.assert_array_equal(
        run.evaluate(split="validation").prediction.probabilities, before.prediction.probabilities
    )
    with pytest.raises(OptionError, match=r"prune: expected planes of 'conv2d', which has 4, got \[4\]"):
        run.prune(4)
    with pytest.raises(ShapeError, match=r"expected maps \(N, H, W, C\) from layer '2', got shape \(1, 10\)"):
        run.prune(0, layer="2")


def test_without_validation_images_there_are_only_the_last_weights(tmp_path: Path) -> None:
    folder = trained(tmp_path, data={**TABLES["data"], "validation": 0.0}, training={"epochs": 1})
    assert not (folder / "weights-best.safetensors").exists()
    run = tgl.load_run(folder)
    assert run.weights == "last"
    with pytest.raises(OptionError, match=r"expected a split out of \['train', 'test'\], got 'validation'"):
        run.evaluate(split="validation")


def test_by_default_a_run_without_tests_evaluates_on_validation_images(tmp_path: Path) -> None:
    run = tgl.load_run(trained(tmp_path, training={"epochs": 1, "test": "never"}))
    assert run.evaluate().data == "digits validation"


def test_other_data_with_the_classes_in_another_order(folder: Path) -> None:
    run, test = tgl.load_run(folder), load("digits", split="test", size=(8, 8))
    shuffled = test.keep_classes(test.classes[::-1])
    whole = run.evaluate(test)
    assert run.evaluate(shuffled).accuracy == whole.accuracy
    assert run.evaluate("digits").accuracy == pytest.approx(whole.accuracy, abs=0.05)  # resized from 32x32
    part = run.evaluate(test.keep_classes(["8", "3"]))
    np.testing.assert_array_equal(part.confusion[[3, 8]], whole.confusion[[3, 8]])
    assert part.confusion.sum() == whole.confusion[[3, 8]].sum()
    with pytest.raises(OptionError, match=r"expected images of the classes \['0', .*got \['cat'\]"):
        run.evaluate(Dataset(test.images[:2], np.zeros(2, int), classes=("cat",)))
    with pytest.raises(ShapeError, match=r"images of 1 channels .*got 3 in 'dataset'"):
        run.evaluate(Dataset(np.zeros((10, 8, 8, 3), np.uint8), np.arange(10)))


def test_evaluations_of_a_run_on_its_own_test_images_are_counted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    run, before = tgl.load_run(copy), run_folder.test_looks(copy)
    run.evaluate(split="validation")
    run.evaluate(run.data("train"))
    with pytest.raises(OptionError):
        run.evaluate(split="tset")
    assert run_folder.test_looks(copy) == before
    run.evaluate()
    run.evaluate("digits", split="test")
    assert run_folder.test_looks(copy) == before + 2
    assert not caplog.records

    def refusing(path: Path, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch, caplog.at_level("WARNING"):
        patch.setattr(run_folder, "write_atomically", refusing)
        assert len(run.evaluate()) == 359
    with run_folder.used_alone(copy), caplog.at_level("WARNING"):
        assert len(run.evaluate()) == 359
    read_only, used = caplog.messages
    assert "was not counted" in read_only
    assert "Read-only file system" in read_only
    assert "expected a run that no other process uses" in used
    assert run_folder.test_looks(copy) == before + 2
    (copy / "result.json").unlink()
    assert len(run.evaluate()) == 359
    assert not (copy / "result.json").exists()


def test_a_network_with_one_output_predicts_two_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss_of_one(logits: Any, labels: Any) -> Any:
        return binary_cross_entropy_with_logits(logits, labels.reshape(-1, 1))

    monkeypatch.setitem(losses._loaded, "hinge", loss_of_one)
    model = {"name": "sequential", "layers": [LAYERS[0], {**LAYERS[1], "out_features": 1}]}
    data = {**TABLES["data"], "classes": ["0", "1"]}
    loss = {"name": "hinge"}
    folder = trained(tmp_path, model=model, data=data, loss=loss)
    run = tgl.load_run(folder)
    found = run.predict(load("digits", split="test", classes=["0", "1"], size=(8, 8)).images)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    result = json.loads((folder / "result.json").read_text())
    assert run.evaluate().accuracy == result["figures"]["chosen_on_validation"]["accuracy"]


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), ShapeError, r"1 channels \(the last axis\), got 3 in shape \(2, 8, 8, 3\)"),
        (np.zeros((2, 1, 8, 8), np.uint8), ShapeError, r"move the channels to the end with np.moveaxis"),
        (np.zeros(8, np.uint8), ShapeError, r"expected images \(N, H, W, C\) or one \(H, W, C\), got shape \(8,\)"),
        (np.zeros((0, 8, 8, 1), np.uint8), OptionError, r"expected at least one image, got none \(shape \(0, "),
        (np.zeros((8, 8, 1), np.int64), DTypeError, "expected uint8 or floats from 0 to 1, got int64"),
        (np.full((8, 8), 255.0), OptionError, "got 255 to 255; divide by 255"),
        (np.full((8, 8), -1.5), OptionError, "leave out your own normalization"),
        (np.full((8, 8), np.nan), OptionError, "expected floats from 0 to 1, got nan"),
        ([], OptionError, "expected at least one image, got an empty list"),
        ([1, 2], DTypeError, "expected arrays, paths or PIL images, one or a list of them, got int"),
        ("none.png", DataError, "none.png: cannot be read as a picture: .*No such file"),
    ],
)
def test_wrong_images_are_refused(images: Any, error: type[LabError], message: str, folder: Path) -> None:
    with pytest.raises(error, match=message):
        tgl.load_run(folder).predict(images)


def test_files_that_are_not_pictures_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(DataError, match=r"notes.png: cannot be read as a picture: cannot identify"):
        tgl.load_run(folder).predict([tmp_path / "notes.png"])


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "run"))


def test_runs_that_cannot_be_used_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the folder of a run, got no such folder; tinygrad-lab train makes"):
        tgl.load_run(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"got a folder without recipe\.json"):
        tgl.load_run(tmp_path)
    with pytest.raises(OptionError, match=r"expected weights='best' or 'last', got 'first'"):
        tgl.load_run(folder, weights="first")
    run = copied(folder, tmp_path)
    weights = run / "weights-best.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-7])
    again = f"train it again with tinygrad-lab train {run / 'recipe.json'}"
    with pytest.raises(StateError, match=f"expected a whole safetensors file, got: .*{again}"):
        tgl.load_run(run)
    weights.write_bytes(whole)
    (run / "manifest.json").write_text('{"classes": 3}')
    with pytest.raises(StateError, match=r"manifest.json: expected .*; delete this file; then tinygrad-lab"):
        tgl.load_run(run)
    (run / "manifest.json").unlink()
    with pytest.raises(StateError, match=r"expected manifest.json with the classes and the preprocessing, got none"):
        tgl.load_run(run)
    (run / "weights.safetensors").unlink()
    with pytest.raises(StateError, match=f"expected a finished run, got .* tinygrad-lab train --resume {run}"):
        tgl.load_run(run)


def test_rows_are_no_sequences() -> None:
    recipe, model = Recipe("rows", TABLES), tgl.Sequential(Dense(3, 2, rng=0))

    def run(examples: str | None) -> Run:
        manifest = Manifest(["a", "b"], (3,), [], None, {}, [], examples)
        return Run(Path("rows"), recipe, manifest, model.eval(), Compose(), "last")

    rows = np.array([[1, -2, 3], [4, 5, 6]])
    whole = run("rows").predict(rows.astype("float32")).probabilities
    np.testing.assert_array_equal(run("rows").predict(rows.tolist()).probabilities, whole)
    np.testing.assert_array_equal(run(None).predict(rows.astype("float32")).probabilities, whole)  # an older run
    for given in ([[1, 2]], rows[:, :2].astype("float32"), [[1, 2, 3], [1, 2, 3, 4]], [1, 2]):
        with pytest.raises(ShapeError, match=r"expected rows of 3 features, as in training, got shape .* of row [01]"):
            run("rows").predict(given)
    with pytest.raises(DTypeError, match="expected rows of numbers, got <U1 in row 0"):
        run("rows").predict([["a", "b", "c"]])
    with pytest.raises(DTypeError, match="expected integers"):
        run("sequences").predict(rows.astype("float32"))


def test_a_manifest_without_the_kind_of_examples(folder: Path, tmp_path: Path) -> None:
    run = copied(folder, tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest.pop("examples") == "images"
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert "images of shape 8x8x1" in repr(tgl.load_run(run))
    (run / "manifest.json").write_text(json.dumps({**manifest, "examples": "rows"}))
    with pytest.raises(StateError, match=r"expected the entry examples to be one of \('images', None\), got 'rows'"):
        tgl.load_run(run)


def test_a_missing_plugin_is_named_with_its_distribution(folder: Path, tmp_path: Path) -> None:
    run = copied(folder, tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    stranger = {"kind": "layers", "name": "acme.hardswish", "distribution": "acme-hardswish", "version": "0.1.0"}
    optimizer = {"kind": "optimizers", "name": "acme.lion", "distribution": "acme-lion", "version": "2.0"}
    for plugins, training_alone in (([stranger], False), ([optimizer], True)):
        text = json.dumps({**manifest, "plugins": [*manifest["plugins"], *plugins]})
        (run / "manifest.json").write_text(text)
        name, made_by, version = (plugins[0][key] for key in ("name", "distribution", "version"))
        told = rf"expected '{re.escape(name)}' among .* came with {made_by} {re.escape(version)}; pip install {made_by}"
        with pytest.raises(PluginError, match=told):
            run_recipe(read_run(run), Reporter(), resume=run)
        if training_alone:
            assert tgl.load_run(run).classes == tuple("0123456789")
        else:
            with pytest.raises(PluginError, match=told):
                tgl.load_run(run)


def test_a_third_party_plugin_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hardswish(tgl.Layer):
        def forward(self, *inputs: Any) -> Any:
            return inputs[0] * tgl.clip(inputs[0] / 6 + 0.5, 0, 1)

        def output_shape(self, *shapes: Any) -> Any:
            return shapes[0]

    model = {"name": "sequential", "layers": [LAYERS[0], LAYERS[1], {"name": "acme.hardswish"}]}
    with monkeypatch.context() as patch:
        target = f"{Hardswish.__module__}:{Hardswish.__qualname__}"
        plugin = Plugin("acme.hardswish", target, "acme-hardswish", "0.1.0", None)
        patch.setitem(layers.plugins(), "acme.hardswish", [plugin])
        patch.setitem(layers._loaded, "acme.hardswish", Hardswish)
        folder = trained(tmp_path, model=model, training={"epochs": 1})
        assert tgl.load_run(folder).evaluate().accuracy > 0
    with pytest.raises(PluginError, match=r"'acme.hardswish' .*; it came with acme-hardswish 0\.1\.0; pip install"):
        tgl.load_run(folder)


def test_a_resumed_run_keeps_the_folder_of_its_pictures(of_pictures: Path, tmp_path: Path) -> None:
    run = copied(of_pictures, tmp_path)
    for name in ("result.json", "weights.safetensors"):
        (run / name).unlink()
    for path in (run / "checkpoints").glob("step-*"):
        path.unlink()
    assert run_recipe(read_run(run), Reporter(), resume=run)["epochs"] == 2
    assert tgl.load_run(run).evaluate().data == "image_folder test"


def test_the_manifest_names_every_plugin_and_version(folder: Path) -> None:
    manifest = read_manifest(folder, "test", cure="none")
    found = {(plugin["kind"], plugin["name"]) for plugin in manifest.plugins}
    assert found == {
        ("augmentations", "flip"),
        ("augmentations", "normalize"),
        ("datasets", "digits"),
        ("layers", "dense"),
        ("layers", "flatten"),
        ("layers", "sequential"),
        ("losses", "softmax_cross_entropy"),
        ("optimizers", "sgd"),
    }
    assert all(plugin["distribution"] == layers.plugin("dense").distribution for plugin in manifest.plugins)
    assert manifest.versions["tinygrad-lab"] == tgl.__version__
    assert manifest.versions["numpy"] == np.__version__
    assert [step["name"] for step in manifest.preprocessing] == ["normalize"]


def test_a_recipe_of_a_run_can_be_trained_again(folder: Path, tmp_path: Path) -> None:
    recipe = find_recipe(str(folder / "recipe.json"))
    assert recipe.tables == read_run(folder).tables
    assert recipe.argument == str(folder / "recipe.json")
    result = run_recipe(recipe, Reporter(), runs=tmp_path)
    assert result["figures"] == json.loads((folder / "result.json").read_text())["figures"]
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"expected the recipe.json of a run, .* got other JSON"):
        find_recipe(str(tmp_path / "other.json"))
