"""The ranges of values that layers are checked with, and their display in reports."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.conformance import LayerCases, inspect_layer, strategies
from tinygrad_lab.conformance.report.card import details, overview
from tinygrad_lab.conformance.report.page import table
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.registry import layers

ACTIVATIONS = (
    *("elu", "gelu", "hardtanh", "leaky_relu", "log_softmax", "prelu", "relu"),
    *("selu", "sigmoid", "silu", "softmax", "softplus", "tanh"),
)


def text_of(table):
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as caught:
        console.print(table)
    return caught.get()


@tgl.primitive
def naive_logistic(xp, x):
    with np.errstate(over="ignore", invalid="ignore"):
        return xp.exp(x) / (1 + xp.exp(x))


naive_logistic.defvjp(x=lambda g, out: g * out * (1 - out))


class Overflows(Elementwise):
    def forward(self, x):
        return naive_logistic(x)


@tgl.primitive
def clipped_identity(xp, x):
    return x * 1.0


clipped_identity.defvjp(x=lambda g, x: g * (np.abs(unbox(x)) < 20.0))


class WrongFarOut(Elementwise):
    def forward(self, x):
        return clipped_identity(x)


def test_an_overflow_within_the_range_fails():
    failed = [p.name for p in inspect_layer(Overflows, LayerCases(strategies.elementwise())).failures]
    assert "float32" in failed


def test_a_gradient_that_is_wrong_at_large_inputs_fails():
    failed = [p.name for p in inspect_layer(WrongFarOut, LayerCases(strategies.elementwise())).failures]
    assert "gradients" in failed
    near = LayerCases(strategies.elementwise(low=-2.0, high=2.0))
    assert inspect_layer(WrongFarOut, near).passed


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_checked_where_they_saturate(name):
    result = inspect_layer(layers[name], properties=["forward"])
    assert result.passed
    assert result.low < -25
    assert result.high > 25


def test_the_card_states_the_range_of_the_inputs():
    result = inspect_layer("embedding", examples=3)
    assert result.range == ""
    assert "inputs from" not in text_of(details(result))
    result = LayerResult("some", low=-1.25, high=30.0)
    assert "inputs from -1.25 to 30" in text_of(details(result))
    assert "-1.25 to 30" in text_of(overview([result]))
    assert "<td" in table([result])
    assert "-1.25 to 30" in table([result])


def test_the_card_explains_its_marks():
    assert "· not applicable" in text_of(details(LayerResult("some")))
