"""The page of a run: its numbers are those of the network, it loads no other file, and names in it are only text."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinygrad_lab as tgl
from tests.inspect.test_cut import Twice
from tests.inspect.test_run import LAYERS, TABLES, trained
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.cli import main
from tinygrad_lab.errors import OptionError
from tinygrad_lab.inspect import Run, class_activation
from tinygrad_lab.inspect.page import _from_each_cell, run_page
from tinygrad_lab.inspect.page.figures import _histogram, dead_units
from tinygrad_lab.inspect.page.sprites import pictures, sprite
from tinygrad_lab.registry import Plugin, layers
from tinygrad_lab.train import find_recipe, run_recipe
from tinygrad_lab.train.progress import Reporter

EVIL = "</script><img src=x onerror=alert(1)>&amp;'\""
CONV = {"name": "conv2d", "in_channels": 1, "out_channels": 6, "kernel_size": 3, "activation": "relu"}
GAP = [CONV, {"name": "dropout", "rate": 0.1}, {"name": "global_avg_pool2d"}]
HEAD = {"name": "dense", "in_features": 6, "out_features": 10}


def sequential(*parts: Any) -> dict[str, Any]:
    return {"name": "sequential", "layers": list(parts)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs, of a network that ends in an average and a dense layer."""
    model = sequential(*GAP, HEAD)
    return trained(tmp_path_factory.mktemp("runs"), model=model, training={"epochs": 4})


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return run_page(tgl.load_run(folder), mistakes=10, images=40, picked=[3])


def content(page: str) -> Any:
    """Return the data in the page."""
    (found,) = re.findall(r'<script type="application/json" id="data">([^<]*)</script>', page)
    return json.loads(found)


