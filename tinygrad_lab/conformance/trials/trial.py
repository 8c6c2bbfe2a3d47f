"""Trials: the layer and arrays of one drawn case, with values that several properties share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input, LayerCases
from tinygrad_lab.conformance.trials.oracles import cotangents, join
from tinygrad_lab.conformance.trials.subject import Arrays, LayerSubject, Pull, Subject, in_dtype, read_only, restoring
from tinygrad_lab.conformance.trials.values import (
    OVERFLOWS,
    build_layer,
    constants_of,
    draw_tied,
    takes_all,
    takes_zero,
)
from tinygrad_lab.conformance.trials.verdict import Undecided, demand_finite
from tinygrad_lab.nn.layer import Layer

ATTEMPTS = 25  # draws of values before a case is given up, because all are too close to a kink
NUDGE = 1e-6  # relative size of the small changes that measure how much a result amplifies rounding
ROUNDINGS = 64  # tolerance of a comparison, in roundings of `Scale`


@dataclass(frozen=True)
class Effort:
    """The work that a property puts into one case.

    Parameters
    ----------
    full : int
        The largest number of columns for which the whole Jacobian is compared.
    sampled : int
        The number of random directions if there are more columns.
    devices : tuple of str
        Other devices to compare the CPU with.
    """

    full: int = 64
    sampled: int = 8
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scale:
    """Magnitudes of results and gradients, relative to which rounding errors are judged."""

    outputs: list[float]
    gradients: list[float]


class BaseTrial:
    """One case of a layer, a function or an optimizer: the part that every run needs.

    Parameters
    ----------
    case : Case
        The structure and the seed.
    inputs : list of arrays
        The values drawn for the case's inputs.
    """

    def __init__(self, case: Case, inputs: Arrays) -> None:
        self.case, self.inputs = case, inputs
        self.reached: set[int] = set()  # the kernels that ran, by identity
        self.in_blocks: set[int] = set()  # the kernels that ran on several blocks, in this trial or an earlier one
        self.varied = False  # whether a layer drew different numbers in different steps
        self.shapes_hold = True  # whether all results so far have had the shapes that `output_shape` announces

    @property
    def compared(self) -> int:
        """The number of elements of all gradients."""
        raise NotImplementedError

    def exercise(self) -> None:
        """Run all of the author's code that cases can reach, to see which lines run."""
        raise NotImplementedError


