"""From the structure of a case to arrays and layers: NumPy draws the values from the case's seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import HIGH, LOW, Case, Input
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.conformance.trials.subject import read_only
from tinygrad_lab.conformance.trials.verdict import demand_finite
from tinygrad_lab.nn.layer import Layer

Generator = np.random.Generator
FAR = 5.0  # how many times further out the rare values of a default range lie
OVERFLOWS = 1000.0  # where exp(x) overflows in float64 too
NOISE = 0.25  # how far parameters are moved from their initial values, lest ones and zeros hide an error


def draw_input(given: Input, rng: Generator) -> Array:
    """Return read-only values for an input."""
    if given.kind == "integer":
        return read_only(rng.integers(0, given.below if given.below is not None else 5, given.shape))
    if given.values:
        return read_only(rng.choice(np.array(given.values, dtype="float64"), given.shape))
    if given.distinct:
        return read_only(_distinct(given, rng))
    values = rng.uniform(given.low, given.high, given.shape)
    if (given.low, given.high) == (LOW, HIGH):
        values = np.where(rng.random(given.shape) < 0.125, FAR * values, values)
    return read_only(values)


def _distinct(given: Input, rng: Generator) -> Array:
    """Return values on a grid, shuffled, each moved by less than a quarter of the grid's step."""
    count = max(1, int(np.prod(given.shape)))
    step = (given.high - given.low) / count
    grid = given.low + step * (np.arange(count) + 0.5 + rng.uniform(-0.2, 0.2, count))
    return rng.permutation(grid)[: int(np.prod(given.shape))].reshape(given.shape)


def constants_of(case: Case) -> list[int]:
    """Return which inputs of a case are floats by which nothing is differentiated."""
    return [i for i, given in enumerate(case.inputs) if given.kind == "constant"]


def draw_tied(given: Input, rng: Generator) -> Array:
    """Return values of which many are equal, and many lie on the kinks of the usual piecewise functions."""
    if given.kind != "float":
        return draw_input(given, rng)
    low, high = np.ceil(given.low), np.floor(given.high)
    if low > high:
        return draw_input(given, rng)
    return read_only(rng.integers(int(low), int(high) + 1, given.shape).astype("float64"))


def takes_zero(given: Input) -> bool:
    """Tell whether 0 is among the values of an input."""
    return 0 in given.values if given.values else given.low <= 0 <= given.high


def takes_all(given: Input) -> bool:
    """Tell whether an input's values are drawn from both sides of 0, without a bound that says otherwise."""
    return not given.values and given.low <= LOW and given.high >= HIGH


def finite_buffers(layer: Layer) -> list[str]:
    """Return the paths of the buffers without NaN and infinity."""
    return [path for path, cell in layer.buffers().items() if np.isfinite(cell.value).all()]


def demand_finite_buffers(layer: Layer, paths: list[str]) -> None:
    """Raise a Violation unless some buffers are finite after a call."""
    buffers = layer.buffers()
    for path in paths:
        demand_finite(f"buffer {path} after a call in training", buffers[path].value)


def build_layer(make: Callable[..., Layer], case: Case, *, training: bool) -> tuple[Layer, list[Array]]:
    """Return the float64 layer of a case, its parameters moved off their initial values, and its inputs.

    Two calls in training give buffers such as running means the values that they have in use.

    Raises
    ------
    NotFinite
        These calls leave NaN or infinity in a buffer that held none.
    """
    rng = np.random.default_rng(case.seed)
    layer = construct(make, case.args, case.options, rng).astype("float64")
    for parameter in layer.parameters().values():
        if parameter.value.dtype.kind == "f":
            parameter.assign(parameter.value + rng.uniform(-NOISE, NOISE, parameter.shape))
    layer.seed = case.seed
    if layer.buffers():
        layer.train()
        finite = finite_buffers(layer)
        for _ in range(2):
            layer(*(draw_input(given, rng) for given in case.inputs))
        demand_finite_buffers(layer, finite)
    layer.steps = 0
    layer.train(training)
    return layer, [draw_input(given, rng) for given in case.inputs]