def tiles(found: dict[str, Any]) -> Any:
    """The pictures of a sprite."""
    whole = Image.open(io.BytesIO(base64.b64decode(found["png"].partition(",")[2])))
    pixels = np.asarray(whole)
    height, width, columns = found["height"], found["width"], found["columns"]
    places = [(n // columns * height, n % columns * width) for n in range(found["count"])]
    return np.stack([pixels[y : y + height, x : x + width] for y, x in places])


class Reader(HTMLParser):
    """Elements and attributes of a page."""

    VOID = ("meta", "br", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open += [tag] * (tag not in self.VOID)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    reader = Reader(page)
    assert not reader.open
    tags = Counter(tag for tag, _ in reader.found)
    assert tags["script"] == 2
    assert not tags.keys() & {"img", "link", "iframe", "object"}
    assert not any({"src", "onclick", "onerror"} & attributes.keys() for _, attributes in reader.found)
    assert all(a["href"].startswith("#") for tag, a in reader.found if tag == "a" and a["href"])
    outside = set(re.findall(r"https?://[^\s\"'`)]+", page)) - {"http://www.w3.org/2000/svg"}  # the name of a namespace
    assert not outside
    assert not re.search(r"url\(|@import|innerHTML|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page
    ids = [a["id"] for _, a in reader.found if "id" in a]
    assert len(ids) == len(set(ids))
    assert len(page) < 200_000


def test_classes_and_pictures_are_those_of_the_validation_images(page: str, folder: Path) -> None:
    run, found = tgl.load_run(folder), content(page)
    data, report = run.data(), run.evaluate(split="validation")
    assert found["images"]["labels"] == data.labels.tolist()
    assert found["images"]["predicted"] == report.prediction.labels.tolist()
    assert found["run"]["classes"] == list(run.classes)
    shown = found["images"]["shown"]
    np.testing.assert_array_equal(tiles(found["images"]["sprite"]), data.images[shown, :, :, 0])
    assert set(found["chosen"]) <= set(shown)
    assert found["chosen"][0] == 3
    mistakes = [n for n in found["chosen"][1:] if report.prediction.labels[n] != report.labels[n]]
    confidence = report.prediction.probabilities.max(axis=1)
    wrong = report.prediction.labels != report.labels
    expected = sorted(np.flatnonzero(wrong), key=lambda n: -confidence[n])[:10]
    assert [n for n in expected if n != 3] == mistakes
    assert found["run"]["curves"][1]["accuracy"][-1] == pytest.approx(
        json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["validation"]["accuracy"], rel=1e-3
    )


def test_each_pruning_is_that_of_the_pruned_run(page: str, folder: Path) -> None:
    run, found = tgl.load_run(folder), content(page)["planes"]
    assert (found["path"], found["numbers"], found["size"]) == ("0", [0, 1, 2, 3, 4, 5], "6x6")
    before = run.evaluate(split="validation").prediction.labels
    assert any(found["changed"])
    for plane, changed in zip(found["numbers"], found["changed"], strict=True):
        expected = before.copy()
        expected[changed[::2]] = changed[1::2]
        after = run.prune(plane).evaluate(split="validation").prediction.labels
        np.testing.assert_array_equal(after, expected)


def test_contributions_sum_to_the_logits(page: str, folder: Path) -> None:
    run, found = tgl.load_run(folder), content(page)
    planes, chosen = found["planes"], found["chosen"]
    x = run.prepare(run.data().images[chosen])
    with no_grad():
        logits = unbox(run.model(tgl.tensor(x)))
    assert [right for _, right in planes["classes"]] == run.data().labels[chosen].tolist()
    expected = np.take_along_axis(logits, np.array(planes["classes"]), axis=1)
    decisions = planes["decisions"]
    total = np.array(decisions["amounts"]).sum(axis=1) + decisions["rest"] + decisions["others"]
    np.testing.assert_allclose(total, expected, rtol=1e-2, atol=1e-2)  # written with four digits
    np.testing.assert_allclose(decisions["logits"], expected, rtol=1e-3)
    bias = run.model[-1].bias.value[planes["classes"]]
    np.testing.assert_allclose(decisions["rest"], bias, rtol=1e-2, atol=1e-5)


def test_class_activation_maps_are_drawn_of_both_classes(page: str, folder: Path) -> None:
    run, found = tgl.load_run(folder), content(page)
    planes, chosen = found["planes"], found["chosen"]
    assert planes["decisions"]["method"] == "CAM"
    activation = class_activation(run.model, run.prepare(run.data().images[chosen])).clip(0)
    drawn = tiles(planes["decisions"]["heat"]).reshape(len(chosen), 2, 6, 6)
    for n, both in enumerate(planes["classes"]):
        maps = activation[n][..., both].transpose(2, 0, 1)
        np.testing.assert_allclose(drawn[n], 255 * maps / maps.max(), atol=0.51)
        assert planes["decisions"]["empty"][n] == [not one.any() for one in maps]


def test_exciting_images_are_those_with_the_highest_means(page: str, folder: Path) -> None:
    run, found = tgl.load_run(folder), content(page)["planes"]["exciting"]
    train = run.data("train")
    with no_grad():
        means = unbox(run.model[:1](run.prepare(train.images))).mean(axis=(1, 2))
    drawn = tiles(found["sprite"])
    for plane, row in enumerate(found["tiles"]):
        best = np.sort(means[:, plane])[::-1][:6]
        np.testing.assert_allclose(found["means"][plane], best, rtol=1e-3)
        np.testing.assert_array_equal(drawn[row[0]], train.images[means[:, plane].argmax(), :, :, 0])
    assert found["searched"] == len(train) == 100


def test_values_by_epoch(page: str, folder: Path) -> None:
    found = content(page)["histograms"]
    assert [e["epoch"] for e in found["epochs"]][:1] == [0]
    assert found["epochs"][0]["label"] == "epoch 0, before training"
    assert {3, 4} < {e["epoch"] for e in found["epochs"]} <= {0, 1, 2, 3, 4}
    assert not found["problems"]
    run = tgl.load_run(folder)
    (last,) = (e for e in found["epochs"] if e["used"])
    assert "best on validation" in last["label"]
    with no_grad():
        logits = unbox(run.model(run.prepare(run.data().images)))  # fewer images than are counted at most
    assert found["images"] == len(logits)
    assert last["layers"][-1]["layer"] == "3 (dense)"
    assert last["layers"][-1]["output"]["rms"] == pytest.approx(np.sqrt((logits.astype(float) ** 2).mean()), rel=1e-3)
    assert last["layers"][0]["gradient"]["rms"] > 0


def test_a_damaged_checkpoint_is_named_and_left_out(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    third = min((copy / "checkpoints").glob("step-*"))
    third.write_bytes(third.read_bytes()[:-5])
    (copy / "metrics.jsonl").unlink()  # as in a folder that was handed on
    found = content(run_page(tgl.load_run(copy), mistakes=1, images=1))
    assert third.name in found["histograms"]["problems"][0]
    assert found["run"]["curves"] == []
    assert [e["label"] for e in found["histograms"]["epochs"] if e["used"]] == ["best weights"]


def test_histograms_count_zeros_apart() -> None:
    found = _histogram(np.array([0.0, 0.0, 1.0, 1.0, 3.0, np.nan], "float32"))
    assert (found["zeros"], found["lost"], found["low"], found["high"]) == (0.3333, 1, 1.0, 2.996)
    assert (found["counts"][0], found["counts"][-1], sum(found["counts"])) == (1000, 500, 1500)
    assert _histogram(np.zeros(3, "float32"))["counts"] == []
    assert max(_histogram(np.full(9, -7.0, "float32"))["counts"]) == 1000


def test_dead_units() -> None:
    model = tgl.Sequential(layers["dense"](4, 5, activation="relu", rng=0), layers["sigmoid"]())
    bias = np.array([-100, 1, -100, 1, 1], "float32")
    model[0].bias.assign(bias)
    rows = dead_units(model, np.random.default_rng(0).random((3, 7, 4)).astype("float32"))
    assert rows[0] == {"layer": "0 (dense)", "units": 5, "dead": 2, "zero": 2, "list": [0, 2]}
    assert rows[1] == {"layer": "1 (sigmoid)", "units": 5, "dead": 2, "zero": 0, "list": [0, 2]}


def test_every_cell_has_a_picture_before_any_has_two() -> None:
    rng = np.random.default_rng(0)
    labels, predicted, confidence = rng.integers(0, 3, 200), rng.integers(0, 3, 200), rng.random(200)
    for limit in (1, 9, 20, 500):
        taken = _from_each_cell(labels, predicted, confidence, limit)
        assert len(set(taken.tolist())) == min(limit, 200)
        sizes = Counter(zip(labels[taken].tolist(), predicted[taken].tolist(), strict=True))
        if limit == 9:
            assert set(sizes.values()) == {1}
            assert confidence[taken].min() > 0.5  # the most confident of each
        if limit == 1:
            assert labels[taken] != predicted[taken]


@pytest.mark.parametrize("shape", [(5, 3, 4, 1), (7, 4, 3, 3), (2, 128, 64, 3), (1, 5, 5, 2), (3, 4, 4, 1)])
def test_sprites_keep_their_pictures(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = pictures(images)
    assert max(found.shape[1:3]) <= 64
    np.testing.assert_array_equal(tiles(sprite(found)), found)
    if max(shape[1:3]) <= 64 and shape[3] in (1, 3):
        np.testing.assert_array_equal(found, images.reshape(found.shape))
        np.testing.assert_array_equal(pictures((images / 255).astype("float32")), found)


def test_a_network_of_dense_layers_has_no_planes(tmp_path: Path) -> None:
    page = run_page(tgl.load_run(trained(tmp_path, training={"epochs": 1})), mistakes=2, images=2)
    found = content(page)
    assert found["planes"] is None
    assert found["features"] == []
    assert found["filters"]["size"] == "10 filters of 8x8x1"  # the weights, laid out as the image is
    assert found["units"]["layers"]
    assert "do not apply" in page


def test_a_network_of_a_strangers_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin("acme.twice", f"{Twice.__module__}:Twice", "acme-twice", "0.1.0", None)
    monkeypatch.setitem(layers.plugins(), "acme.twice", [plugin])
    monkeypatch.setitem(layers._loaded, "acme.twice", Twice)
    conv = {**CONV, "out_channels": 4, "padding": 1}
    block = {"name": "residual", "inner": sequential({**conv, "in_channels": 4}, {"name": "batch_norm", "channels": 4})}
    branches = {"name": "parallel_concat", "branches": [{**conv, "out_channels": 2}, {**conv, "out_channels": 2}]}
    parts = (branches, block, {"name": "acme.twice"}, LAYERS[0], {**LAYERS[1], "in_features": 256})
    run = tgl.load_run(trained(tmp_path, model=sequential(*parts), training={"epochs": 1}))
    found = content(run_page(run, mistakes=3, images=3, planes=2))
    planes = found["planes"]
    assert (planes["layer"], planes["count"], len(planes["numbers"])) == ("2 (acme.twice)", 4, 2)
    assert planes["decisions"]["method"] == "Grad-CAM"
    total = np.array(planes["decisions"]["amounts"]).sum(axis=1) + planes["decisions"]["others"]
    np.testing.assert_allclose(total + planes["decisions"]["rest"], planes["decisions"]["logits"], atol=0.02)
    layers_shown = [row["layer"] for row in found["features"]]
    assert {"1 (residual)", "2.conv (conv2d)", "2 (acme.twice)"} <= set(layers_shown)
    assert content(run_page(run, layer="1", mistakes=1, images=1))["planes"]["layer"] == "1 (residual)"


def test_sequences_have_no_pictures(tmp_path: Path) -> None:
    recipe = find_recipe("digit_sequences").override(["training.epochs=1", "data.per_class=10", "data.validation=0.1"])
    run = tgl.load_run(run_recipe(recipe, Reporter(), runs=tmp_path)["run"])
    page = run_page(run, mistakes=2, images=2)
    found, data = content(page), run.data()
    assert (found["planes"], found["features"], found["images"]["sprite"]) == (None, [], None)
    assert found["run"]["noun"] == "sequences"
    first = data.images[found["images"]["shown"][0]]
    assert [int(number) for number in found["images"]["texts"][0].split()] == first[first > 0][:16].tolist()
    assert found["filters"]["why"].startswith("The first layer with weights")
    assert found["histograms"]["epochs"][-1]["layers"]


def test_names_are_text(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["classes"][3] = EVIL
    (copy / "manifest.json").write_text(json.dumps(manifest))
    recipe = json.loads((copy / "recipe.json").read_text())
    recipe["recipe"] = {"title": EVIL}
    (copy / "recipe.json").write_text(json.dumps(recipe))
    run = tgl.load_run(copy)
    page = run_page(run, mistakes=1, images=1, planes=1)
    assert EVIL not in page
    assert "onerror=alert(1)>" not in page
    assert page.count(html.escape(EVIL)) == 2  # the title and the heading
    assert content(page)["run"]["classes"][3] == EVIL
    assert Counter(tag for tag, _ in Reader(page).found)["img"] == 0


def test_looks_at_test_images_are_counted(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    run, result = tgl.load_run(copy), copy / "result.json"
    before = json.loads(result.read_text())
    run_page(run, mistakes=1, images=1, planes=1)
    with pytest.raises(OptionError):
        run_page(run, split="test", layer="none")
    assert json.loads(result.read_text()) == before
    found = content(run_page(run, split="test", mistakes=1, images=1, planes=1))
    assert len(found["images"]["labels"]) == 359
    assert found["looks"] == before["test_looks"] + 1
    assert json.loads(result.read_text()) == {**before, "test_looks": before["test_looks"] + 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, "expected split 'validation' or 'test', got 'train'"),
        ({"mistakes": 0, "planes": -1}, r"expected counts of 1 or more, got {'mistakes': 0, 'planes': -1}"),
        ({"picked": [0, 999]}, r"expected images from 0 to \d+, got \[999\]"),
        ({"layer": "conv"}, "expected the path of a layer, got 'conv'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(OptionError, match=message):
        run_page(tgl.load_run(folder), **options)


def test_a_run_without_validation_images_says_so(tmp_path: Path) -> None:
    run: Run = tgl.load_run(trained(tmp_path, data={**TABLES["data"], "validation": 0.0}, training={"epochs": 1}))
    with pytest.raises(OptionError, match=r"\['train', 'test'\], got 'validation'; train with data.validation=0.1"):
        run_page(run)


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    call = ["inspect", str(copy), "--mistakes", "2", "--images", "5", "--planes", "3", "--pick", "4", "1"]
    assert main(call) == 0
    page = (copy / "inspect.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith(f"{copy / 'inspect.html'}: 0.")
    found = content(page)
    assert found["chosen"][:2] == [4, 1]
    assert len(found["planes"]["numbers"]) == 3
    assert main([*call, "-o", str(tmp_path / "none" / "page.html")]) == 1
    assert capsys.readouterr().err.startswith("tinygrad-lab inspect: expected to write ")
    assert main(["inspect", str(copy), "--layer", "3"]) == 1
    assert "expected maps (N, H, W, C) from layer '3', got shape" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_program_shows_the_pruned_network(page: str, folder: Path, tmp_path: Path) -> None:
    """Node runs the program. The matrix is right before a pruning, after it and after undo, and so is a cell."""
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    script = """
        const cells = () => document.getElementById("matrix").all.filter((n) => n.nodeName === "TD").slice(1)
          .map((n) => parseInt(n.children[0].children?.[0]) || 0);
        const found = { before: cells(), accuracy };
        const button = document.querySelectorAll("[data-plane]").find((n) => n.dataset.plane === "2");
        button.listeners.click();
        Object.assign(found, { after: cells(), banner: document.getElementById("pruned").textContent });
        const undo = document.getElementById("pruned").all.find((n) => n.textContent === "Undo");
        undo.listeners.click();
        Object.assign(found, { undone: cells(), hidden: document.getElementById("pruned").hidden });
        showCell(images.labels[3], images.predicted[3]);
        found.cell = document.getElementById("cell").textContent;
        console.log(JSON.stringify(found));
    """
    program = Path(__file__).with_name("page_in_node.js")
    command = ["node", program, tmp_path / "page.html", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown, run = json.loads(done.stdout), tgl.load_run(folder)
    before, after = (r.evaluate(split="validation") for r in (run, run.prune(2)))
    assert shown["before"] == shown["undone"] == before.confusion.ravel().tolist()
    assert shown["after"] == after.confusion.ravel().tolist()
    assert shown["after"] != shown["before"]
    assert f"{before.accuracy:.2%}".replace("%", " %") in shown["banner"]
    assert f"{after.accuracy:.2%}".replace("%", " %") in shown["banner"]
    assert shown["hidden"]
    assert "#3" in shown["cell"]
