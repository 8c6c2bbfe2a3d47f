"""The valid uses of `Embedding`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, strategies


@st.composite
def draw_case(draw: Any) -> Case:
    """Draw fewer vectors than look-ups in some cases, so that a vector is looked up twice."""
    count, features = draw(st.integers(1, 6)), draw(strategies.features())
    options = {"init": draw(st.sampled_from((1.0, "glorot_normal")))}
    shape = draw(strategies.shapes(1, 3, 4))
    return Case(args=(count, features), options=options, inputs=(Input(shape, kind="integer", below=count),))


def reference(layer: Any, x: Any) -> Any:
    """Return the product of one-hot rows and the table."""
    table = layer.state()["weight"]
    hot = np.zeros((x.size, len(table)))
    for row, number in enumerate(x.reshape(-1)):
        hot[row, number] = 1.0
    return (hot @ table).reshape(*x.shape, -1)


def negative_numbers_are_refused(layer: Any, x: Any) -> float:
    """Return 0 if -1 among valid numbers raises an error; NumPy would count it from the end."""
    mixed = np.append(x.reshape(-1), -1)
    try:
        layer(mixed)
    except tgl.errors.OptionError:
        return 0.0
    return math.inf


cases = LayerCases(
    draw_case(),
    reference=reference,
    complex_safe=True,
    laws=("batch_independent", Law("negative_numbers_are_refused", negative_numbers_are_refused)),
    bad_inputs=(
        BadInput(args=(3, 2), inputs=((4,),), error=tgl.errors.DTypeError, match="expected integers, got float"),
        BadInput(
            args=(1, 2),
            inputs=(Input((50,), kind="integer", below=3),),
            error=tgl.errors.OptionError,
            match="numbers from 0 to 0, got 0 to 2",
        ),
        BadInput(args=(-1, 2), error=tgl.errors.OptionError, match="expected count and features >= 0, got -1"),
    ),
)
