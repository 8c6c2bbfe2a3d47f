"""Names of other frameworks raise an error with the name in this framework."""

from __future__ import annotations

import copy
import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.errors import CallError
from tinygrad_lab.foreign_names import LAYER, OPTIMIZER, PACKAGE, TENSOR
from tinygrad_lab.optim import SGD
from tinygrad_lab_layers.dense import Dense


def an(owner: str) -> Any:
    model = Dense(2, 2, rng=0)
    made = {"tensor": tgl.tensor(np.ones(2)), "layer": model, "network": tgl.Sequential(model), "package": tgl}
    return made[owner] if owner in made else SGD(model.parameters(), lr=0.1)


EVERY = [
    *(("tensor", name, use) for name, use in TENSOR.items()),
    *((owner, name, use) for owner in ("layer", "network") for name, use in LAYER.items()),
    *(("optimizer", name, use) for name, use in OPTIMIZER.items()),
    *(("package", name, use) for name, use in PACKAGE.items()),
]


@pytest.mark.parametrize(("owner", "name", "use"), EVERY)
def test_the_error_for_a_foreign_name_gives_our_name(owner: str, name: str, use: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(an(owner), name)
    assert str(caught.value).endswith(f"has no attribute {name!r}; use {use}")


def test_completion_offers_only_public_names() -> None:
    packages = {"conformance", "data", "distributed", "inspect", "losses", "optim", "registry", "train", "weights"}
    assert {*dir(tgl)} == {*tgl.__all__} | packages
    assert all(hasattr(tgl, name) for name in dir(tgl))


def test_the_names_of_pytorch_s_nn_are_answered_too() -> None:
    with pytest.raises(AttributeError, match=r"'tinygrad_lab.nn' has no attribute 'Linear'; use tinygrad_lab_layers"):
        tgl.nn.Linear  # type: ignore[attr-defined]  # noqa: B018  reading it raises


@pytest.mark.parametrize("name", ["erf", "tile", "sort", "softplus_of_nothing"])
def test_the_error_for_a_method_names_the_function(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(tgl.tensor(np.ones(2)), name)
    assert str(caught.value).endswith(f"; use tinygrad_lab.{name}(x)") == hasattr(tgl, name)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda t: t.sum(dim=0), "use axis for dim"),
        (lambda t: t.mean(0, keepdim=True), "use keepdims for keepdim"),
        (lambda t: t.softmax(dim=0), "use axis for dim"),
        (lambda t: tgl.concatenate([t, t], dim=0), "use axis for dim"),
        (lambda t: tgl.var(t, dim=0), "use axis for dim"),
        (lambda t: t.backward(retain_graph=True), "use keep_graph for retain_graph"),
    ],
)
def test_the_error_for_a_foreign_option_names_ours(call: Any, word: str) -> None:
    with pytest.raises(TypeError, match=f"; {word}$"):
        call(tgl.tensor(np.ones(2), requires_grad=True))


def test_other_type_errors_are_not_changed() -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'axes'$"):
        tgl.tensor(np.ones(2)).sum(axes=0)


def test_the_error_for_assignment_to_elements_names_where() -> None:
    t = tgl.tensor(np.ones(2))
    with pytest.raises(CallError, match=r"tensors are immutable; use tinygrad_lab.where"):
        t[0] = 1.0


def test_existing_names_and_copies_still_work() -> None:
    network = tgl.Sequential({"first": Dense(2, 2, rng=0)})
    assert network.first is network["first"]
    assert copy.deepcopy(network).first is not network.first
    assert not hasattr(tgl.tensor(1.0), "__array_interface__")
    assert importlib.import_module("tinygrad_lab.train").Trainer


def test_every_replacement_in_the_package_exists() -> None:
    words = [use.split("(")[0].split(",")[0] for use in (*TENSOR.values(), *LAYER.values(), *PACKAGE.values())]
    for word in words:
        if word.startswith("tinygrad_lab"):
            module, _, name = word.rpartition(".")
            assert hasattr(importlib.import_module(module), name), word


def test_modules_of_the_package_are_imported_on_first_use() -> None:
    code = "import tinygrad_lab as tgl; print(tgl.optim.SGD.__name__, tgl.losses.mse.__name__, hasattr(tgl, 'nothing'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SGD", "mse", "False"]
