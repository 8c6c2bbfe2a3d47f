"""The registry: plugins found by metadata alone, and errors for broken, duplicate, too new and unknown ones."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import registry
from tinygrad_lab.cli import main
from tinygrad_lab.errors import ConfigError, OptionError, PluginError
from tinygrad_lab.registry import Registry, build, describe

SWISH = """
import tinygrad_lab as tgl

class Swish(tgl.Layer):
    {attributes}
    def __init__(self, *, beta=1.0, rng=None):
        self.beta = beta
        self.weight = tgl.Parameter(tgl.initializers.draw(1.0, (3,), rng=rng))

    def forward(self, x):
        return x * tgl.sigmoid(self.beta * x) * self.weight

    def output_shape(self, shape):
        return shape
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions like pip: a module and a .dist-info with metadata and entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def make(name: str, points: dict[str, str], *, group: str = "layers", version: str = "1.2", **sources: str) -> None:
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{point} = {target}" for point, target in points.items()]
        (info / "entry_points.txt").write_text(f"[tinygrad_lab.{group}]\n" + "\n".join(lines) + "\n")
        for module, source in sources.items():
            (tmp_path / f"{module}.py").write_text(source)
            modules.append(module)
        importlib.invalidate_caches()
        for known in (registry.layers, registry.models, registry.losses):
            known.refresh()

    yield make
    for module in modules:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    importlib.invalidate_caches()
    for known in (registry.layers, registry.models, registry.losses):
        known.refresh()


def swish(attributes: str = "pass") -> str:
    """Return the source of a plugin."""
    return SWISH.format(attributes=attributes)


def test_built_in_layers_are_plugins_like_third_party_ones() -> None:
    dense = registry.layers["dense"]
    assert issubclass(dense, tgl.Layer)
    assert registry.layers.name_of(dense) == "dense"
    assert registry.layers.plugin("dense").distribution == "tinygrad-lab"
    assert registry.layers["sequential"] is tgl.Sequential
    assert tgl.layers is registry.layers
    assert list(registry.layers) == sorted(registry.layers)
    assert len(registry.layers) == len(list(registry.layers))


def test_a_third_party_plugin_is_found_without_being_imported(install: Install) -> None:
    install("acme-swish", {"acme.swish": "acme_swish:Swish"}, acme_swish=swish())
    plugin = registry.layers.plugin("acme.swish")
    assert (plugin.distribution, plugin.version) == ("acme-swish", "1.2")
    assert str(plugin) == "acme_swish:Swish of acme-swish 1.2"
    assert "acme.swish" in registry.layers
    assert "acme_swish" not in sys.modules
    cls = registry.layers["acme.swish"]
    assert "acme_swish" in sys.modules
    assert registry.layers["acme.swish"] is cls
    assert registry.layers.name_of(cls) == "acme.swish"
    assert registry.layers.status("acme.swish") == "ok"


def test_found_plugins_are_cached_until_refresh(install: Install, tmp_path: Path) -> None:
    before = registry.layers.plugins()
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tinygrad_lab.layers]\nlate.swish = late:Swish\n")
    assert registry.layers.plugins() is before
    assert "late.swish" not in registry.layers
    importlib.invalidate_caches()
    registry.layers.refresh()
    assert "late.swish" in registry.layers


def test_the_error_for_an_unknown_plugin_suggests_similar_names() -> None:
    with pytest.raises(PluginError, match="layers: expected the name of a plugin, got 'conv_2d'; did you mean 'conv2"):
        registry.layers["conv_2d"]
    with pytest.raises(PluginError, match=r"got 'zzzzzz'; there are .*, conv2d, "):
        registry.layers["zzzzzz"]
    with pytest.raises(LookupError):
        registry.layers["zzzzzz"]
    assert "zzzzzz" not in registry.layers
    assert registry.layers.status("zzzzzz").startswith("layers: expected the name of a plugin")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero (acme_broken.py, line 3); mend or uninstall"),
        ("def (", "SyntaxError"),
        ("", "AttributeError"),
        ("import sys; sys.exit()", "SystemExit"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import os; os._exit(0)", "SystemExit: os._exit(0)"),
        ("from os import _exit; _exit(0)", "SystemExit: os._exit(0)"),
        ("class Own(BaseException): ...\nraise Own('mine')", "Own: mine"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise MemoryError", "MemoryError"),
        ("def again(): again()\nagain()", "RecursionError"),
    ],
)
def test_a_broken_plugin_fails_when_it_is_used(install: Install, source: str, reason: str) -> None:
    """Other plugins still work."""
    install("acme-broken", {"acme.broken": "acme_broken:Swish"}, acme_broken=source)
    assert issubclass(registry.layers["dense"], tgl.Layer)
    with pytest.raises(PluginError) as caught:
        registry.layers["acme.broken"]
    text = str(caught.value)
    assert "layers: 'acme.broken' (acme_broken:Swish of acme-broken 1.2) cannot be imported: " in text
    assert reason in text
    assert text.endswith("uninstall acme-broken")
    assert ("reinstall" in text) == ("ModuleNotFoundError" in text or "AttributeError" in text)
    assert registry.layers.status("acme.broken") == text


