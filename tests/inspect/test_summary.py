"""The summary of a network, computed from shapes alone, equals the tables of the sources and papers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tinygrad_lab import Layer, Sequential, initializers
from tinygrad_lab.errors import ConfigError, OptionError, PluginError, ShapeError
from tinygrad_lab.inspect.summary import summarize, summarize_model
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, Flatten, ParallelConcat, ReLU, Residual

TEN_LAYER = [
    ("input", (32, 32, 3), 0),
    ("conv2d", (32, 32, 64), 256),
    ("batch_norm", (32, 32, 64), 256),
    ("relu", (32, 32, 64), 0),
    ("conv2d", (30, 30, 64), 36_928),
    ("batch_norm", (30, 30, 64), 256),
    ("relu", (30, 30, 64), 0),
    ("conv2d", (26, 26, 64), 102_464),
    ("batch_norm", (26, 26, 64), 256),
    ("relu", (26, 26, 64), 0),
    ("dropout", (26, 26, 64), 0),
    ("max_pool2d", (13, 13, 64), 0),
    ("conv2d", (13, 13, 128), 8_320),
    ("batch_norm", (13, 13, 128), 512),
    ("relu", (13, 13, 128), 0),
    ("conv2d", (11, 11, 128), 147_584),
    ("batch_norm", (11, 11, 128), 512),
    ("relu", (11, 11, 128), 0),
    ("conv2d", (7, 7, 128), 409_728),
    ("batch_norm", (7, 7, 128), 512),
    ("relu", (7, 7, 128), 0),
    ("dropout", (7, 7, 128), 0),
    ("conv2d", (7, 7, 256), 33_024),
    ("batch_norm", (7, 7, 256), 1_024),
    ("relu", (7, 7, 256), 0),
    ("conv2d", (5, 5, 256), 590_080),
    ("batch_norm", (5, 5, 256), 1_024),
    ("relu", (5, 5, 256), 0),
    ("conv2d", (1, 1, 256), 1_638_656),
    ("batch_norm", (1, 1, 256), 1_024),
    ("relu", (1, 1, 256), 0),
    ("dropout", (1, 1, 256), 0),
    ("flatten", (256,), 0),
    ("dense", (10,), 2_570),
]


def test_the_table_of_ten_layer_equals_that_of_its_source() -> None:
    summary = summarize_model("ten_layer")
    assert [(row.kind, row.output_shape, row.parameters) for row in summary.layers] == TEN_LAYER
    assert summary.total_parameters == 2_974_986
    assert summary.trainable_parameters == 2_972_298
    assert summary.non_trainable_parameters == 2_688
    assert summary.multiply_adds == 159_885_824
    assert summary.depth == 10


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("alexnet", 8),
        ("alexnet_small", 8),
        ("cuda_convnet", 5),
        ("gap7", 4),
        ("googlenet", 22),
        ("lenet5", 5),
        ("nin", 9),
        ("plain20", 20),
        ("resnet18", 18),
        ("resnet20", 20),
        ("resnet34", 34),
        ("resnet50", 50),
        ("resnet56", 56),
        ("vgg11", 11),
        ("vgg16", 16),
        ("vgg19", 19),
        ("zfnet", 8),
    ],
)
def test_the_depth_equals_that_of_the_paper_and_rows_add_up(name: str, depth: int) -> None:
    summary = summarize_model(name)
    assert summary.depth == depth
    assert sum(row.parameters for row in summary.layers) == summary.total_parameters
    assert sum(row.multiply_adds for row in summary.layers) == summary.multiply_adds


def test_auxiliary_classifiers_have_rows_but_add_no_depth() -> None:
    summary = summarize_model("googlenet", {"auxiliary": True})
    assert (summary.depth, summary.total_parameters) == (22, 13_378_280)
    rows = {row.name: row for row in summary.layers}
    assert rows["auxiliary_inception4a.conv"].output_shape == (4, 4, 128)
    assert rows["auxiliary_inception4d.dense"].parameters == 2_098_176
    assert sum(row.parameters for row in summary.layers) == summary.total_parameters


def test_no_weights_are_drawn_and_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a summary needs neither weights nor results")

    monkeypatch.setattr(Layer, "__call__", refuse)
    monkeypatch.setattr(Conv2d, "forward", refuse)
    monkeypatch.setattr(initializers, "as_rng", lambda _: None)
    assert summarize_model("vgg16").total_parameters == 138_357_544


def test_frozen_layers_count_as_not_trainable_and_the_model_is_kept() -> None:
    model = Sequential({"conv": Conv2d(3, 4, kernel_size=3, rng=0), "flatten": Flatten(), "out": Dense(36, 2, rng=0)})
    before = {name: dict(vars(layer)) for name, layer in model.layers().items()}
    model.children()["conv"].freeze()
    summary = summarize(model, (5, 5, 3), name="mine")
    assert (summary.model, summary.trainable_parameters, summary.non_trainable_parameters) == ("mine", 74, 112)
    assert all(vars(layer).keys() == before[name].keys() for name, layer in model.layers().items())
    with pytest.raises(ShapeError):
        summarize(model, (2, 2, 3))
    assert all(vars(layer).keys() == before[name].keys() for name, layer in model.layers().items())


def test_the_depth_of_branches_is_that_of_the_longest() -> None:
    def conv() -> Conv2d:
        return Conv2d(2, 2, kernel_size=1, rng=0)

    two = Sequential(conv(), ReLU(), conv())
    assert summarize(ParallelConcat([conv(), two]), (4, 4, 2)).depth == 2
    block = Residual(two, shortcut="projected", channels=(2, 2), rng=0)
    summary = summarize(Sequential(block, conv()), (4, 4, 2))
    assert summary.depth == 3
    assert [row.kind for row in summary.layers].count("conv2d") == 4
    assert summary.total_parameters == 3 * 6 + 4 + 8


def test_a_layer_applied_twice_has_one_row_with_the_work_of_both() -> None:
    dense = Dense(3, 3, rng=0)
    summary = summarize(Sequential(dense, ReLU(), dense), (3,))
    assert [row.kind for row in summary.layers] == ["input", "dense", "relu"]
    assert summary.layers[1].multiply_adds == summary.multiply_adds == 18
    assert (summary.total_parameters, summary.depth) == (12, 2)


def test_layers_of_the_user_are_summarized() -> None:
    class Net(Layer):
        def __init__(self) -> None:
            self.hidden, self.norm, self.out = Dense(4, 3, rng=0), BatchNorm(3), Dense(3, 2, rng=0)

        def output_shape(self, shape: Any) -> Any:
            return self.out.output_shape(self.norm.output_shape(self.hidden.output_shape(shape)))

    summary = summarize(Net(), (4,))
    assert (summary.model, summary.depth) == ("Net", 2)
    assert [row.name for row in summary.layers] == ["input", "hidden", "norm", "out"]


class Squeeze(Layer):
    """A block of two dense layers, whose `output_shape` may call them and which may count their multiply-adds."""

    def __init__(self, *, calls: bool, counts: bool) -> None:
        self.calls, self.counts = calls, counts
        self.down, self.up = Dense(8, 2, rng=0), Dense(2, 8, rng=0)

    def output_shape(self, shape: Any) -> Any:
        return self.up.output_shape(self.down.output_shape(shape)) if self.calls else shape

    def multiply_adds(self, *shapes: Any) -> int:
        return 32 if self.counts else 0


@pytest.mark.parametrize("calls", [True, False])
@pytest.mark.parametrize("counts", [True, False])
def test_rows_of_a_composite_layer_add_up_to_the_totals(calls: bool, counts: bool) -> None:
    model = Sequential(Squeeze(calls=calls, counts=counts), Dense(8, 3, rng=0))
    summary = summarize(model, (8,))
    work = 32 * (calls or counts)
    assert [(row.kind, row.parameters, row.multiply_adds) for row in summary.layers[1:]] == [
        *([("dense", 18, 16), ("dense", 24, 16)] if calls else [("Squeeze", 42, work)]),
        ("dense", 27, 24),
    ]
    assert summary.total_parameters == 69
    assert summary.multiply_adds == work + 24


def test_the_summary_can_be_written_as_json() -> None:
    summary = summarize_model("lenet5").as_json()
    assert json.loads(json.dumps(summary)) == summary


def test_activation_memory_is_four_bytes_an_element() -> None:
    summary = summarize(Sequential(Dense(4, 3, rng=0), ReLU()), (4,))
    assert summary.activation_memory == 4 * (4 + 3 + 3)


def test_wrong_models_and_options_are_refused() -> None:
    with pytest.raises(PluginError, match=r"did you mean .*'vgg16'"):
        summarize_model("vgg61")
    with pytest.raises(ConfigError, match=r"option of 'lenet5': .*got 'clases'; did you mean 'classes'"):
        summarize_model("lenet5", {"clases": 3})
    with pytest.raises(OptionError, match="'lenet5': expected image of type"):
        summarize_model("lenet5", {"image": "large"})
    with pytest.raises(OptionError, match="'lenet5': expected classes of type int, got 'ten'"):
        summarize_model("lenet5", {"classes": "ten"})
    with pytest.raises(ShapeError, match="got 1x1") as caught:
        summarize_model("alexnet_small", {"padding": "none"})
    assert "'conv5'" in caught.value.__notes__[0]


def test_printed_as_a_table() -> None:
    lines = str(summarize(Sequential(Dense(8, 3, rng=0)), (8,))).splitlines()
    assert [line.split() for line in lines] == [
        ["Sequential", "output", "parameters", "multiply-adds"],
        ["input", "(input)", "8", "0", "0"],
        ["0", "(dense)", "3", "27", "24"],
        ["together", "27", "24"],
    ]
