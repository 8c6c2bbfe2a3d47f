"""Checks of optimizers: steps give fresh arrays and reduce a loss, states are private, and runs can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import observing
from tinygrad_lab.backend import Array, fresh, transfer
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.conformance.cases.plugins import OptimizerCases
from tinygrad_lab.conformance.checks import conclude
from tinygrad_lab.conformance.kinds.kind import Kind, drawn_options
from tinygrad_lab.conformance.properties.arrays import WIDTHS
from tinygrad_lab.conformance.properties.kernels import Audit, ways
from tinygrad_lab.conformance.runner import Run, check_misfits
from tinygrad_lab.conformance.trials.options import Keywords, Options
from tinygrad_lab.conformance.trials.oracles import join
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.subject import read_only
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.values import draw_input
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, demand, demand_finite
from tinygrad_lab.errors import CheckpointError, LabError
from tinygrad_lab.optim.updates import average_update
from tinygrad_lab.registry import optimizers
from tinygrad_lab.train.checkpoint import as_loaded

STEPS = 4
RATES = (0.1, 0.01)
LEFT = frozenset({"eps", "groups"})  # options that keep their defaults


class OptimizerTrial(BaseTrial):
    """An optimizer's options, and parameters and gradients for a few steps.

    Parameters
    ----------
    make : callable
        ``make(parameters, **options)``.
    case : Case
        The optimizer's options; the case's inputs have the parameters' shapes.
    devices : collection of str
        Other devices whose kernels to check.
    """

    def __init__(self, make: Callable[..., Any], case: Case, devices: Collection[str] = ()) -> None:
        rng = np.random.default_rng(case.seed)
        super().__init__(case, [draw_input(i, rng) for i in case.inputs])
        self.make, self.devices = make, devices
        self.gradients = [[rng.uniform(-1, 1, a.shape) for a in self.inputs] for _ in range(STEPS)]

    @property
    def compared(self) -> int:
        """The number of elements of all parameters."""
        return sum(a.size for a in self.inputs)

    def parameters(self, dtype: str = "float64", device: str = "cpu") -> dict[str, tgl.Parameter]:
        """Return fresh parameters."""
        arrays = [transfer(read_only(a.astype(dtype)), device) for a in self.inputs]
        return {f"p{i}": tgl.Parameter(a) for i, a in enumerate(arrays)}

    def optimizer(self, parameters: Mapping[str, tgl.Parameter]) -> Any:
        """Return the optimizer of some parameters."""
        return self.make(parameters, **self.case.options)

    def walk(self, optimizer: Any, parameters: Mapping[str, tgl.Parameter], steps: range) -> list[Array]:
        """Take steps with the trial's gradients, which are read-only, and return the parameters' values."""
        for k in steps:
            for p, g in zip(parameters.values(), self.gradients[k], strict=False):
                if p.node is not None:
                    p.node.grad = transfer(read_only(g.astype(p.dtype)), p.device)
            optimizer.step()
        return [p.value for p in parameters.values()]

    def exercise(self, dtype: str = "float64") -> None:
        """Take a few steps."""
        parameters = self.parameters(dtype)
        self.walk(self.optimizer(parameters), parameters, range(STEPS))


def fresh_arrays(trial: OptimizerTrial) -> Measure:
    """A step gives each parameter a fresh array: the old array and the gradient keep their values.

    Catches updates in place, which also change the tape's saved values and averages of weights if they share the array.
    """
    parameters = trial.parameters()
    optimizer = trial.optimizer(parameters)
    for k in range(STEPS):
        held = [p.value for p in parameters.values()]
        copies = [a.tobytes() for a in held]
        trial.walk(optimizer, parameters, range(k, k + 1))
        for p, a, copy in zip(parameters.values(), held, copies, strict=True):
            demand(a.tobytes() == copy, "a step writes into the parameter's old array")
            demand(a.size == 0 or not np.shares_memory(p.value, a), "a step does not give a fresh array")
            demand(p.node is None or p.node.grad is None, "after a step, the parameter still has its gradient")
    return Measure()


def width(trial: OptimizerTrial) -> Measure:
    """Parameters keep their shape and dtype, and float32 agrees with float64 to rounding."""
    found = {}
    for dtype in ("float64", "float32"):
        parameters = trial.parameters(dtype)
        found[dtype] = trial.walk(trial.optimizer(parameters), parameters, range(STEPS))
        for a, b in zip(found[dtype], trial.inputs, strict=True):
            demand(a.dtype == dtype and a.shape == b.shape, f"{dtype} {b.shape} became {a.dtype} {a.shape}")
    tolerance = 1e-3 * (1 + float(np.abs(join(found["float64"])).max(initial=0.0)))
    return agree("parameters in float32", join(found["float32"]), join(found["float64"]), tolerance)


def leaves_alone(trial: OptimizerTrial) -> Measure:
    """A parameter that is frozen, or that has no gradient, does not change."""
    for how in ("frozen", "without a gradient"):
        parameters, other = trial.parameters(), tgl.Parameter(np.ones(2))
        first = next(iter(parameters.values()))
        optimizer = trial.optimizer({**parameters, "other": other})
        before = first.value.tobytes()
        other.sum().backward()  # a step without any gradient is refused
        if how == "frozen":
            first.freeze()
            trial.walk(optimizer, parameters, range(1))
        else:
            optimizer.step()
        demand(first.value.tobytes() == before, f"a parameter that is {how} is changed by a step")
    return Measure()


def resumes(trial: OptimizerTrial) -> Measure:
    """A run that continues in a new optimizer, by state() and load_state(), gives the bits of an uninterrupted run.

    The state takes the way through a checkpoint, which stores arrays, numbers and strings, and returns tuples as lists.
    """
    parameters = trial.parameters()
    expected = trial.walk(trial.optimizer(parameters), parameters, range(STEPS))
    half = trial.parameters()
    first = trial.optimizer(half)
    trial.walk(first, half, range(STEPS // 2))
    try:
        state = as_loaded(first.state())
    except CheckpointError as error:
        raise Violation(f"state(), in a {error}") from error
    second = trial.optimizer(half)
    second.load_state(state)
    found = trial.walk(second, half, range(STEPS // 2, STEPS))
    return agree("the parameters of a resumed run", join(found), join(expected), 0.0)


def private_state(trial: OptimizerTrial) -> Measure:
    """The arrays of state() are finite, and later steps do not change them."""
    parameters = trial.parameters()
    optimizer = trial.optimizer(parameters)
    trial.walk(optimizer, parameters, range(2))
    state = {k: v for k, v in optimizer.state().items() if isinstance(v, np.ndarray)}
    for key, value in state.items():
        demand_finite(f"{key} of the state", value)
    before = {k: v.tobytes() for k, v in state.items()}
    trial.walk(optimizer, parameters, range(2, STEPS))
    for key, value in state.items():
        demand(value.tobytes() == before[key], f"later steps change {key} of a state that state() has returned")
    return Measure()


def independence(trial: OptimizerTrial) -> Measure:
    """Each parameter's steps depend on its own gradients only."""
    parameters = trial.parameters()
    together = trial.walk(trial.optimizer(parameters), parameters, range(STEPS))
    alone = {"p0": trial.parameters()["p0"]}
    (found,) = trial.walk(trial.optimizer(alone), alone, range(STEPS))
    return agree("a parameter learned alone, compared with the same one learned with others", found, together[0], 1e-12)


