"""Properties of derivatives: they agree with oracles that use no rule, and with each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.autograd.tape import Node, unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.trials.oracles import (
    Estimate,
    Function,
    complex_step,
    confirmed,
    cotangents,
    dense_direction,
    differences,
    join,
    moved,
    some_units,
)
from tinygrad_lab.conformance.trials.subject import Arrays, LayerSubject
from tinygrad_lab.conformance.trials.trial import Trial, extremes, magnitude, tied_arrays
from tinygrad_lab.conformance.trials.verdict import Measure, NotFinite, Undecided, Violation, agree, blaming, demand
from tinygrad_lab.errors import LabError
from tinygrad_lab.tensor import Tensor

SAFETY = 10.0  # a mismatch must exceed the oracle's own error by this factor
UNITS = 3  # unit vectors per random direction, divided among the arguments
BACKWARD = 1e-10  # rounding error of a float64 backward pass, relative to the terms that it adds up

Direction = list[Array | None]  # one array for each argument; None if the argument does not move


def gradients(trial: Trial) -> Measure | None:
    r"""For directions u and cotangents v: v^T (J u) by an oracle = (J^T v) u by the rules, for every argument.

    The oracle uses no rule: it is the complex step, or differences at two step sizes. Catches every wrong derivative
    rule.
    """
    if not trial.arrays or not trial.outputs:
        return None
    measures, undecided = [], 0
    for name, a, g in zip(trial.names, trial.arrays, trial.gradients[0], strict=True):
        demand(g.shape == a.shape, f"gradient of {name}: expected shape {a.shape}, got {g.shape}", argument=name)
    if trial.cases.complex_safe:
        check_complex_safety(trial)
    for name, direction in directions_of(trial):
        try:
            measures.append(check_column(trial, name, direction))
        except Undecided:
            undecided += 1
    if undecided > len(measures):
        raise Undecided(f"{undecided} of {undecided + len(measures)} directions cross a kink")
    return Measure.worst(measures)


def directions_of(trial: Trial) -> Iterator[tuple[str, Direction]]:
    """Yield the directions to differentiate along, each with the name of its argument.

    These are all unit vectors if there are at most `Effort.full` of them. Otherwise there are two kinds: random
    directions of all arguments together, in which no coordinate is small, with "" as their name; and some unit vectors
    of each argument, because a single random direction more often than not misses an error of 1 % in one of 1,000
    coordinates.
    """
    rng, effort, count = trial.rng, trial.effort, len(trial.arrays)
    units = effort.full
    if sum(a.size for a in trial.arrays) > effort.full:
        units = max(1, UNITS * effort.sampled // count)
        for _ in range(effort.sampled):
            yield "", [dense_direction(a, rng) for a in trial.arrays]
    for which, name in enumerate(trial.names):
        for unit in some_units(trial.arrays[which], rng, units):
            yield name, alone(trial, which, unit)


def alone(trial: Trial, which: int, u: Array) -> Direction:
    """Return the direction that moves one argument only."""
    return [u if k == which else None for k in range(len(trial.arrays))]


def check_column(trial: Trial, name: str, direction: Direction) -> Measure:
    """Compare J u with the rules' gradients along one direction, for all cotangents."""
    oracle = complex_step if trial.cases.complex_safe else differences
    estimate = oracle(trial.flat, trial.arrays, direction)
    if not estimate.decided:
        raise Undecided(f"differences with respect to {name or 'all arguments'} disagree")
    vs = np.stack([join(v) for v in trial.cotangents])
    by_rule, terms = np.zeros(len(vs)), np.abs(vs) @ np.abs(estimate.value)
    for which, u in enumerate(direction):
        if u is not None:
            products = [np.asarray(g[which] * u) for g in trial.gradients]
            by_rule += [p.sum() for p in products]
            terms += [np.abs(p).sum() + trial.scale.gradients[which] for p in products]
    tolerance = SAFETY * estimate.error * np.abs(vs).sum(axis=1) + BACKWARD * terms
    try:
        what, entries = f"gradient of {name or 'all arguments'}", "products v^T J u with a cotangent v"
        return agree(what, by_rule, vs @ estimate.value, tolerance, argument=name, entries=entries)
    except Violation:

        def matches(other: Estimate) -> bool:
            return bool((np.abs(vs @ other.value - by_rule) <= tolerance).all())

        confirmed(trial.flat, trial.arrays, direction, matches)
        if not name:
            blame_one(trial, direction)
        raise