def test_ctrl_c_while_a_plugin_is_imported_is_not_caught(install: Install) -> None:
    install("acme-slow", {"acme.slow": "acme_slow:Swish"}, acme_slow="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry.layers["acme.slow"]


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)"])
def test_a_plugin_cannot_end_the_program(install: Install, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    install("acme-end", {"acme.end": "acme_end:Swish"}, acme_end=f"import os, sys\n{end}")
    assert main(["layers"]) == 0
    message = "'acme.end' (acme_end:Swish of acme-end 1.2) cannot be imported: SystemExit"
    assert message in capsys.readouterr().out
    assert main(["check", "acme.end"]) == 1
    assert message in " ".join(capsys.readouterr().out.split())
    exit_status = subprocess.run([sys.executable, "-c", "import tinygrad_lab.registry, os; os._exit(3)"], check=False)
    assert exit_status.returncode == 3


def test_a_name_that_two_distributions_register_is_refused(install: Install) -> None:
    install("acme-one", {"swish": "acme_one:Swish"}, acme_one=swish())
    points = {"swish": "other_two:Swish", "other.fine": "other_two:Swish"}
    install("other-two", points, other_two=swish(), version="0.3")
    with pytest.raises(PluginError) as caught:
        registry.layers["swish"]
    text = str(caught.value)
    assert "layers: expected one plugin 'swish', got 2: " in text
    assert "acme_one:Swish of acme-one 1.2; other_two:Swish of other-two 0.3" in text
    assert "uninstall one, or have its author prefix the name" in text
    assert registry.layers["other.fine"].__name__ == "Swish"


def test_a_third_party_plugin_cannot_take_a_built_in_name(install: Install) -> None:
    install("acme-dense", {"dense": "acme_dense:Swish"}, acme_dense=swish())
    with pytest.raises(PluginError, match=r"expected one plugin 'dense', got 2: .*acme-dense 1.2.*tinygrad-lab"):
        registry.layers["dense"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("api = 2", r"is made for plugin API 2, but this tinygrad_lab offers 1; upgrade tinygrad-lab"),
        ("api = -1", r"is made for plugin API -1, but this tinygrad_lab offers 1 and 0; upgrade acme-new"),
    ],
)
def test_a_plugin_for_another_api_is_refused(install: Install, attributes: str, message: str) -> None:
    install("acme-new", {"acme.new": "acme_new:Swish"}, acme_new=swish(attributes))
    with pytest.raises(PluginError, match=rf"layers: 'acme.new' \(acme_new:Swish of acme-new 1.2\) {message}"):
        registry.layers["acme.new"]


def test_the_previous_api_is_accepted(install: Install) -> None:
    install("acme-old", {"acme.old": "acme_old:Swish"}, acme_old=swish("api = 0"))
    assert registry.layers["acme.old"].api == 0


def test_a_plugin_that_is_not_a_layer_is_refused(install: Install) -> None:
    install("acme-none", {"acme.none": "acme_none:Swish"}, acme_none="def Swish(): pass")
    with pytest.raises(PluginError, match=r"'acme.none' .*: expected a subclass of Layer, got <function Swish"):
        registry.layers["acme.none"]


def test_other_kinds_of_plugins_are_found_in_their_groups(install: Install) -> None:
    install("acme-models", {"acme.tiny": "acme_models:tiny"}, group="models", acme_models="def tiny(): return 3")
    assert registry.models["acme.tiny"]() == 3
    assert "acme.tiny" not in registry.layers
    with pytest.raises(PluginError, match=r"models: expected the name of a network, got 'acme.tin'; did you mean"):
        registry.models["acme.tin"]


def test_every_kind_of_plugin_has_a_registry() -> None:
    kinds = "layers cases models losses optimizers schedules datasets augmentations"
    for kind in kinds.split():
        known = getattr(registry, kind)
        assert isinstance(known, Registry)
        assert known.kind == kind


def test_an_unregistered_class_has_no_name() -> None:
    class Mine(tgl.Layer):
        pass

    with pytest.raises(PluginError, match=r'expected a registered plugin, got .*Mine; add it to the entry points "tin'):
        registry.layers.name_of(Mine)


# --------------------------------------------------------------------------------------------------------- descriptions


def test_a_description_has_plain_values_and_rebuilds_the_layer() -> None:
    dense = registry.layers["dense"]
    model = tgl.Sequential({"in": dense(3, 4, rng=0), "act": registry.layers["relu"](), "out": dense(4, 2, bias=False)})
    description = json.loads(json.dumps(describe(model)))
    assert description["layer"] == "sequential"
    assert description["config"]["layers"]["in"] == {
        "layer": "dense",
        "version": 1,
        "config": describe(model[0])["config"],
    }
    again = build(description)
    again.load_state(model.state())
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(again(x).numpy(), model(x).numpy())
    assert describe(again) == description