def kernels(trial: OptimizerTrial) -> Measure:
    """Each kernel of an update changes parameters and the optimizer's arrays as its reference does, on every device.

    The update of averaged weights is checked too.
    """
    audit = Audit(np.random.default_rng([trial.case.seed, 1]))
    for device, dtype, products in ways(trial.devices):
        if dtype in WIDTHS and products == "float32":  # weights are never in float16, and updates multiply no matrices
            parameters = trial.parameters(dtype, device)
            with observing(audit.observe):
                for p in trial.walk(trial.optimizer(parameters), parameters, range(STEPS)):
                    average_update(fresh(p), p, weight=0.25)
    trial.reached |= audit.reached
    if audit.violations:
        raise audit.violations[0]
    return Measure.worst(audit.measures)


def descends(trial: OptimizerTrial) -> Measure:
    """On L(p) = |p - 1|^2 / 2, a hundred steps bring the parameters nearer to 1."""
    parameters = trial.parameters()
    optimizer = trial.optimizer(parameters)
    before = sum(float(((p.value - 1) ** 2).sum()) for p in parameters.values())
    for _ in range(100):
        for p in parameters.values():
            if p.node is not None:
                p.node.grad = p.value - 1
        optimizer.step()
    demand_finite("the parameters after a hundred steps", join([p.value for p in parameters.values()]))
    after = sum(float(((p.value - 1) ** 2).sum()) for p in parameters.values())
    demand(after < before, f"a hundred steps change |p - 1|^2 from {before:.4g} to {after:.4g}: expected less")
    return Measure()


