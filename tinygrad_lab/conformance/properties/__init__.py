"""Properties by name: short functions that return a trial's `Measure`, or None where they do not apply.

``LAYER`` applies to layers, ``FUNCTION`` to functions written in operations of the engine, and ``RULES`` to a forward
and a vector-Jacobian product written with any library. Four more are checked once for a whole layer and not for each
case: `fresh_process`, `bad_inputs`, `misfits` and `adequacy`.
"""

from __future__ import annotations

from collections.abc import Callable

from tinygrad_lab.conformance.properties.agreement import devices, float32, reference
from tinygrad_lab.conformance.properties.arrays import (
    batch_of_one,
    determinism,
    forward,
    layouts,
    non_finite,
    nothing_mutated,
    output_shape,
    own_gradients,
    raw_arrays,
    shapes_and_dtypes,
    zero_size,
)
from tinygrad_lab.conformance.properties.behavior import attributes, checkpoint, modes, statistics
from tinygrad_lab.conformance.properties.derivatives import (
    accumulation,
    adjoint,
    finite_gradients,
    gradients,
    second_order,
    ties,
)
from tinygrad_lab.conformance.properties.kernels import kernels
from tinygrad_lab.conformance.trials.trial import Trial
from tinygrad_lab.conformance.trials.verdict import Measure

Property = Callable[[Trial], Measure | None]


def by_name(*properties: Property) -> dict[str, Property]:
    """Return a table of functions by their names."""
    return {p.__name__: p for p in properties}


RULES = by_name(
    forward,
    determinism,
    gradients,
    adjoint,
    shapes_and_dtypes,
    nothing_mutated,
    own_gradients,
    layouts,
    float32,
    non_finite,
)

FUNCTION = by_name(
    forward,
    determinism,
    reference,
    gradients,
    second_order,
    adjoint,
    accumulation,
    ties,
    finite_gradients,
    shapes_and_dtypes,
    nothing_mutated,
    layouts,
    float32,
    kernels,
    devices,
    non_finite,
)

LAYER = by_name(
    forward,
    attributes,
    determinism,
    raw_arrays,
    output_shape,
    reference,
    gradients,
    second_order,
    adjoint,
    accumulation,
    ties,
    finite_gradients,
    shapes_and_dtypes,
    nothing_mutated,
    layouts,
    zero_size,
    batch_of_one,
    float32,
    kernels,
    devices,
    non_finite,
    modes,
    checkpoint,
    statistics,
)

ONCE = ("fresh_process", "bad_inputs", "misfits", "adequacy")
