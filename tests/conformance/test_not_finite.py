"""NaN and infinity are planted in every quantity that a property checks, and the property must report them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tests.strict_device  # noqa: F401  registers the device
import tinygrad_lab as tgl
from tests.conformance.samples import Elementwise, matrix_cases, row_cases
from tinygrad_lab.conformance import Case, Input, Law, LayerCases, check_vjp, inspect_layer
from tinygrad_lab.conformance.kinds.losses import LOSS, inspect_loss, large_predictions, reductions
from tinygrad_lab.conformance.kinds.optimizers import OPTIMIZER, PROPERTIES, OptimizerTrial
from tinygrad_lab.conformance.meta.fresh_process import rebuilt_here
from tinygrad_lab.conformance.properties import FUNCTION, LAYER, ONCE, RULES
from tinygrad_lab.conformance.properties.agreement import check_law
from tinygrad_lab.conformance.properties.laws import LAWS
from tinygrad_lab.conformance.trials.results import LayerResult, NonconformanceError
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.conformance.trials.subject import RuleSubject, Subject
from tinygrad_lab.conformance.trials.trial import Effort, Trial, layer_trial
from tinygrad_lab.conformance.trials.verdict import NotFinite
from tinygrad_lab.optim.updates import momentum_update

QUICK = Profile(examples=3, shrink=False)
VALUES = (np.nan, -np.inf)

# The parts of a layer or function in which each property must find NaN. Properties with no part compare shapes or bits.
NO_NUMBERS: set[str] = set()
RESULT = {"result"}
WALK = {"result", "gradient"}
FINDS: dict[str, set[str]] = {
    "accumulation": WALK,
    "adequacy": NO_NUMBERS,
    "adjoint": WALK,
    "attributes": NO_NUMBERS,
    "bad_inputs": NO_NUMBERS,
    "batch_of_one": WALK,
    "checkpoint": WALK,
    "determinism": NO_NUMBERS,
    "devices": WALK,
    "finite_gradients": WALK,
    "float32": WALK,
    "forward": RESULT,
    "fresh_process": RESULT,
    "gradients": WALK,
    "kernels": {"kernel"},
    "large_predictions": RESULT,
    "layouts": WALK,
    "modes": {"result", "buffer"},
    "misfits": NO_NUMBERS,
    "non_finite": WALK,
    "nothing_mutated": NO_NUMBERS,
    "output_shape": NO_NUMBERS,
    "own_gradients": NO_NUMBERS,
    "raw_arrays": RESULT,
    "reductions": RESULT,
    "reference": RESULT,
    "second_order": {"result", "gradient", "second derivative"},
    "shapes_and_dtypes": NO_NUMBERS,
    "statistics": {"result", "draw"},
    "ties": WALK,
    "zero_size": {"gradient"},
}
OPTIMIZER_FINDS = {
    "descends": {"parameter"},
    "fresh_arrays": NO_NUMBERS,
    "independence": {"parameter"},
    "kernels": {"kernel"},
    "leaves_alone": NO_NUMBERS,
    "private_state": {"state"},
    "resumes": {"parameter"},
    "width": {"parameter"},
}


def test_every_property_has_an_entry() -> None:
    assert FINDS.keys() == {*LAYER, *FUNCTION, *RULES, *LOSS, *ONCE}
    assert OPTIMIZER_FINDS.keys() == PROPERTIES.keys()


def spoiled(xp: Any, array: Any, where: str, value: float) -> Any:
    """Replace all numbers of an array, or the largest one, with a value that is not finite."""
    if not array.size:
        return array
    hit = array == xp.max(array) if where == "one entry" else array >= xp.min(array)
    return xp.where(hit, xp.asarray(value, array.dtype), array)


def broken_product(part: str, where: str = "everywhere", value: float = np.nan) -> Any:
    """Return a function (x w)^2 / 2 with one part that is not finite."""

    @tgl.primitive
    def planted(xp: Any, x: Any) -> Any:
        return spoiled(xp, x, where, value)

    planted.defvjp(x=lambda g: planted(g))

    @tgl.primitive
    def passed(xp: Any, x: Any) -> Any:
        return 1.0 * x

    passed.defvjp(x=lambda g: planted(g) if part == "gradient" else g)

    @tgl.primitive
    def half_square(xp: Any, x: Any) -> Any:
        return x * x / 2

    @tgl.primitive
    def slope(xp: Any, g: Any, x: Any) -> Any:
        return g * x

    slope.defvjp(g=lambda v, x: slope(v, x), x=lambda v, g: planted(v * g) if part == "second derivative" else v * g)
    half_square.defvjp(x=lambda g, x: slope(g, x))
    if part == "kernel":
        half_square.kernel("numpy")(lambda x: spoiled(np, x * x / 2, where, value))

    def product(x: Any, w: Any) -> Any:
        y = half_square(tgl.matmul(passed(x), passed(w)))
        return planted(y) if part == "result" else y

    return product


def layer_of(part: str, where: str = "everywhere", value: float = np.nan) -> Any:
    """Return a layer with one part that is not finite."""
    product = broken_product(part, where, value)

    class Broken(tgl.Layer):
        def __init__(self, inputs: int, outputs: int, *, rng: Any = None) -> None:
            self.weight = tgl.Parameter(tgl.initializers.draw(1.0, (inputs, outputs), rng=rng))
            self.kept = tgl.Buffer(np.ones(3))

        def forward(self, x: Any) -> Any:
            y = product(x, self.weight)
            if self.training:
                self.update(kept=spoiled(np, self.kept.value / 2, where, value) if part == "buffer" else self.kept)
            if part == "draw" and self.training:  # one call in fifty
                y = tgl.where(self.random(x).uniform((1,)) < 0.02, value, 1.0) * y
            return y

        def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
            return (shape[0], self.weight.shape[1])

    return Broken


def reference(layer: Any, x: Any) -> Any:
    return (x @ layer.state()["weight"]) ** 2 / 2


def trial_of(part: str, where: str, value: float, *, training: bool = True) -> Trial:
    """Return a trial of a layer with one part that is not finite."""
    case = Case(args=(3, 2), inputs=(Input((4, 3), distinct=True),), seed=3, training=training)
    cases = LayerCases(st.just(case), reference=reference, random=part == "draw")
    return layer_trial(layer_of(part, where, value), case, cases, Effort(devices=("strict",)))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Silence NumPy's warnings about NaN, as the kit does."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def finds_nothing(judge: Callable[[], Any]) -> None:
    """Assert that a property holds or does not apply."""
    found = judge()
    assert found is None or found.holds


def finds_it(judge: Callable[[], Any]) -> None:
    """Assert that a property reports a number that is not finite."""
    with pytest.raises(NotFinite, match=r"expected finite numbers, got -?(nan|inf)|finite and the gradient .* is not"):
        judge()


PLANTED = [(name, part) for name, parts in FINDS.items() for part in sorted(parts)]
OF_LAYERS = LAYER | {"fresh_process": lambda trial: rebuilt_here(trial.layer, trial.inputs)}


@pytest.mark.parametrize("where", ["everywhere", "one entry"])
@pytest.mark.parametrize(("name", "part"), [pair for pair in PLANTED if pair[0] in OF_LAYERS])
def test_each_property_of_a_layer_reports_it(name: str, part: str, where: str) -> None:
    judge = OF_LAYERS[name]
    finds_nothing(lambda: judge(trial_of("nothing", where, np.nan)))
    for value in VALUES:
        finds_it(lambda value=value: judge(trial_of(part, where, value)))  # type: ignore[misc]  # its default


@pytest.mark.parametrize("value", VALUES)
def test_the_modes_property_reports_it_in_evaluation(value: float) -> None:
    finds_it(lambda: LAYER["modes"](trial_of("result", "one entry", value, training=False)))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", [name for name in RULES if FINDS[name]])
def test_each_property_of_a_rule_reports_it(name: str, value: float) -> None:
    def trial(part: str) -> Trial:
        def forward(x: Any) -> Any:
            return spoiled(np, x**2, "one entry", value if part == "result" else 1.0)

        def pull(g: Any, x: Any) -> Any:
            return spoiled(np, 2 * x * g, "one entry", value) if part == "gradient" else 2 * x * g

        case = Case(inputs=(Input((4, 3)),), seed=3)
        inputs = [np.random.default_rng(0).normal(size=(4, 3))]
        return Trial(case, LayerCases(st.just(case)), RuleSubject(forward, pull, inputs))

    for part in FINDS[name]:
        finds_it(lambda part=part: RULES[name](trial(part)))  # type: ignore[misc]  # its default


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("law", LAWS)
def test_each_law_reports_it(law: str, value: float) -> None:
    class Identity(Elementwise):
        def __init__(self, broken: bool) -> None:
            self.broken = broken

        def forward(self, x: Any) -> Any:
            y = tgl.softmax(x) if law == "unit_sum" else x / tgl.norm(x) if law == "scale_invariant" else x
            y = y - tgl.mean(y, axis=-1, keepdims=True) if law == "translation_invariant" else y
            return tgl.where(np.arange(x.shape[-1]) == 1, value, y) if self.broken else y

    def trial(broken: bool) -> Trial:
        case = Case(args=(broken,), inputs=(Input((2, 3, 4, 5)),), training=True)
        return layer_trial(Identity, case, LayerCases(st.just(case)), Effort())

    finds_nothing(lambda: check_law(LAWS[law])(trial(False)))
    finds_it(lambda: check_law(LAWS[law])(trial(True)))


@pytest.mark.parametrize("value", VALUES)
def test_a_law_of_the_author_reports_it(value: float) -> None:
    finds_it(lambda: check_law(Law("own", lambda layer, x: value))(trial_of("nothing", "everywhere", value)))


@pytest.mark.parametrize("value", VALUES)
def test_the_properties_of_a_loss_report_it(value: float) -> None:
    def loss(p: Any, t: Any, *, reduction: str = "mean") -> Any:
        losses = tgl.where(np.arange(p.shape[-1]) == 1, value, (p - t) ** 2)
        return {"none": losses, "sum": tgl.sum(losses), "mean": tgl.mean(losses)}[reduction]

    result = inspect_loss(loss, profile=QUICK)
    assert "finite" in headlines(result)["forward"]
    subject = Subject(loss, [np.ones((2, 3)), np.zeros((2, 3))], [1])
    case = Case(inputs=(Input((2, 3)), Input((2, 3), kind="constant")))
    for judge in (reductions, large_predictions):
        finds_it(lambda judge=judge: judge(Trial(case, LayerCases(st.just(case)), subject)))  # type: ignore[misc]  # its default


class Descent:
    """A minimal optimizer that writes a bad number into one entry of its state or of a parameter."""

    def __init__(self, parameters: Any, *, lr: float, part: str, value: float) -> None:
        self.parameters, self.lr, self.part, self.value = parameters, lr, part, value
        self.sums = {key: np.zeros(p.shape, p.dtype) for key, p in parameters.items()}

    def step(self) -> None:
        for key, p in self.parameters.items():
            if p.node is not None and p.node.grad is not None:
                self.sums[key] = self.spoil("state", self.sums[key] + p.node.grad)
                p.assign(self.spoil("parameter", p.value - p.dtype.type(self.lr) * p.node.grad))

    def spoil(self, part: str, array: Any) -> Any:
        return spoiled(np, array, "one entry", self.value) if part == self.part else array

    def state(self) -> dict[str, Any]:
        return {key: array.copy() for key, array in self.sums.items()}

    def load_state(self, state: Any) -> None:
        self.sums = dict(state)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", [name for name, parts in OPTIMIZER_FINDS.items() if parts and name != "kernels"])
def test_each_property_of_an_optimizer_reports_it(name: str, value: float) -> None:
    def trial(part: str) -> OptimizerTrial:
        return OptimizerTrial(Descent, Case(options={"lr": 0.1, "part": part, "value": value}, inputs=(Input((2, 3)),)))

    finds_nothing(lambda: PROPERTIES[name](trial("nothing")))
    for part in OPTIMIZER_FINDS[name]:
        finds_it(lambda part=part: PROPERTIES[name](trial(part)))  # type: ignore[misc]  # its default


@pytest.mark.parametrize("value", VALUES)
def test_the_kernels_property_of_an_optimizer_reports_it(value: float) -> None:
    def wrong(p: Any, g: Any, v: Any, **options: Any) -> Any:
        return spoiled(np, momentum_update.forward(np, p, g, v, **options), "one entry", value)

    momentum_update.kernels.register("numpy", error_bound=1e-6)(wrong)
    try:
        found = headlines(OPTIMIZER.inspect("sgd", examples=5, properties=["kernels"]))
    finally:
        del momentum_update.kernels[0]
    assert "expected finite numbers" in found["kernels"]


def headlines(result: LayerResult) -> dict[str, str]:
    """Return the headline of each failed property."""
    return {p.name: p.failure.headline for p in result.failures if p.failure}


@pytest.mark.parametrize("part", ["result", "gradient", "second derivative", "kernel", "buffer", "draw"])
def test_a_full_check_reports_it(part: str) -> None:
    cases = LayerCases(matrix_cases, reference=reference, random=part == "draw")
    found = headlines(inspect_layer(layer_of(part, "one entry"), cases, profile=QUICK))
    assert any("finite" in text for text in found.values()), found


def test_the_check_of_a_hand_written_derivative_reports_it() -> None:
    for value in VALUES:
        with pytest.raises(NonconformanceError, match="the gradient of x: expected finite numbers"):
            check_vjp(np.sin, lambda g, x, v=value: np.full_like(x, v), row_cases, profile=QUICK)


def test_finite_layers_pass() -> None:
    cases = LayerCases(matrix_cases, reference=reference)
    assert headlines(inspect_layer(layer_of("nothing"), cases, profile=QUICK)) == {}