def blame_one(trial: Trial, direction: Direction) -> None:
    """Raise the Violation of the first argument that is wrong along its own part of a direction."""
    for which, u in enumerate(direction):
        if u is not None:
            with contextlib.suppress(Undecided):
                check_column(trial, trial.names[which], alone(trial, which, u))


def check_complex_safety(trial: Trial) -> None:
    """Compare the complex step with differences along one direction of all arguments."""
    u = [trial.rng.uniform(-1, 1, a.shape) for a in trial.arrays]
    by_differences = differences(trial.flat, trial.arrays, u)
    if not by_differences.decided:
        raise Undecided("differences disagree")
    tolerance = SAFETY * by_differences.error + BACKWARD * (1 + magnitude([by_differences.value]))
    value = complex_step(trial.flat, trial.arrays, u).value
    try:
        agree("complex step (the case declares itself complex_safe)", value, by_differences.value, tolerance)
    except Violation as violation:
        v = join(trial.cotangent)
        by_rule = sum(float(np.sum(g * d)) for g, d in zip(trial.gradients[0], u, strict=True))
        right = abs(by_rule - v @ by_differences.value) <= tolerance * np.abs(v).sum()
        rule = "the rules agree with differences, so the claim is wrong. " if right else ""
        claim = "complex_safe=True claims that the forward is analytic: remove it for abs, sign, max and comparisons"
        raise Violation(f"{violation}; {rule}{claim}", violation.measure) from violation


def second_order(trial: Trial) -> Measure | None:
    r"""With g(x) = J(x)^T v: J_g u by differentiating the backward pass = differences of g along u.

    Catches rules that treat a saved value as a constant although it depends on the arguments. Such rules give right
    first derivatives.
    """
    if not trial.arrays or not trial.outputs or not trial.gradients:  # reading them checks that they are finite
        return None

    def backward(arrays: Sequence[Array]) -> list[Array]:
        with reference_only():
            return trial.subject.linearize(arrays)[1](trial.cotangent)

    def recorded(*arguments: object) -> list[object]:
        _, pull = tgl.vjp(trial.subject, *arguments)
        return list(pull([Tensor(v) for v in trial.cotangent]))

    measures = []
    rng = trial.rng
    for _ in range(2):
        u = [rng.uniform(-1, 1, a.shape) for a in trial.arrays]
        estimate = differences(backward, trial.arrays, u)
        if not estimate.decided:
            raise Undecided("differences of the gradient disagree")
        with reference_only():
            found = join([unbox(h) for h in tgl.jvp(recorded, tuple(trial.arrays), tuple(u))[1]])
        tolerance = SAFETY * estimate.error + BACKWARD * (1 + magnitude([estimate.value]) + sum(trial.scale.gradients))
        try:
            measures.append(agree("second derivative along a direction", found, estimate.value, tolerance))
        except Violation:
            confirm_second_order(backward, trial.arrays, u, found, tolerance)
            raise
    return Measure.worst(measures)


def confirm_second_order(f: Function, arrays: Arrays, u: Arrays, found: Array, tolerance: float) -> None:
    """Raise Undecided if another step size agrees with the second derivative."""
    confirmed(f, arrays, list(u), lambda other: bool((np.abs(other.value - found) <= tolerance).all()))


