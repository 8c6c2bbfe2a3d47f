"""Values of a case: NumPy draws the inputs and the layer's parameters from the case's seed."""

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
FAR = 5.0  # with the default range, one value in eight is multiplied by this
OVERFLOWS = 1000.0  # exp(1000) overflows in float64 too
NOISE = 0.25  # largest random change of a parameter's initial value, because ones and zeros would hide errors


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
    """Return the positions of a case's inputs that are floats but have no gradient."""
    return [i for i, given in enumerate(case.inputs) if given.kind == "constant"]


def draw_tied(given: Input, rng: Generator) -> Array:
    """Return whole numbers, so that many values are equal and many lie on the kinks of common functions."""
    if given.kind != "float":
        return draw_input(given, rng)
    low, high = np.ceil(given.low), np.floor(given.high)
    if low > high:
        return draw_input(given, rng)
    return read_only(rng.integers(int(low), int(high) + 1, given.shape).astype("float64"))


def takes_zero(given: Input) -> bool:
    """Return whether 0 is a valid value of an input."""
    return 0 in given.values if given.values else given.low <= 0 <= given.high


def takes_all(given: Input) -> bool:
    """Return whether every number is a valid value of an input: its range is the default one, or wider."""
    return not given.values and given.low <= LOW and given.high >= HIGH


def finite_buffers(layer: Layer) -> list[str]:
    """Return the paths of the buffers that are finite."""
    return [path for path, cell in layer.buffers().items() if np.isfinite(cell.value).all()]


def demand_finite_buffers(layer: Layer, paths: list[str]) -> None:
    """Raise a Violation unless the buffers at these paths are finite after a call."""
    buffers = layer.buffers()
    for path in paths:
        demand_finite(f"buffer {path} after a call in training", buffers[path].value)


def build_layer(make: Callable[..., Layer], case: Case, *, training: bool) -> tuple[Layer, list[Array]]:
    """Return the float64 layer of a case, with noise added to its initial parameters, and its inputs.

    Two calls in training give buffers, such as running means, realistic values.

    Raises
    ------
    NotFinite
        These calls leave NaN or infinity in a buffer that was finite.
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
