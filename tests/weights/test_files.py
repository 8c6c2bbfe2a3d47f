"""Weights in this project's files: saving, loading, and errors before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import tinygrad_lab as tgl
from tinygrad_lab.errors import CallError, OptionError, StateError
from tinygrad_lab.weights import load_weights, save_weights
from tinygrad_lab_layers.batch_norm import BatchNorm
from tinygrad_lab_layers.dense import Dense


def test_saved_weights_are_loaded(tmp_path: Path) -> None:
    first, second = Dense(2, 3, rng=0), Dense(2, 3, rng=1)
    save_weights(first, tmp_path / "dense.safetensors")
    load_weights(second, str(tmp_path / "dense.safetensors"))
    for name, value in first.state().items():
        np.testing.assert_array_equal(second.state()[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["dense.safetensors"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        save_weights(Dense(2, 3, rng=0), tmp_path / "none" / "dense.safetensors")
    folder = tmp_path / "none"
    assert str(caught.value) == (
        f"save_weights: expected a folder to write dense.safetensors in, found no {folder}; create it"
    )


@pytest.mark.parametrize("function", [save_weights, load_weights])
def test_swapped_arguments_are_refused(function: Any, tmp_path: Path) -> None:
    name = function.__name__
    with pytest.raises(CallError) as caught:
        function(str(tmp_path / "dense.safetensors"), Dense(2, 3, rng=0))
    expected = f"{name}: expected {name}(model, path) with a Layer as the model, got {name}(str, Dense)"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["dense.npz", "dense.pt", "dense", "safetensors"])
def test_only_safetensors_files_are_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"save_weights: expected a \.safetensors file to write, got .*{name}"):
        save_weights(Dense(2, 3, rng=0), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dense.safetensors").write_bytes(b"something else")
    with pytest.raises(StateError, match=r"load_weights .*dense\.safetensors: expected a safetensors file"):
        load_weights(Dense(2, 3, rng=0), tmp_path / "dense.safetensors")


def test_the_old_name_of_a_running_variance_is_read(tmp_path: Path) -> None:
    model = tgl.Sequential({"norm": BatchNorm(3)})
    state = {path.replace("running_var", "running_variance"): a + 2.0 for path, a in model.state().items()}
    save_file(state, tmp_path / "old.safetensors")
    load_weights(model, tmp_path / "old.safetensors")
    assert np.array_equal(model.norm.running_var.value, np.full(3, 3.0))
