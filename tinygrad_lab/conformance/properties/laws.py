"""Laws that layers may declare by name: ``laws=("batch_independent", "unit_sum")``.

The kit calls a law's check with a float64 layer and float64 arrays. The check returns an error relative to the size of
the results; the law holds if this error is mere rounding. `in_evaluation` restricts a law to one mode: batch
normalization treats images independently only in evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Law
from tinygrad_lab.conformance.trials.subject import float_leaves
from tinygrad_lab.conformance.trials.verdict import demand_finite
from tinygrad_lab.errors import ConfigError
from tinygrad_lab.nn.layer import Layer


def result(layer: Layer, *inputs: Array) -> Array:
    """Return a layer's first float result at its first step, and demand that it is finite."""
    layer.steps = 0
    found = np.asarray(unbox(float_leaves(layer(*inputs))[0]))
    demand_finite("the result", found)
    return found


def difference(a: Array, b: Array) -> float:
    """Return the largest difference, relative to the largest value above 1; infinite if the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max(initial=0.0) / max(1.0, np.abs(b).max(initial=0.0)))


def other(x: Array) -> Array:
    """Return an array of the same shape with other values, which depend only on the size."""
    return np.random.default_rng(x.size).uniform(-1, 1, x.shape)


def linear(layer: Layer, *inputs: Array) -> float:
    """f(2x - 3z) = 2 f(x) - 3 f(z), in all inputs together."""
    zs = [other(x) for x in inputs]
    mixed = result(layer, *(2 * x - 3 * z for x, z in zip(inputs, zs, strict=True)))
    return difference(mixed, 2 * result(layer, *inputs) - 3 * result(layer, *zs))


def affine(layer: Layer, *inputs: Array) -> float:
    """f(x) - f(0) is linear."""
    zs = [other(x) for x in inputs]
    mixed = result(layer, *(2 * x - z for x, z in zip(inputs, zs, strict=True)))
    return difference(mixed, 2 * result(layer, *inputs) - result(layer, *zs))


def batch_independent(layer: Layer, *inputs: Array) -> float:
    """Each row of the result depends on its own row of the inputs: f(x[p]) = f(x)[p], and f(x[:1]) = f(x)[:1]."""
    whole = result(layer, *inputs)
    order = np.random.default_rng(0).permutation(len(inputs[0]))
    permuted = difference(result(layer, *(x[order] for x in inputs)), whole[order])
    return max(permuted, difference(result(layer, *(x[:1] for x in inputs)), whole[:1]))


def channel_independent(layer: Layer, x: Array) -> float:
    """Each channel of the result depends only on its own channel."""
    kept = np.arange(x.shape[-1]) % 2 == 0
    return max(change_elsewhere(layer, x, np.broadcast_to(k, x.shape)) for k in (kept, ~kept))


def elementwise(layer: Layer, x: Array) -> float:
    """Each element of the result depends only on its own element."""
    kept = np.random.default_rng(0).random(x.shape) < 0.5
    return max(change_elsewhere(layer, x, k) for k in (kept, ~kept))


def change_elsewhere(layer: Layer, x: Array, kept: Array) -> float:
    """Return how much the kept places of the result change when the inputs at all other places change."""
    before, after = result(layer, x), result(layer, np.where(kept, x, other(x)))
    if before.shape[-1:] != x.shape[-1:]:
        return float("inf")
    places = kept if before.shape == x.shape else np.broadcast_to(kept.reshape(-1, x.shape[-1])[0], before.shape)
    return difference(after[places], before[places])


def permutation_equivariant(layer: Layer, *inputs: Array) -> float:
    """Permuting the second axis of every input (positions, tokens) permutes the second axis of the result."""
    order = np.random.default_rng(0).permutation(inputs[0].shape[1])
    return difference(result(layer, *(x[:, order] for x in inputs)), result(layer, *inputs)[:, order])


def shift_equivariant(layer: Layer, x: Array) -> float:
    """An image shifted on a black background by one period of the layer gives the shifted result: f(T x) = T f(x)."""
    n, height, width, channels = x.shape
    steps = [period(layer, x.shape, axis) for axis in (1, 2)]
    ground = [2 * (length + step[0]) + 12 for length, step in zip((height, width), steps, strict=True)]
    at = [(g - length - step[0]) // 2 for g, length, step in zip(ground, (height, width), steps, strict=True)]
    images = []
    for shift in (0, 1):
        top, left = (a + shift * step[0] for a, step in zip(at, steps, strict=True))
        image = np.zeros((n, *ground, channels))
        image[:, top : top + height, left : left + width] = x
        images.append(result(layer, image))
    (_, down), (_, right) = steps
    still, moved = images
    return difference(moved[:, down:, right:], still[:, : still.shape[1] - down, : still.shape[2] - right])


def period(layer: Layer, shape: Sequence[int], axis: int) -> tuple[int, int]:
    """Return the smallest growth of an axis by which the result grows steadily, and the growth of the result."""

    def length(size: int) -> int:
        grown = (*shape[:axis], size, *shape[axis + 1 :])
        return int(layer.output_shape(grown)[axis])

    start = shape[axis] + 24
    for step in range(1, 25):
        sizes = range(start, start + 2 * step)
        growth = [length(size + step) - length(size) for size in sizes]
        if growth[0] > 0 and len(set(growth)) == 1:
            return step, growth[0]
    return 1, 1


def translation_invariant(layer: Layer, x: Array) -> float:
    """Adding a number to the last axis changes nothing: f(x + c) = f(x)."""
    return difference(result(layer, x + other(x[..., :1])), result(layer, x))


def scale_invariant(layer: Layer, x: Array) -> float:
    """Multiplying the inputs by a positive number changes nothing: f(3x) = f(x)."""
    return difference(result(layer, 3 * x), result(layer, x))


def positively_homogeneous(layer: Layer, *inputs: Array) -> float:
    """f(3x) = 3 f(x)."""
    return difference(result(layer, *(3 * x for x in inputs)), 3 * result(layer, *inputs))


def monotone(layer: Layer, x: Array) -> float:
    """If x <= z element by element, then f(x) <= f(z); returns the largest decrease."""
    return float(np.maximum(0, result(layer, x) - result(layer, x + abs(other(x)))).max(initial=0.0))


def unit_sum(layer: Layer, x: Array) -> float:
    """The result is at least 0 and sums to 1 along the last axis."""
    y = result(layer, x)
    return max(difference(y.sum(axis=-1), np.ones(y.shape[:-1])), float(np.maximum(0, -y).max(initial=0.0)))


def identity_at_zero_weights(layer: Layer, x: Array) -> float:
    """With all parameters 0 the layer returns its input."""
    for parameter in layer.parameters().values():
        parameter.assign(np.zeros(parameter.shape))
    return difference(result(layer, x), x)


LAWS: dict[str, Law] = {
    check.__name__: Law(check.__name__, check, (check.__doc__ or "").rstrip("."))
    for check in (
        affine,
        batch_independent,
        channel_independent,
        elementwise,
        identity_at_zero_weights,
        linear,
        monotone,
        permutation_equivariant,
        positively_homogeneous,
        scale_invariant,
        shift_equivariant,
        translation_invariant,
        unit_sum,
    )
}


def find_law(law: str | Law) -> Law:
    """Return the law of a name; return a Law as it is.

    Raises
    ------
    ConfigError
        The kit has no law of that name.
    """
    if isinstance(law, Law):
        return law
    if law not in LAWS:
        raise ConfigError(f"laws: expected one of {sorted(LAWS)}, or a Law, got {law!r}")
    return LAWS[law]


def in_evaluation(law: str | Law) -> Law:
    """Return the law, restricted to evaluation."""
    return replace(find_law(law), training=False)


def in_training(law: str | Law) -> Law:
    """Return the law, restricted to training."""
    return replace(find_law(law), training=True)
