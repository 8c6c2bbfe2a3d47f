"""Randomly composed networks: the engine's gradients compared with those of a naive scalar autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.composition.naive import NAIVE, forward
from tests.composition.networks import networks
from tests.composition.scalar import Scalar, gradients, scalars, values

Drawn = tuple[tgl.Layer, tuple[int, ...]]
ROUNDING = 1e-8  # relative to the largest gradient; normalization of nearly constant channels amplifies rounding
seeds = st.integers(0, 2**32 - 1)


def prepare(network: tgl.Layer, shape: tuple[int, ...], seed: int, training: bool) -> tuple[Any, Any]:
    """Draw a network's parameters and statistics, and return an input and a cotangent."""
    rng = np.random.default_rng(seed)
    network.astype("float64")
    for parameter in network.parameters().values():
        parameter.assign(rng.uniform(-1.0, 1.0, parameter.shape))
    network.train()(rng.normal(size=shape))
    network.train(training)
    return rng.normal(size=shape), rng.normal(size=network.output_shape(shape))


def by_engine(network: tgl.Layer, x: Any, g: Any, call: Callable[..., Any]) -> dict[str, Any]:
    """Return the result and the gradients of the input and of all parameters."""
    for parameter in network.parameters().values():
        parameter.assign(parameter.value)  # a new leaf
    leaf = tgl.tensor(x, requires_grad=True)
    y = call(network, leaf)
    y.backward(g)
    found = {"result": y, "input": leaf.grad} | {path: p.grad for path, p in network.parameters().items()}
    return {path: tensor.numpy() for path, tensor in found.items()}


def by_scalars(network: tgl.Layer, x: Any, g: Any) -> dict[str, Any]:
    """Return what `by_engine` returns, computed number by number."""
    cells = {id(p): scalars(p.value) for p in network.parameters().values()}
    boxed = scalars(x)
    y = forward(network, boxed, cells)
    total = (y * g).sum() + Scalar(0.0)
    total.backward()
    found = {path: gradients(cells[id(p)]) for path, p in network.parameters().items()}
    arrays = {"result": values(y), "input": gradients(boxed)} | found
    return {path: array.astype("float64") for path, array in arrays.items()}


def check(drawn: Drawn, seed: int, training: bool, call: Callable[..., Any]) -> None:
    network, shape = drawn
    x, g = prepare(network, shape, seed, training)
    expected = by_scalars(network, x, g)
    largest = max(np.abs(array).max(initial=1.0) for array in expected.values())
    for path, array in by_engine(network, x, g, call).items():
        assert array == pytest.approx(expected[path], abs=ROUNDING * largest), path


def plainly(network: tgl.Layer, x: Any) -> Any:
    return network(x)


def by_reference(network: tgl.Layer, x: Any) -> Any:
    with tgl.reference_only():
        return network(x)


def checkpointed(network: tgl.Layer, x: Any) -> Any:
    return tgl.checkpoint(network, x)


@pytest.mark.parametrize("call", [plainly, by_reference, checkpointed])
@given(networks(), seeds, st.booleans())
def test_gradients_of_any_network(call: Callable[..., Any], drawn: Drawn, seed: int, training: bool) -> None:
    check(drawn, seed, training, call)


@pytest.mark.parametrize("name", NAIVE)
@settings(max_examples=10)
@given(data=st.data(), seed=seeds, training=st.booleans())
def test_gradients_with_each_layer_as_the_first(name: str, data: st.DataObject, seed: int, training: bool) -> None:
    check(data.draw(networks(name)), seed, training, plainly)


def test_scalar_gradients_of_several_paths_add_up() -> None:
    x = Scalar(0.5)
    y = x * x + x.exp() * x.log() / 3.0 - x**3.0
    y.backward()
    e, log = math.exp(0.5), math.log(0.5)
    assert x.grad == pytest.approx(1.0 + e * log / 3 + e / 0.5 / 3 - 0.75)
    for _ in range(20_000):
        x = x + 1.0
    x.backward()
    assert x.grad == 1.0


def test_a_wrong_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule with an error of one percent is found although another layer follows."""
    network = tgl.Sequential(tgl.layers["dense"](3, 2), tgl.layers["tanh"](), tgl.layers["dense"](2, 2))
    monkeypatch.setattr(tgl.tanh, "rules", {})
    monkeypatch.setattr(tgl.tanh, "plans", {})
    tgl.tanh.defvjp(x=lambda g, out: 1.01 * g * (1.0 - out * out))
    with pytest.raises(AssertionError):
        check((network, (2, 3)), 0, True, plainly)
