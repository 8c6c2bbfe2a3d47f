"""The drawing of a network: valid SVG with a title, all layers, and no overlaps."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import tinygrad_lab as tgl
from tinygrad_lab import Layer, Sequential
from tinygrad_lab.cli import main
from tinygrad_lab.errors import ConfigError, PluginError, ShapeError
from tinygrad_lab.inspect import Drawing, draw, draw_model, summarize_model
from tinygrad_lab.registry import models
from tinygrad_lab_layers import Conv2d, Dense, Flatten, Inception, ParallelConcat, ReLU, Residual, Tanh

SVG = "{http://www.w3.org/2000/svg}"


def titles(drawing: Drawing) -> list[str]:
    return [box.block.title for box in drawing.boxes]


def assert_apart(drawing: Drawing) -> None:
    for a, b in combinations(drawing.boxes, 2):
        beside = a.x + a.width <= b.x or b.x + b.width <= a.x
        assert beside or a.y + a.height <= b.y or b.y + b.height <= a.y, (a, b)
    for box in drawing.boxes:
        assert 0 <= box.x <= box.x + box.width <= drawing.width
        assert 0 <= box.y <= box.y + box.height <= drawing.height


LONG = {"resnet101", "resnet152"}  # seconds to draw


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in sorted(models)])
def test_every_layer_of_every_network_is_drawn_and_nothing_overlaps(name: str) -> None:
    drawing = draw_model(name, fold=False)
    tips = [box.block.tip for box in drawing.boxes]
    for row in summarize_model(name).layers[1:]:
        shape = "×".join(map(str, row.output_shape))
        framed = f">{row.name} · {row.kind.replace('_', ' ')}<" in drawing.svg  # a layer with products and inner layers
        assert framed or any(tip.startswith(f"{row.name} ({row.kind})") and f"→ {shape}" in tip for tip in tips), row
    for fold in (False, True):
        assert_apart(draw_model(name, fold=fold))


def test_the_drawing_is_xml_with_a_title_and_a_description() -> None:
    drawing = draw_model("lenet5")
    root = ET.fromstring(drawing.svg)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == root.findtext(f"{SVG}title") == "lenet5: 32×32×1 → 10"
    assert "c1 (conv2d): 32×32×1 → 28×28×6, 156 parameters, 117,600 multiply-adds" in root.findtext(f"{SVG}desc", "")
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"conv 5×5, ReLU", "c1", "28×28×6", "max-pool 2×2", "dense, ReLU", "120"} <= set(texts)
    assert drawing._repr_svg_() == drawing.svg


def test_colors_suit_light_and_dark_pages() -> None:
    root = ET.fromstring(draw_model("resnet18").svg)
    style = root.findtext(f"{SVG}style", "")
    assert style.startswith("@media (prefers-color-scheme: dark)")
    styled = set(re.findall(r"\.(tgl-\w+) ", style))
    for group in root.iter(f"{SVG}g"):  # the color of text on a fill changes with the fill
        assert {child.attrib["class"] for child in group if "class" in child.attrib} <= styled
    outside = [*root.findall(f"{SVG}text"), *root.findall(f"{SVG}polyline"), *root.findall(f"{SVG}rect")]
    assert {child.attrib["fill"] for child in outside} == {"#808080", "none"}  # gray is visible on both


def test_branches_are_side_by_side() -> None:
    module = Inception(8, conv1x1=2, reduce3x3=3, conv3x3=4, reduce5x5=1, conv5x5=2, pool_proj=2, rng=0)
    drawing = draw(module, (6, 6, 8))
    boxes = {box.block.tip.partition(" ")[0]: box for box in drawing.boxes}
    branches = [boxes[f"branches.{name}"] for name in ("1x1", "3x3.conv", "5x5.conv", "pool.proj")]
    assert [box.x for box in branches] == sorted(box.x for box in branches)
    assert all(a.x + a.width < b.x for a, b in pairwise(branches))
    join = drawing.boxes[-1]
    assert (join.block.title, join.block.shape) == ("concatenate", "6×6×10")
    assert all(box.y + box.height < join.y for box in branches)
    assert_apart(drawing)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "identity"),
        ({"shortcut": "padded", "channels": (4, 4)}, "padded"),
        ({"shortcut": "projected", "channels": (4, 4), "rng": 0}, "conv 1×1"),
    ],
)
def test_a_shortcut_runs_beside_its_block(options: Any, word: str) -> None:
    block = Residual(Sequential(Conv2d(4, 4, kernel_size=3, padding=1, rng=0), ReLU()), **options)
    drawing = draw(block, (5, 5, 4))
    conv = next(box for box in drawing.boxes if box.block.title == "conv 3×3")
    short = next(box for box in drawing.boxes if box.block.title == word)
    assert conv.x + conv.width < short.x
    assert (drawing.boxes[-1].block.title, drawing.boxes[-1].block.shape) == ("add, ReLU", "5×5×4")
    assert_apart(drawing)


def test_equal_blocks_are_folded_unless_folding_is_off() -> None:
    folded, whole = draw_model("resnet34"), draw_model("resnet34", fold=False)
    assert "stage3.1 … 5 · residual × 5" in folded.svg
    assert len(whole.boxes) - len(folded.boxes) == (2 + 2 + 4 + 1) * 6  # six boxes a block
    alike = [Sequential(Dense(4, 4, rng=0), ReLU()) for _ in range(3)]
    other = Sequential(Dense(4, 4, rng=0), Tanh())
    assert titles(draw(Sequential(*alike, other), (4,))) == ["input", "dense", "ReLU", "dense", "tanh"]


def test_a_long_network_continues_in_a_second_column() -> None:
    def lefts(name: str) -> set[float]:
        return {box.x + box.width / 2 for box in draw_model(name).boxes}

    assert len(lefts("lenet5")) == 1
    assert len(lefts("vgg16")) == 2


def test_layers_of_the_user_are_drawn() -> None:
    class Net(Layer):
        def __init__(self) -> None:
            self.left, self.right, self.out = Dense(4, 3, rng=0), Dense(4, 2, rng=0), Dense(5, 2, rng=0)

        def output_shape(self, shape: Any) -> Any:
            self.left.output_shape(shape), self.right.output_shape(shape)
            return self.out.output_shape((shape[0], 5))

    drawing = draw(Net(), (4,), name="<mine> & yours")
    assert ET.fromstring(drawing.svg).findtext(f"{SVG}title") == "<mine> & yours: 4 → 2"
    assert [box.block.name for box in drawing.boxes] == ["", "left", "right", "out", ""]
    assert titles(draw(Dense(3, 2, rng=0), (3,))) == ["input", "dense"]
    assert titles(draw(Sequential(), (3,))) == ["input", "sequential"]


def test_layers_with_several_inputs() -> None:
    class Add(Layer):
        def output_shape(self, left: Any, right: Any) -> Any:
            return left

    drawing = draw(Add(), ((4, 8), (4, 8)))
    assert drawing.title == "Add: 4×8 and 4×8 → 4×8"
    assert titles(drawing) == ["input 1", "input 2", "Add"]
    assert titles(draw(Sequential(Add(), ReLU()), [(3,), (3,)])) == ["input 1", "input 2", "inputs", "Add", "ReLU"]
    assert_apart(drawing)


def test_a_chain_of_equal_shapes_is_not_drawn_as_branches() -> None:
    drawing = draw(Sequential(ReLU(), Tanh(), ReLU()), (3,))
    assert titles(drawing) == ["input", "ReLU", "tanh", "ReLU"]
    assert len({box.x for box in drawing.boxes}) == 1


def test_nested_branches() -> None:
    inner = ParallelConcat([Conv2d(2, 2, kernel_size=1, rng=0), Residual(Conv2d(2, 2, kernel_size=1, rng=0))])
    drawing = draw(Sequential(ParallelConcat([inner, ReLU(), Sequential(ReLU(), Tanh())]), Flatten()), (4, 4, 2))
    assert titles(drawing).count("concatenate") == 2
    assert_apart(drawing)


def test_drawing_runs_nothing_and_keeps_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a drawing needs shapes alone")

    monkeypatch.setattr(Layer, "__call__", refuse)
    model = Sequential({"conv": Conv2d(3, 4, kernel_size=3, rng=0), "flatten": Flatten(), "out": Dense(36, 2, rng=0)})
    before = {name: list(vars(layer)) for name, layer in model.layers().items()}
    assert tgl.inspect.draw(model, image=(5, 5, 3)).title == "Sequential: 5×5×3 → 2"
    with pytest.raises(ShapeError):
        draw(model, (2, 2, 3))
    assert {name: list(vars(layer)) for name, layer in model.layers().items()} == before


def test_the_command_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.svg"
    assert main(["draw", "lenet5", "-o", str(path), "--set", "classes=7"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert ET.parse(path).getroot().findtext(f"{SVG}title") == "lenet5: 32×32×1 → 7"


def test_the_file_has_the_name_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "resnet20"]) == 0
    folded = Path("resnet20.svg").read_text(encoding="utf-8")
    assert main(["draw", "resnet20", "--unfolded"]) == 0
    assert len(Path("resnet20.svg").read_text(encoding="utf-8")) > len(folded)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg61"], "did you mean"),
        (["lenet5", "-o", "net.png"], "ends in .svg, got net.png"),
        (["lenet5", "-o", "no/such/folder/net.svg"], "expected to write no/such/folder/net.svg, got No such file"),
        (["lenet5", "--set", "classes"], "expected option=value"),
        (["alexnet_small", "--set", "padding=none"], "'conv5'"),
    ],
)
def test_errors_of_the_command_name_the_mistake(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_errors_of_the_function_name_the_mistake() -> None:
    with pytest.raises(PluginError, match="did you mean"):
        draw_model("googlenett")
    with pytest.raises(ConfigError, match="expected the option `image` to be"):
        draw_model("lenet5", {"image": [32, 0, 1]})