def adjoint(trial: Trial) -> Measure | None:
    r"""<v, J u> = <J^T v, u>, with J u in both modes, and J^T (2v - 3w) = 2 J^T v - 3 J^T w.

    Catches rules that are not linear in the cotangent or cannot be differentiated with respect to it, and forward rules
    that disagree with the reverse rules.
    """
    if not trial.arrays or not trial.outputs:
        return None
    v, w = trial.cotangents[0], trial.cotangents[1]
    mixed = trial.pull([2 * a - 3 * b for a, b in zip(v, w, strict=True)])
    measures = []
    for name, got, a, b, s in zip(trial.names, mixed, *trial.gradients[:2], trial.scale.gradients, strict=True):
        expected, tolerance = 2 * a - 3 * b, 1e3 * BACKWARD * s
        measures.append(agree(f"J^T (2v - 3w) with respect to {name}", got, expected, tolerance, argument=name))
    if trial.subject.differentiable:
        u = [trial.rng.uniform(-1, 1, a.shape) for a in trial.arrays]
        with reference_only():
            _, pull = tgl.vjp(trial.subject, *trial.arrays)
            _, push = tgl.vjp(lambda *cotangent: list(pull(list(cotangent))), *v)  # v -> J^T v, and its pullback
            pushed = {
                "forward mode": tgl.jvp(trial.subject, tuple(trial.arrays), tuple(u))[1],
                "the pullback's pullback": push(u),
            }
        right = np.dot(join(trial.gradients[0]), join(u))
        terms = np.abs(join(trial.gradients[0])).sum() + sum(trial.scale.gradients)
        for way, result in pushed.items():
            left = np.dot(join(v), join([unbox(p) for p in result]))
            measures.append(agree(f"<v, J u> by {way} and <J^T v, u>", left, right, 10 * BACKWARD * terms))
    return Measure.worst(measures)


def accumulation(trial: Trial) -> Measure | None:
    r"""Gradients add up: two backward passes give 2 J^T v, and f(x) used twice gives J^T v + J^T w.

    Another call of the layer before the backward pass does not change the gradients, and neither does a caller who
    overwrites the cotangent. Catches gradients cached on the layer, written in place, or shared with the caller.
    """
    if not trial.arrays or not trial.outputs:
        return None
    v, w = trial.cotangents[0], trial.cotangents[1]
    leaves = [Tensor(a, Node(a)) for a in trial.arrays]
    others = [Tensor(a, Node(a)) for a in (trial.rng.permutation(a.reshape(-1)).reshape(a.shape) for a in trial.arrays)]
    with reference_only():
        first = trial.subject(*leaves)
        trial.subject(*others)  # another call, whose values must not matter
        backward(first, v)
        measures = compare_leaves(trial, leaves, trial.gradients[0], "after another call of the layer, the gradient")
        backward(trial.subject(*leaves), v)
        twice = [2 * g for g in trial.gradients[0]]
        measures += compare_leaves(trial, leaves, twice, "after two backward passes, the gradient")
        shared = [Tensor(a, Node(a)) for a in trial.arrays]
        backward([*trial.subject(*shared), *trial.subject(*shared)], [*v, *w])
        both = [a + b for a, b in zip(*trial.gradients[:2], strict=True)]
        measures += compare_leaves(trial, shared, both, "with the inputs shared by two calls, the gradient")
    return Measure.worst(measures)


def backward(ys: Sequence[Tensor], vs: Arrays) -> None:
    """Run the backward pass of sum <v, y>, and overwrite the cotangents afterwards; do nothing without results."""
    if not ys:
        return
    written = [np.array(v) for v in vs]
    if len(ys) == 1:
        if ys[0].node is not None:
            ys[0].backward(written[0])
    else:
        products = [tgl.sum(y * Tensor(g)) for y, g in zip(ys, written, strict=True)]
        total = sum(products[1:], start=products[0])
        if total.node is not None:
            total.backward()
    for g in written:
        g.fill(np.nan)


def compare_leaves(trial: Trial, leaves: Sequence[Tensor], expected: Arrays, what: str) -> list[Measure]:
    """Compare the gradients of leaves; a leaf without a gradient counts as zeros."""
    measures = []
    for name, x, g, s in zip(trial.names, leaves, expected, trial.scale.gradients, strict=True):
        got = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        measures.append(agree(f"{what} of {name}", got, g, 1e3 * BACKWARD * (s + magnitude([g])), argument=name))
    return measures


def ties(trial: Trial) -> Measure | None:
    r"""Where values tie, J u lies between the slopes of the smooth pieces that meet there: min s <= (J u)_k <= max s.

    Every convention that picks one of the winners of a maximum satisfies this. A rule that gives the cotangent to all
    winners does not: along u = 1, every piece of a maximum has slope 1. The property applies to layers that declare
    kinks and contain no other layers: in a composition, the slopes that its parts pick may match no piece of the whole.
    """
    if not trial.subject.floats or not trial.outputs:
        return None
    declared = trial.cases.kink_distance is not None or any(given.distinct for given in trial.case.inputs)
    composed = isinstance(trial.subject, LayerSubject) and bool(trial.layer.children())
    if not declared or composed:
        return None
    arrays = tied_arrays(trial)
    with blaming(arrays):
        return between_slopes_nearby(trial, arrays)