def test_built_layers_draw_from_one_generator() -> None:
    """Two equal layers in one model get different weights, and a seed repeats them."""
    dense = registry.layers["dense"]
    description = describe(tgl.Sequential(dense(3, 3), registry.layers["relu"](), dense(3, 3)))
    first, again, other = build(description, rng=0), build(description, rng=0), build(description, rng=1)
    assert not np.array_equal(first[0].weight.value, first[2].weight.value)
    for path, array in first.state().items():
        assert np.array_equal(array, again.state()[path])
    assert not np.array_equal(first[0].weight.value, other[0].weight.value)


def test_a_third_party_layer_is_described_by_its_name(install: Install) -> None:
    install("acme-swish", {"acme.swish": "acme_swish:Swish"}, acme_swish=swish("version = 3"))
    layer = registry.layers["acme.swish"](beta=2.0)
    description = {"layer": "acme.swish", "version": 3, "config": {"beta": 2.0}}
    assert describe(layer) == description
    assert build(description).config() == {"beta": 2.0}
    with pytest.raises(ConfigError, match="Swish: expected a configuration of version 3, got 2; no upgrade is known"):
        build(description | {"version": 2})


def test_an_older_configuration_is_upgraded(install: Install) -> None:
    upgrade = """version = 2
    @classmethod
    def upgrade(cls, config, old):
        return {"beta": config["b"]}
"""
    install("acme-swish", {"acme.swish": "acme_swish:Swish"}, acme_swish=swish(upgrade))
    assert build({"layer": "acme.swish", "version": 1, "config": {"b": 5.0}}).config() == {"beta": 5.0}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"gamma": 1}, "layers: option of 'dense': expected a known name, got 'gamma'"),
        ({"in_features": 3}, "layers: expected options of 'dense', got {'in_features': 3}: .*out_features"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"layer": "dense", "version": 1, "config": config})
    with pytest.raises(ConfigError, match=message):
        registry.layers.make({"name": "dense", **config})


def test_a_table_of_layers_is_built_like_their_description() -> None:
    """One generator draws all weights, so that two equal layers get different ones."""
    inner = [{"name": "dense", "in_features": 3, "out_features": 3}, {"name": "relu"}]
    table = {"name": "sequential", "layers": [*inner, *inner]}
    model = registry.layers.make(table, rng=0)
    twin = build(describe(model), rng=0)
    assert not np.array_equal(model[0].weight.value, model[2].weight.value)
    assert all(np.array_equal(array, twin.state()[path]) for path, array in model.state().items())
    assert registry.layers.make(table)[0].weight.value.shape == (3, 3)


def test_bind_returns_a_plugin_with_the_options_of_a_table() -> None:
    loss = registry.losses.bind({"name": "huber", "delta": 0.5})
    assert loss.func is registry.losses["huber"]
    assert loss.keywords == {"delta": 0.5}
    with pytest.raises(ConfigError, match="losses: expected a table with the name of a plugin, got "):
        registry.losses.bind({"delta": 0.5})
    with pytest.raises(PluginError, match=r"losses: expected the name of a plugin, got 3 \(int\)"):
        registry.losses.bind({"name": 3})


def test_layers_named_like_the_keys_of_a_description() -> None:
    relu = registry.layers["relu"]
    model = tgl.Sequential({"layer": relu(), "config": relu()})
    assert list(build(describe(model)).children()) == ["layer", "config"]


def test_a_configuration_must_hold_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(registry.layers["relu"]):  # type: ignore[misc]  # a class found at run time
        def __init__(self, thing: Any) -> None:
            pass

    with pytest.raises(PluginError, match="Odd"):
        describe(Odd(object()))
    monkeypatch.setattr(registry.layers["dense"], "config", lambda self: {"bias": object()})
    with pytest.raises(ConfigError, match="config: expected plain values, layers, lists and dicts, got object"):
        describe(registry.layers["dense"](3, 2))


@pytest.mark.parametrize(
    ("kind", "name", "option", "wrong"),
    [
        ("models", "vgg16", "classes", "ten"),
        ("models", "lenet5", "image", "28x28"),
        ("losses", "huber", "delta", "1"),
        ("optimizers", "sgd", "nesterov", 1),
        ("schedules", "cosine", "length", "30"),
        ("augmentations", "rotation", "degrees", True),
    ],
)
def test_options_of_a_wrong_type_are_refused_by_name(kind: str, name: str, option: str, wrong: Any) -> None:
    with pytest.raises(OptionError, match=rf"^{kind}: '{name}': expected {option} of type .*, got {wrong!r} \("):
        getattr(registry, kind).check_options(name, {option: wrong})


def test_every_registry_is_listed_by_its_kind() -> None:
    found = {id(value) for value in vars(registry).values() if isinstance(value, registry.Registry)}
    assert {id(one) for one in registry.REGISTRIES.values()} == found
    assert all(one.kind == kind for kind, one in registry.REGISTRIES.items())
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["entry-points"]
    assert {name.partition(".")[2] for name in declared if name.startswith("tinygrad_lab.")} == set(registry.REGISTRIES)
