r"""Oracles: derivatives found without any derivative rule, each with a bound of its own error.

- The *complex step* f'(x) = Im f(x + ih) / h has no subtraction, so h may be 1e-30 and the result is exact to rounding.
  It needs an analytic forward that takes complex numbers; ``abs`` or ``max`` make it silently wrong, so a case must
  declare itself safe, and the kit compares it with differences.
- *Five-point differences* in float64, (f(x-2h) - 8 f(x-h) + 8 f(x+h) - f(x+2h)) / 12h, are off by h^4 f^(5) / 30 and by
  rounding, about eps |f| / h. The estimates at two step sizes, h and 2h, have different errors. Their disagreement
  bounds the error; a large disagreement reveals a kink.

No oracle takes differences in float32, where truncation and rounding leave three digits.

References
----------
W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40, 1998.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_lab.autograd.settings import analytic
from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.trials.verdict import Undecided

Function = Callable[[Sequence[Array]], list[Array]]

STEP = 2.5e-4  # h; the points reach 4h = 1e-3 to either side, well inside the margin between draws and kinks
LADDER = (1e-2, 3e-3, 1e-3, 1e-4, 1e-5)  # other steps, which confirm a mismatch
COMPLEX_STEP = 1e-30
EPS = float(np.finfo(float).eps)
KINK = 1e-3  # relative disagreement of two step sizes beyond which differences decide nothing


@dataclass(frozen=True)
class Estimate:
    """A directional derivative of all results, joined into one vector.

    Parameters
    ----------
    value : array of shape (m,)
        J u.
    error : float
        A bound of the error of any entry.
    """

    value: Array
    error: float

    @property
    def decided(self) -> bool:
        """Whether the error is small relative to the derivative."""
        scale = float(np.abs(self.value).max(initial=0.0))
        return bool(np.isfinite(self.error) and self.error <= KINK * max(scale, 1e-3))


def join(arrays: Sequence[Array]) -> Array:
    """Return the elements of several arrays in one vector."""
    return np.concatenate([np.asarray(a).reshape(-1) for a in arrays]) if arrays else np.zeros(0)


def split(vector: Array, like: Sequence[Array]) -> list[Array]:
    """Undo `join`: return the elements of a vector in arrays with the shapes of `like`."""
    ends = np.cumsum([a.size for a in like])
    parts = zip(np.split(vector, ends[:-1]), like, strict=True) if like else ()
    return [part.reshape(a.shape) for part, a in parts]


def moved(arrays: Sequence[Array], direction: Sequence[Array | None], step: complex) -> list[Array]:
    """Return x + step * u; an argument whose direction is None does not move."""
    return [a if u is None else a + step * u for a, u in zip(arrays, direction, strict=True)]


def complex_step(f: Function, arrays: Sequence[Array], direction: Sequence[Array | None]) -> Estimate:
    """Return J u by the complex step."""
    with analytic():
        value = join(f(moved(arrays, direction, 1j * COMPLEX_STEP))).imag / COMPLEX_STEP
    return Estimate(value, 64 * EPS * float(np.abs(value).max(initial=0.0)))


def differences(
    f: Function, arrays: Sequence[Array], direction: Sequence[Array | None], step: float = STEP
) -> Estimate:
    """Return J u by five-point differences at h and 2h."""
    one, two, four = (
        (join(f(moved(arrays, direction, k * step))), join(f(moved(arrays, direction, -k * step)))) for k in (1, 2, 4)
    )
    with np.errstate(all="ignore"):
        fine = (8 * (one[0] - one[1]) - (two[0] - two[1])) / (12 * step)
        coarse = (8 * (two[0] - two[1]) - (four[0] - four[1])) / (24 * step)
        disagreement = np.abs(fine - coarse).max(initial=0.0)
        rounding = 4 * EPS * np.abs(one[0]).max(initial=0.0) / step
    return Estimate(fine, float(disagreement + rounding))


def one_hots(like: Array) -> list[Array]:
    """Return every unit vector of an array's shape."""
    return [e.reshape(like.shape) for e in np.eye(like.size)]


def dense_direction(like: Array, rng: np.random.Generator) -> Array:
    """Return a random direction in which no coordinate is small."""
    return rng.uniform(0.5, 1.0, like.shape) * rng.choice((-1.0, 1.0), like.shape)


def some_units(like: Array, rng: np.random.Generator, count: int) -> list[Array]:
    """Return `count` unit vectors of an array's shape, chosen at random, or all if there are fewer."""
    chosen = rng.choice(like.size, size=min(count, like.size), replace=False)
    return [np.eye(1, like.size, int(i)).reshape(like.shape) for i in chosen]


def cotangents(like: Sequence[Array], rng: np.random.Generator, *, dense: int = 2, hot: int = 3) -> list[list[Array]]:
    """Return random cotangents and random one-hot ones; a cotangent of ones would miss errors that sum to zero."""
    m = sum(a.size for a in like)
    vectors = [rng.uniform(0.5, 1.5, m) * rng.choice((-1.0, 1.0), m) for _ in range(dense)]
    vectors += [np.eye(1, m, int(i))[0] for i in rng.choice(m, size=min(hot, m), replace=False)]
    return [split(v, like) for v in vectors]


def confirmed(
    f: Function, arrays: Sequence[Array], direction: Sequence[Array | None], matches: Callable[[Estimate], bool]
) -> bool:
    """Return True if every other step size shows the mismatch too.

    Raises
    ------
    Undecided
        Some step size agrees with the rule, so a kink or rounding caused the mismatch.
    """
    if any(matches(differences(f, arrays, direction, step)) for step in LADDER):
        raise Undecided("step sizes disagree about a derivative")
    return True


def numerical_jacobian(f: Function, arrays: Sequence[Array], which: int) -> Array:
    """Return the Jacobian of all results with respect to one argument, of shape (m, n), by differences."""
    columns = []
    for unit in one_hots(arrays[which]):
        direction: list[Array | None] = [None] * len(arrays)
        direction[which] = unit
        columns.append(differences(f, arrays, direction).value)
    return np.stack(columns, axis=1) if columns else np.zeros((join(f(arrays)).size, 0))


def errors_by_step(
    f: Function, arrays: Sequence[Array], direction: Sequence[Array], exact: Array
) -> dict[str, list[float]]:
    """Return the errors of forward, central and five-point differences for steps from 1 down to 1e-12."""
    here = join(f(arrays))
    found: dict[str, list[float]] = {"step": [], "forward": [], "central": [], "five-point": []}
    for step in 10.0 ** -np.arange(0, 12.5, 0.5):
        up, down = (join(f(moved(arrays, direction, k * step))) for k in (1, -1))
        up2, down2 = (join(f(moved(arrays, direction, k * step))) for k in (2, -2))
        estimates = {
            "forward": (up - here) / step,
            "central": (up - down) / (2 * step),
            "five-point": (8 * (up - down) - (up2 - down2)) / (12 * step),
        }
        found["step"].append(float(step))
        for name, estimate in estimates.items():
            found[name].append(float(np.abs(estimate - exact).max(initial=0.0)))
    return found