PROPERTIES: dict[str, Callable[[OptimizerTrial], Measure]] = {
    p.__name__: p for p in (fresh_arrays, width, leaves_alone, resumes, private_state, independence, kernels, descends)
}


def strategy(make: Callable[..., Any], cases: OptimizerCases) -> Any:
    """Return a strategy of cases: options that the constructor accepts, and one to three parameters."""
    options = drawn_options(make, cases, fixed={"lr": st.sampled_from(RATES)}, leave=LEFT, skip=1)

    @st.composite
    def draw_case(draw: Any) -> Case:
        chosen = draw(options)
        try:
            make({"p0": tgl.Parameter(np.zeros(1))}, **chosen)
        except LabError:
            assume(False)
        shapes = draw(st.lists(st.lists(st.integers(1, 3), max_size=2).map(tuple), min_size=1, max_size=3))
        return Case(options=chosen, inputs=tuple(Input(shape) for shape in shapes))

    return draw_case()


def trial(make: Callable[..., Any], case: Case, cases: OptimizerCases, options: Options) -> OptimizerTrial:
    """Return the trial of a case, whose options the constructor accepts."""
    make({"p0": tgl.Parameter(np.zeros(1))}, **case.options)
    return OptimizerTrial(make, case, options.devices)


def misfits(run: Run[OptimizerTrial]) -> Measure | int | None:
    """For arguments that do not fit together, kernels of updates give the error of their references."""
    return check_misfits(run, lambda trial: trial.exercise("float32"))


OPTIMIZER = Kind("optimizer", optimizers, OptimizerCases, strategy, trial, PROPERTIES, {"misfits": misfits})


def check_optimizer(
    optimizer: Any,
    cases: Any = None,
    *,
    exemptions: Mapping[str, str] | None = None,
    **options: Unpack[Keywords],
) -> LayerResult:
    """Check an optimizer: fresh arrays, private state, dtypes, frozen parameters, resuming, kernels, and descent.

    Parameters
    ----------
    optimizer : str or type
        Its registered name, or ``make(parameters, **options)`` with ``step()``, ``state()`` and ``load_state(state)``.
    cases : OptimizerCases or Hypothesis strategy of dict
        Its cases, or a strategy of its options alone. By default the cases that its author registered; if there are
        none, options are drawn according to the constructor's annotations, and learning rates from 0.1 and 0.01.
    exemptions : mapping of property name to reason
        Properties that the optimizer does not have.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_optimizer("sgd", examples=5).passed
    True
    """
    if exemptions is not None:
        stated = OPTIMIZER.find(optimizer, cases)[2]
        cases = replace(stated, exemptions={**stated.exemptions, **exemptions})
    return conclude(OPTIMIZER.inspect(optimizer, cases, **options))