class Trial(BaseTrial):
    """One case, its layer or function, and its arrays.

    Parameters
    ----------
    case : Case
        The structure and the seed; its mode is decided.
    cases : LayerCases
        The author's description of the valid uses.
    subject : Subject
        The function to check; for a layer a `LayerSubject`.
    remake : callable
        Builds the layer of the case again; None for a function.
    effort : Effort
        The work for this case.
    """

    def __init__(
        self,
        case: Case,
        cases: LayerCases,
        subject: Subject,
        remake: Callable[[], Layer] | None = None,
        effort: Effort = Effort(),
    ) -> None:
        super().__init__(case, subject.inputs)
        self.cases, self.subject, self.remake, self.effort = cases, subject, remake, effort
        self.names, self.arrays = subject.names, [read_only(a) for a in subject.arrays]

    @property
    def layer(self) -> Layer:
        """The layer that is checked."""
        assert isinstance(self.subject, LayerSubject)
        return self.subject.layer

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator, the same for each property of this trial."""
        return np.random.default_rng([self.case.seed, 1])

    @cached_property
    def outputs(self) -> Arrays:
        """The float results in float64, computed by the reference forwards; all are finite."""
        for y in self._outputs:
            demand_finite("the result", y)
        return self._outputs

    @cached_property
    def _outputs(self) -> Arrays:
        with reference_only():
            return [read_only(y) for y in self.subject.value(self.arrays)]

    @cached_property
    def cotangents(self) -> list[Arrays]:
        """Random cotangents and one-hot ones."""
        return [[read_only(v) for v in vs] for vs in cotangents(self.outputs, self.rng)]

    @property
    def cotangent(self) -> Arrays:
        """One random cotangent."""
        return self.cotangents[0]

    @cached_property
    def pull(self) -> Pull:
        """The pullback in float64, computed by the reference forwards and the rules."""
        with reference_only():
            return self.subject.linearize(self.arrays)[1]

    @cached_property
    def gradients(self) -> list[Arrays]:
        """The gradients for each cotangent; all are finite."""
        with reference_only():
            found = [list(self.pull(v)) for v in self.cotangents]
        for gradients in found:
            for name, g in zip(self.names, gradients, strict=False):  # another property checks their number
                demand_finite(f"the gradient of {name}", g, argument=name)
        return found

    @cached_property
    def scale(self) -> Scale:
        r"""The magnitude relative to which rounding errors are judged, for each result and each gradient.

        It is max |y| + max |x| + max |y(x (1 + d)) - y(x)| / |d| for small random d; the last term is large where terms
        cancel. A gradient also gets max |v| max(1, |y / x|), because products whose size neither x nor y shows may
        cancel in it (v - sum v y in softmax, v (1 - y^2) in tanh).
        """
        rng = self.rng
        outputs = [magnitude([y]) + magnitude(self.arrays) for y in self.outputs]
        v, y = magnitude(self.cotangent), magnitude(self.outputs)
        gradients = [
            magnitude([g]) + v * max(1.0, y / max(1.0, magnitude([a])))
            for a, g in zip(self.arrays, self.gradients[0], strict=True)
        ]
        for _ in range(2):
            with reference_only():
                nudged = [a * (1 + NUDGE * rng.uniform(-1, 1, a.shape)) for a in self.arrays]
                ys, pull = self.subject.linearize(nudged)
                gs = pull(self.cotangent)
            outputs = [max(s, s + spread(y, y0)) for s, y, y0 in zip(outputs, ys, self.outputs, strict=True)]
            gradients = [max(s, s + spread(g, g0)) for s, g, g0 in zip(gradients, gs, self.gradients[0], strict=True)]
        return Scale(outputs, gradients)

    def tolerances(self, dtype: str = "float64") -> Scale:
        """Return the largest rounding errors to accept in a float dtype."""
        unit = ROUNDINGS * float(np.finfo(dtype).eps)
        return Scale([unit * s for s in self.scale.outputs], [unit * s for s in self.scale.gradients])

    def flat(self, arrays: Sequence[Array]) -> list[Array]:
        """Return the results of the reference forwards, for the oracles."""
        with reference_only():
            return self.subject.value(arrays)

    def cast(self, dtype: str) -> tuple[Arrays, Arrays]:
        """Return the arguments and a cotangent in another float dtype."""
        return in_dtype(self.arrays, dtype), in_dtype(self.cotangent, dtype)

    @property
    def compared(self) -> int:
        """The number of elements of all gradients."""
        return sum(a.size for a in self.arrays) if join(self._outputs).size else 0

    def exercise(self) -> None:
        """Run the forward, the rules and `output_shape`."""
        ys, pull = self.subject.linearize(self.arrays)
        pull([np.ones(y.shape, y.dtype) for y in ys])
        if self.remake is not None:
            self.twin().output_shape(*(a.shape for a in self.inputs))

    def twin(self) -> Layer:
        """Return a second layer of the same case in the same state."""
        assert self.remake is not None
        return self.remake()


def spread(nudged: Array, base: Array) -> float:
    """Return the largest change caused by a nudge, in units of the nudge."""
    with np.errstate(all="ignore"):
        change = np.abs(np.asarray(nudged) - base).max(initial=0.0) / NUDGE
    return float(change) if np.isfinite(change) else 0.0


def clear_of_kinks(make: Callable[..., Layer], case: Case, cases: LayerCases) -> tuple[Case, Layer, Arrays]:
    """Build the layer and inputs of a case, drawing again while a kink is closer than the margin.

    Raises
    ------
    Undecided
        Every draw lies too close to a kink.
    """
    seeds = np.random.default_rng([case.seed, 2])
    for attempt in range(ATTEMPTS):
        seeded = case if attempt == 0 else replace(case, seed=int(seeds.integers(2**32)))
        layer, inputs = build_layer(make, seeded, training=bool(seeded.training))
        with restoring(layer):
            clear = cases.kink_distance is None or float(cases.kink_distance(layer, *inputs)) >= cases.margin
        if clear:
            return seeded, layer, inputs
    raise Undecided(f"each of {ATTEMPTS} draws of values lies nearer to a kink than {cases.margin}")


def layer_trial(make: Callable[..., Layer], case: Case, cases: LayerCases, effort: Effort) -> Trial:
    """Return the trial of a layer's case, whose mode is decided."""
    case, layer, inputs = clear_of_kinks(make, case, cases)

    def remake() -> Layer:
        return build_layer(make, case, training=bool(case.training))[0]

    return Trial(case, cases, LayerSubject(layer, inputs, constants_of(case)), remake, effort)


def tied_arrays(trial: Trial) -> Arrays:
    """Return the trial's arguments with many equal values among the inputs."""
    rng = trial.rng
    drawn = [draw_tied(given, rng) for given in trial.case.inputs]
    floats = [drawn[i] for i in trial.subject.floats]
    return floats + trial.arrays[len(floats) :]


def replaced(trial: Trial, takes: Callable[[Input], bool], put: Callable[[Array], Array]) -> Arrays:
    """Return the trial's arguments with other values for the inputs that may have them; [] if no input may."""
    count = len(trial.subject.floats)
    inputs = [(a, takes(trial.case.inputs[i])) for a, i in zip(trial.arrays, trial.subject.floats, strict=False)]
    if not any(a.size for a, taken in inputs if taken):
        return []
    return [read_only(put(a)) if taken else a for a, taken in inputs] + trial.arrays[count:]


def extremes(trial: Trial) -> list[tuple[str, Arrays]]:
    """Return extreme values, in words, and the trial's arguments with these values for the inputs.

    The inputs are all 0, or 0 in half of their places, or so large that exp(x) overflows, each with its own sign.
    """
    rng = trial.rng
    found = [
        ("0", replaced(trial, takes_zero, np.zeros_like)),
        ("0", replaced(trial, takes_zero, lambda a: np.where(rng.random(a.shape) < 0.5, 0.0, a))),
        (
            f"{OVERFLOWS:g} or {-OVERFLOWS:g}",
            replaced(trial, takes_all, lambda a: np.where(a < 0, -OVERFLOWS, OVERFLOWS)),
        ),
    ]
    return [(where, arrays) for where, arrays in found if arrays]


def magnitude(arrays: Sequence[Array]) -> float:
    """Return the largest absolute value in several arrays."""
    return float(np.abs(join(arrays)).max(initial=0.0))