def finite_gradients(trial: Trial) -> Measure | None:
    """Gradients of a finite result are finite at zeros, and at numbers so large that exp(x) overflows.

    ReLUs, padding and black pixels produce zeros. Catches 0 * inf and 0 / 0 in a rule, as in that of x sqrt(x x), and
    inf / inf, as in that of x tanh(log(1 + exp(x))).
    """
    if not trial.subject.floats or not trial.outputs:
        return None
    judged = [finite_at(trial, arrays, where) for where, arrays in extremes(trial)]
    return Measure() if any(judged) else None


def finite_at(trial: Trial, arrays: Arrays, where: str) -> bool:
    """Return whether the layer accepts the arguments with a finite result; demand that its gradients then are finite.

    Raises
    ------
    Violation
        A gradient holds NaN or infinity.
    """
    try:
        finite = np.isfinite(join(trial.flat(arrays))).all()
    except LabError:
        return False
    if not finite:
        return False
    with reference_only():
        gradients = trial.subject.linearize(arrays)[1](trial.cotangent)
    with blaming(arrays):
        for name, g in zip(trial.names, gradients, strict=True):
            if wrong := int((~np.isfinite(g)).sum()):
                text = f"where inputs are {where}, the result is finite and the gradient of {name} is not"
                raise NotFinite(f"{text} (NaN or infinity in {wrong} of {g.size} entries)")
    return True


def between_slopes_nearby(trial: Trial, arrays: Arrays) -> Measure:
    """Compare J u at tied arguments with the slopes of the pieces nearby."""
    count = len(trial.subject.floats)
    with reference_only():
        ys, pull = trial.subject.linearize(arrays)
        hots = cotangents(ys, trial.rng, dense=0, hot=16)
        rows, hot = [pull(v) for v in hots], [int(np.argmax(join(v))) for v in hots]
    measures = []
    for u in tie_directions(arrays[:count], trial.rng):
        got = np.array([sum(float(np.sum(g * d)) for g, d in zip(row, u, strict=False)) for row in rows])
        slopes = slopes_nearby(trial.flat, arrays, [*u, *[None] * (len(arrays) - count)], hot, trial.rng)
        outside = np.maximum(0.0, np.maximum(slopes.min(axis=0) - got, got - slopes.max(axis=0)))
        what = "where values tie, the distance of J u from the slopes nearby"
        measures.append(agree(what, outside, np.zeros_like(outside), 0.01 * (1 + np.abs(slopes).max(axis=0))))
    return Measure.worst(measures)


def tie_directions(arrays: Arrays, rng: np.random.Generator) -> list[Arrays]:
    """Return all ones, and two random directions."""
    return [[np.ones(a.shape) for a in arrays]] + [[rng.uniform(-1, 1, a.shape) for a in arrays] for _ in range(2)]


def slopes_nearby(
    f: Function, arrays: Arrays, u: Sequence[Array | None], rows: list[int], rng: np.random.Generator
) -> Array:
    """Return the slopes along u of some results at points nearby.

    The points are: all coordinates moved up or down, for the pieces on either side of 0; moved along a ramp and its
    reverse, which break ties for the last and for the first element; and moved at random.
    """
    ramps = [None if d is None else np.linspace(-1, 1, d.size).reshape(d.shape) for d in u]
    ways = [[None if d is None else sign * np.ones(d.shape) for d in u] for sign in (1.0, -1.0)]
    ways += [[None if d is None else sign * d for d in ramps] for sign in (1.0, -1.0)]
    ways += [[None if d is None else rng.uniform(-1, 1, d.shape) for d in u] for _ in range(6)]
    slopes = []
    for way in ways:
        near = moved(arrays, way, 1e-4)
        up, down = (join(f(moved(near, u, sign * 1e-8))) for sign in (1, -1))
        slopes.append((up - down)[rows] / 2e-8)
    demand(np.isfinite(slopes).all(), "where values tie, the results are not finite")
    return np.stack(slopes)
