"""`tinygrad-lab weights`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.inspect.test_run import trained
from tinygrad_lab.cli import main
from tinygrad_lab.registry import models
from tinygrad_lab.weights import load_weights, read_arrays

RULES = """
convention = "torch"
fresh = ["output.bias"]

[rules]
"features.0.*" = "c1.*"
"features.3.*" = "c3.*"
"classifier.*" = "c5.*"
"junk" = ""

[flattened]
c5 = [16, 5, 5]
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Weights of LeNet-5 with names as in PyTorch."""
    state = models["lenet5"](rng=4).state()
    names = {"c1": "features.0", "c3": "features.3", "c5": "classifier", "f6": "f6", "output": "output"}
    arrays = {}
    for path, array in state.items():
        layer, leaf = path.split(".")
        if path == "c5.weight":  # rows in PyTorch's order: channel first
            array = array.reshape(5, 5, 16, 120).transpose(2, 0, 1, 3).reshape(400, 120)
        arrays[f"{names[layer]}.{leaf}"] = array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim])
    np.savez(tmp_path / "theirs.npz", **arrays, junk=np.zeros(3))
    (tmp_path / "rules.toml").write_text(RULES, encoding="utf-8")
    return tmp_path


def test_pytorch_weights_are_imported(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = theirs / "ours.safetensors"
    command = ["weights", "import", "lenet5", str(theirs / "theirs.npz"), str(output)]
    assert main([*command, "--rules", str(theirs / "rules.toml")]) == 0
    assert "9 arrays from" in (shown := capsys.readouterr().out)
    assert "random initial values, from seed 0: output.bias" in shown
    model = models["lenet5"](rng=0)
    load_weights(model, output)
    expected = models["lenet5"](rng=4).state()
    assert all(np.array_equal(array, expected[name]) for name, array in model.state().items())


def test_arrays_of_a_file_are_listed(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "show", str(theirs / "theirs.npz")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["features.0.weight", "6,", "1,", "5,", "5", "float32"] in [line.split() for line in lines]
    assert lines[-1] == "11 arrays, 61,709 numbers"
    assert main(["weights", "show", str(theirs / "theirs.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classifier.weight"] == {"shape": [120, 400], "dtype": "float32"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules": "rulez = 3"}, "expected some of"),
        ({"rules": "[rules"}, "expected TOML"),
        ({"rules": 'convention = "torch"'}, "flattened={'c5'"),
        ({"file": "none.npz"}, "expected a file"),
        ({"output": "out.npz"}, "expected a .safetensors file"),
        ({"model": "lenet"}, "did you mean"),
        ({"extra": ["--set", "color=1"]}, "expected a known name, got 'color'"),
    ],
)
def test_errors_name_the_mistake_and_write_nothing(
    changes: dict[str, str], message: str, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (theirs / "rules.toml").write_text(changes.get("rules", RULES), encoding="utf-8")
    output = theirs / changes.get("output", "ours.safetensors")
    command = ["weights", "import", changes.get("model", "lenet5"), str(theirs / changes.get("file", "theirs.npz"))]
    assert main([*command, str(output), "--rules", str(theirs / "rules.toml"), *changes.get("extra", [])]) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs"))


def test_weights_of_a_run_are_exported(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, rules = tmp_path / "theirs.safetensors", tmp_path / "rules.toml"
    rules.write_text('convention = "torch"\n[rules]\n"fc.*" = "1.*"\n[flattened]\n"1" = [1, 8, 8]\n')
    assert main(["weights", "export", str(folder), str(output), "--as", "pytorch", "--rules", str(rules)]) == 0
    assert capsys.readouterr().out == f"{output}: 2 arrays of {folder}, best weights, as pytorch\n"
    own = read_arrays(folder / "weights-best.safetensors")
    np.testing.assert_array_equal(read_arrays(output)["fc.weight"], own["1.weight"].T)  # one channel: the same order
    assert main(["weights", "export", str(folder), str(output), "--as", "own", "--weights", "last"]) == 0
    last = read_arrays(folder / "weights.safetensors")
    assert all(np.array_equal(array, last[name]) for name, array in read_arrays(output).items())
    assert main(["weights", "export", str(folder), str(output), "--as", "own", "--rules", str(rules)]) == 1
    assert "expected convention = 'own' for --as own" in capsys.readouterr().err
