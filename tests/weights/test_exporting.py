"""Weights for other frameworks: PyTorch gives the same results with exported weights, and they can be imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.house.source import ROOT
from tinygrad_lab.autograd.settings import no_grad
from tinygrad_lab.errors import CallError, LabError, OptionError, ShapeError, StateError
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.registry import models
from tinygrad_lab.weights import CONVENTIONS, export_weights, import_weights, load_weights, read_arrays
from tinygrad_lab.weights.conventions import flattened_maps, original, renamed
from tinygrad_lab.zoo.pretrained import PRETRAINED
from tinygrad_lab_layers import LSTM, BatchNorm, Conv2d, Conv2dTranspose, Dense, Flatten, PReLU, ReLU


def network(seed: int = 0) -> tgl.Sequential:
    """Every kind of layer whose axes are reordered, and normalization of a flattened map of 6 rows and 4 columns."""
    layers: dict[str, tgl.Layer] = {
        "conv": Conv2d(4, 6, kernel_size=(3, 2), groups=2, rng=seed),
        "norm": BatchNorm(6),
        "prelu": PReLU(6),
        "up": Conv2dTranspose(6, 3, kernel_size=2, stride=2, rng=seed + 1),
        "flatten": Flatten(),
        "flat_norm": BatchNorm(72),
        "output": Dense(72, 5, rng=seed + 2),
    }
    return tgl.Sequential(layers)


def trained(seed: int = 0) -> tgl.Sequential:
    """The network with statistics and scales that differ from the initial ones."""
    model, rng = network(seed), np.random.default_rng(seed)
    model.load_state({name: rng.uniform(0.5, 1.5, a.shape).astype(a.dtype) for name, a in model.state().items()})
    return model.eval()


def outputs(model: tgl.Layer, x: Any) -> Any:
    with no_grad():
        return model.eval()(x).numpy()


def assert_same_in_torch(theirs: Any, path: Path, expected: Any, x: Any) -> None:
    """Assert that PyTorch's network with the weights in a file gives the same results up to 1e-5."""
    torch = pytest.importorskip("torch")
    state = pytest.importorskip("safetensors.torch").load_file(path)
    theirs.load_state_dict(state, strict=True)
    with torch.no_grad():
        found = theirs.eval()(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def _blocks(model: tgl.Layer) -> list[str]:
    """Return the paths of layers with arrays, and of residual blocks as a whole."""
    return [*dict.fromkeys(re.sub(r"(?<=inner)\..*|\.\w+$", "", path) for path in model.variables())]


@pytest.mark.peers
@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_networks_run_in_pytorch(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from tinygrad_lab.bench.networks import NETWORKS
    from tinygrad_lab.bench.peers import BUILDERS

    about, rng = NETWORKS[name], np.random.default_rng(0)
    ours: tgl.Layer = models[name](image=about.image, classes=about.classes, rng=0)
    x = rng.normal(size=(2, *about.image)).astype("float32")
    with no_grad():
        ours.train()(x)  # so that the statistics differ from the initial ones
    theirs = BUILDERS[name](about)
    with_arrays = [path for path, module in theirs.named_children() if module.state_dict()]
    rules = {f"{a}.*": f"{b}.*" for a, b in zip(with_arrays, _blocks(ours), strict=True)}
    export_weights(ours, tmp_path / "theirs.safetensors", rules=rules, image=about.image)
    assert_same_in_torch(theirs, tmp_path / "theirs.safetensors", outputs(ours, x), x)


@pytest.mark.peers
def test_every_kind_of_layer_runs_in_pytorch(tmp_path: Path) -> None:
    nn = pytest.importorskip("torch").nn
    theirs = nn.Sequential()
    for name, layer in {
        "conv": nn.Conv2d(4, 6, (3, 2), groups=2),
        "norm": nn.BatchNorm2d(6),
        "prelu": nn.PReLU(6),
        "up": nn.ConvTranspose2d(6, 3, 2, stride=2),
        "flatten": nn.Flatten(),
        "flat_norm": nn.BatchNorm1d(72),
        "output": nn.Linear(72, 5),
    }.items():
        theirs.add_module(name, layer)
    ours, x = trained(), np.random.default_rng(1).normal(size=(3, 5, 3, 4)).astype("float32")
    export_weights(ours, tmp_path / "theirs.safetensors", image=(5, 3, 4))
    assert_same_in_torch(theirs, tmp_path / "theirs.safetensors", outputs(ours, x), x)


@pytest.mark.peers
def test_the_network_on_the_page_runs_in_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "howto" / "export-weights.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"^```text\n(from torch import nn\n.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(code, names)
    ours = models["lenet5"](rng=0)
    export_weights(ours, tmp_path / "theirs.safetensors", image=(32, 32, 1))
    x = np.random.default_rng(0).uniform(size=(2, 32, 32, 1)).astype("float32")
    assert_same_in_torch(names["lenet5"](), tmp_path / "theirs.safetensors", outputs(ours, x), x)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "inception_small", "cuda_convnet"])
def test_exported_weights_can_be_imported(name: str, tmp_path: Path) -> None:
    first, second = models[name](rng=0), models[name](rng=1)
    image = (32, 32, 1 if name == "lenet5" else 3)
    written = export_weights(first, tmp_path / "theirs.safetensors", image=image)
    maps = flattened_maps(first, image)
    read = import_weights(second, tmp_path / "theirs.safetensors", convention="torch", flattened=maps)
    assert written == read
    assert all(np.array_equal(array, second.state()[path]) for path, array in first.state().items())


@pytest.mark.parametrize(
    ("name", "options", "maps"),
    [
        ("vgg16", {}, {"dense6": (512, 7, 7)}),
        ("alexnet", {}, {"dense6": (256, 6, 6)}),
        ("resnet50", {}, {}),
        ("googlenet", {"auxiliary": True}, {"auxiliary1.dense1": (128, 4, 4), "auxiliary2.dense1": (128, 4, 4)}),
    ],
)
def test_shapes_of_flattened_maps_follow_from_the_image(name: str, options: Any, maps: Any) -> None:
    with shapes_only():
        model = models[name](**options, rng=0)
    image = (227, 227, 3) if name == "alexnet" else (224, 224, 3)
    found = flattened_maps(model, image)
    assert sorted(found.values()) == sorted(maps.values())
    if name != "googlenet":
        assert found == maps


def test_rules_of_an_import_also_work_for_an_export(tmp_path: Path) -> None:
    about = PRETRAINED["resnet20_cifar10"]
    model = models[about.model](**about.options, rng=0)
    names = export_weights(model, tmp_path / "theirs.safetensors", rules=about.rules)
    assert names["conv.weight"] == "conv1.weight"
    assert names["stage2.1.inner.norm2.running_var"] == "layer2.1.bn2.running_var"
    other = models[about.model](**about.options, rng=1)
    import_weights(other, tmp_path / "theirs.safetensors", rules=about.rules, convention="torch")
    assert all(np.array_equal(array, other.state()[path]) for path, array in model.state().items())


PIECES = st.lists(st.sampled_from(["*", "a", "b", "."]), max_size=4).map("".join)


@given(st.lists(st.tuples(PIECES, PIECES), max_size=3), st.text("ab.", min_size=1, max_size=6))
def test_the_original_name_is_renamed_back(pairs: list[tuple[str, str]], name: str) -> None:
    rules = {pattern: target for pattern, target in pairs if pattern.count("*") == target.count("*")}
    try:
        theirs = original(name, rules)
    except OptionError:
        assume(False)
    assert renamed(theirs, rules) == name


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True), st.text("abc.", max_size=6))
def test_rules_with_prefixes_are_reversed(layers: list[str], leaf: str) -> None:
    rules = {f"theirs.{layer}.*": f"ours.{layer}.*" for layer in layers}
    assert original(f"ours.{layers[-1]}.{leaf}", rules) == f"theirs.{layers[-1]}.{leaf}"


def test_the_own_convention_keeps_names_and_axes(tmp_path: Path) -> None:
    first, second = trained(1), network()
    export_weights(first, tmp_path / "own.safetensors", convention="own")
    load_weights(second, tmp_path / "own.safetensors")
    assert all(np.array_equal(array, second.state()[path]) for path, array in first.state().items())


def test_the_shape_of_a_map_may_be_given(tmp_path: Path) -> None:
    maps = {"flat_norm": (3, 6, 4), "output": (3, 6, 4)}
    for number, options in enumerate(({"image": (5, 3, 4)}, {"flattened": maps})):
        export_weights(trained(), tmp_path / f"{number}.safetensors", **options)  # type: ignore[arg-type]
    first, second = (read_arrays(tmp_path / f"{number}.safetensors") for number in (0, 1))
    assert all(np.array_equal(array, second[name]) for name, array in first.items())


def test_a_plugin_adds_names_for_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = tgl.Sequential(LSTM(2, 3, rng=0)), tmp_path / "theirs.safetensors"
    with pytest.raises(OptionError, match=r"added by .*\['torch'\]\['lstm'\] = \{'input_weight': \('input_"):
        export_weights(model, path)
    names = {"w": ("input_weight", (1, 0)), "u": ("state_weight", (1, 0)), "b": ("bias", ())}
    monkeypatch.setitem(CONVENTIONS["torch"], "lstm", names)
    assert export_weights(model, path)["0.input_weight"] == "0.w"
    np.testing.assert_array_equal(read_arrays(path)["0.w"], model.state()["0.input_weight"].T)
    other = tgl.Sequential(LSTM(2, 3, rng=1))
    import_weights(other, path, convention="torch")
    for name, array in model.state().items():
        np.testing.assert_array_equal(other.state()[name], array)


class Scale(tgl.Layer):
    """A layer that PyTorch does not have, with unknown shapes."""

    def __init__(self) -> None:
        self.factor = tgl.Parameter(np.ones(1, "float32"))

    def forward(self, x: Any) -> Any:
        return x * self.factor


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ("model", {}, CallError, "expected a model, a Layer, got str"),
        (trained(), {}, OptionError, r"set image=.* or flattened=\{'flat_norm': \(channels, height, width\)\}"),
        (trained(), {"image": (5, 3)}, OptionError, r"expected image=\(height, width, channels\), or .* got \(5, 3\)"),
        (trained(), {"image": (5, 3, 3)}, ShapeError, "expected .*channels"),
        (trained(), {"flattened": {"output": (2, 2, 2)}}, OptionError, r"flattened\['output'\].*72 elements"),
        (trained(), {"image": (5, 3, 4), "convention": "caffe"}, OptionError, "expected convention to be one of"),
        (trained(), {"image": (5, 3, 4), "rules": {"a.*": "b"}}, OptionError, r"as many \* as its pattern 'a\.\*'"),
        (trained(), {"image": (5, 3, 4), "rules": {"norm.*": "x.*"}}, OptionError, "result is the name 'norm.we"),
        (tgl.Sequential(Scale()), {}, OptionError, r"got Scale.* with '0\.factor'; .*convention='own' \(--as own\)"),
        (tgl.Sequential(ReLU()), {"path": "none/a.safetensors"}, StateError, "expected a folder to write"),
        (tgl.Sequential(ReLU()), {"path": "a.pth"}, OptionError, r"expected a \.safetensors file to write"),
    ],
)
def test_wrong_exports_are_refused(
    model: Any, options: dict[str, Any], error: type[LabError], message: str, tmp_path: Path
) -> None:
    options = dict(options)
    path = tmp_path / options.pop("path", "theirs.safetensors")
    with pytest.raises(error, match=message):
        export_weights(model, path, **options)
    assert not path.exists()


def test_names_may_be_exchanged(tmp_path: Path) -> None:
    model = tgl.Sequential({"a": Dense(2, 2, rng=0), "b": Dense(2, 2, rng=0)})
    names = export_weights(model, tmp_path / "theirs.safetensors", rules={"a.*": "b.*", "b.*": "a.*"})
    assert names == {"a.weight": "b.weight", "a.bias": "b.bias", "b.weight": "a.weight", "b.bias": "a.bias"}


class FlattensItself(tgl.Layer):
    """A network that flattens a map in its own `forward`."""

    def __init__(self) -> None:
        self.conv = Conv2d(1, 3, kernel_size=3, rng=0)
        self.fc = Dense(108, 5, rng=1)

    def forward(self, x: Any) -> Any:
        return self.fc(tgl.relu(self.conv(x)).flatten(1))  # (N, H, W, C) -> (N, H*W*C)


class FlattensChannelFirst(FlattensItself):
    """A network that flattens a map in PyTorch's order."""

    def forward(self, x: Any) -> Any:
        return self.fc(tgl.transpose(self.conv(x), axes=(0, 3, 1, 2)).flatten(1))  # (N, H, W, C) -> (N, C*H*W)


def test_a_flatten_in_a_users_forward_runs_in_pytorch(tmp_path: Path) -> None:
    nn, model = pytest.importorskip("torch").nn, FlattensItself()
    export_weights(model, tmp_path / "n.safetensors", image=(8, 8, 1), rules={"0.*": "conv.*", "3.*": "fc.*"})
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 1), dtype="float32")
    theirs = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5))
    assert_same_in_torch(theirs, tmp_path / "n.safetensors", outputs(model, x), x)


def test_a_flatten_in_a_users_forward_is_found_in_a_run_or_asked_for(tmp_path: Path) -> None:
    model, path = FlattensItself(), tmp_path / "n.safetensors"
    assert flattened_maps(model, (8, 8, 1)) == {"fc": (3, 6, 6)}
    assert (model.training, model.conv.training, model.steps, "forward" in vars(model.conv)) == (True, True, 0, False)
    assert flattened_maps(FlattensChannelFirst(), (8, 8, 1)) == {}
    for wrong, options in ((model, {}), (FlattensChannelFirst(), {"image": (8, 8, 1)})):
        with pytest.raises(OptionError, match=r"flattened=\{'fc': \(channels, .* give \(number of inputs, 1, 1\)"):
            export_weights(wrong, path, **options)  # type: ignore[arg-type]
    assert not path.exists()
    export_weights(model, path, flattened={"fc": (3, 6, 6)})
    with pytest.raises(OptionError, match=r"expected flattened=\{'fc': \(channels, height, width\)\}"):
        import_weights(FlattensItself(), path, convention="torch")
    export_weights(FlattensChannelFirst(), path, flattened={"fc": (108, 1, 1)})
    assert np.array_equal(read_arrays(path)["fc.weight"], model.fc.weight.numpy().T)
