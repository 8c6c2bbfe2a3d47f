"""Checks of functions, of hand-written derivatives, of losses and of optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.conformance.samples import rows, square, square_constant, square_halved
from tinygrad_lab import registry
from tinygrad_lab.conformance import Case, Input, check_function, check_loss, check_optimizer, check_vjp
from tinygrad_lab.conformance.kinds.losses import inspect_loss
from tinygrad_lab.conformance.meta.adequacy import demand_reached, kernels_in
from tinygrad_lab.conformance.trials.results import NonconformanceError
from tinygrad_lab.errors import ConfigError

FEW = 5


def broken(check: Any, *args: Any, **options: Any) -> list[str]:
    """Return the names of the properties that fail."""
    with pytest.raises(NonconformanceError) as caught:
        check(*args, examples=FEW, **options)
    return [p.name for p in caught.value.result.failures]


def test_right_and_wrong_functions_of_tensors() -> None:
    assert check_function(square, rows, complex_safe=True, reference=lambda x: x**2, examples=FEW).passed
    assert broken(check_function, square_halved, rows)[0] == "gradients"
    assert broken(check_function, square_constant, rows) == ["second_order"]
    assert broken(check_function, square, rows, reference=lambda x: x**2 + 1) == ["reference"]


def test_several_inputs_options_and_integers() -> None:
    def gather(x: Any, index: Any, *, scale: float) -> Any:
        return tgl.take_along_axis(x, index, axis=0) * scale

    def draw(sizes: tuple[int, int]) -> Case:
        index = Input((2, sizes[1]), kind="integer", below=sizes[0])
        return Case(options={"scale": 2.0}, inputs=(Input(sizes), index))

    assert check_function(gather, rows.map(draw), examples=FEW).passed


def test_complex_safety_is_checked() -> None:
    with pytest.raises(NonconformanceError, match="declares itself complex_safe") as caught:
        check_function(tgl.absolute, rows, complex_safe=True, examples=FEW)
    assert "the rules agree with differences, so the claim is wrong" in str(caught.value)
    assert "remove it for abs, sign, max" in str(caught.value)


def test_functions_with_kinks() -> None:
    distance = {"kink_distance": lambda x: float(abs(x).min(initial=1))}
    assert check_function(tgl.relu, rows, examples=FEW, **distance).passed


def test_the_report_of_a_function_shows_how_to_call_it() -> None:
    with pytest.raises(NonconformanceError, match=r"check_function\(square_halved, cases, case=case\)"):
        check_function(square_halved, rows, examples=FEW)


def times(x: Any, w: Any) -> Any:
    return x @ w


def right(g: Any, x: Any, w: Any) -> Any:
    return g @ w.T, x.T @ g


matrices = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).map(
    lambda t: (Input((t[0], t[1])), Input((t[1], t[2])))
)


def test_right_and_wrong_derivatives_of_array_functions() -> None:
    assert check_vjp(times, right, matrices, complex_safe=True, examples=FEW).passed
    assert "gradients" in broken(check_vjp, times, lambda g, x, w: (g @ w.T, (g.T @ x).T * 1.001), matrices)


def test_functions_with_several_results() -> None:
    def both(x: Any) -> Any:
        return np.sin(x), x.sum(axis=0)

    def pull(g: Any, x: Any) -> Any:
        return g[0] * np.cos(x) + g[1]

    assert check_vjp(both, pull, rows, examples=FEW).passed


def test_a_cotangent_returned_as_a_gradient_fails() -> None:
    assert broken(check_vjp, lambda x: x + 1, lambda g, x: g, rows) == ["own_gradients"]


def test_float32_arithmetic_is_refused() -> None:
    with pytest.raises(NonconformanceError, match="for float64 arguments: expected a float64 result, got float32"):
        check_vjp(lambda x: x.astype("float32"), lambda g, x: g * 1, rows, examples=FEW)


@pytest.mark.peers
def test_derivatives_of_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def forward(x: Any) -> Any:
        return torch.nn.functional.gelu(torch.tensor(x.copy())).numpy()

    def pull(g: Any, x: Any) -> Any:
        leaf = torch.tensor(x.copy(), requires_grad=True)
        (gradient,) = torch.autograd.grad(torch.nn.functional.gelu(leaf), leaf, torch.tensor(g.copy()))
        return gradient.numpy()

    assert check_vjp(forward, pull, rows, examples=FEW).passed
    assert "gradients" in broken(check_vjp, forward, lambda g, x: pull(g, x) * 1.01, rows)


@pytest.mark.parametrize("name", list(registry.losses))
def test_registered_losses_conform(name: str) -> None:
    assert check_loss(name, examples=FEW).passed


@st.composite
def smoothed(draw: Any, shares: bool) -> Case:
    """Draw logits, labels or probabilities, and an amount of smoothing."""
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    target = Input((rows, classes), 0.0, 1.0) if shares else Input((rows,), kind="integer", below=classes)
    options = {"reduction": draw(st.sampled_from(("mean", "none"))), "label_smoothing": draw(st.sampled_from((0, 0.3)))}
    return Case(options=options, inputs=(Input((rows, classes)), target))


@pytest.mark.slow
@pytest.mark.parametrize("shares", [False, True])
def test_cross_entropy_of_labels_and_probabilities_smoothed(shares: bool) -> None:
    assert check_loss("softmax_cross_entropy", smoothed(shares)).passed


@pytest.mark.slow
def test_every_kernel_of_the_losses_is_reached() -> None:
    results = [inspect_loss(name, examples=FEW, properties=["kernels"]) for name in registry.losses]
    demand_reached(kernels_in("tinygrad_lab.losses."), {key for result in results for key in result.reached})


def squared(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    loss = (prediction - target) ** 2
    return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / loss.shape[0]}[reduction]


def test_a_loss_with_a_mean_over_rows_only_fails() -> None:
    assert broken(check_loss, squared) == ["reductions"]


@pytest.mark.parametrize("name", list(registry.optimizers))
def test_registered_optimizers_conform(name: str) -> None:
    assert check_optimizer(name, examples=FEW).passed


class Descent:
    """A minimal correct optimizer, the base class of the wrong ones below."""

    def __init__(self, parameters: Any, *, lr: float) -> None:
        self.parameters, self.lr, self.count = parameters, lr, 0

    def step(self) -> None:
        for p in self.parameters.values():
            if p.node is not None and p.node.grad is not None:
                self.update(p, p.node.grad)
        self.count += 1

    def update(self, p: Any, g: Any) -> None:
        p.assign(p.value - p.dtype.type(self.lr) * g)

    def state(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state(self, state: Any) -> None:
        self.count = state["count"]


class InPlace(Descent):
    def update(self, p: Any, g: Any) -> None:
        value = p.value
        value.flags.writeable = True
        value -= self.lr * g
        p.assign(value)


class Widens(Descent):
    def update(self, p: Any, g: Any) -> None:
        p.assign(p.value - np.float64(self.lr) * g.astype("float64"))


class Climbs(Descent):
    def update(self, p: Any, g: Any) -> None:
        p.assign(p.value + p.dtype.type(self.lr) * g)


class Forgets(Descent):
    def update(self, p: Any, g: Any) -> None:
        p.assign(p.value - p.dtype.type(self.lr / (1 + self.count)) * g)

    def load_state(self, state: Any) -> None:
        self.count = 0


class Thaws(Descent):
    def step(self) -> None:
        for p in self.parameters.values():
            p.assign(p.value * p.dtype.type(1 - self.lr))


@pytest.mark.parametrize(
    ("optimizer", "prop"),
    [
        (InPlace, "fresh_arrays"),
        (Widens, "width"),
        (Climbs, "descends"),
        (Forgets, "resumes"),
        (Thaws, "leaves_alone"),
    ],
)
def test_wrong_optimizers_fail(optimizer: Any, prop: str) -> None:
    options = st.sampled_from(({"lr": 0.1}, {"lr": 0.05}))
    assert check_optimizer(Descent, options, examples=FEW).passed
    assert prop in broken(check_optimizer, optimizer, options)


def careless_optimizer() -> type[Descent]:
    """Return an optimizer whose kernel accepts gradients of any shape; only callers of this function see the kernel."""

    @tgl.primitive
    def descend(xp: Any, p: Any, g: Any, *, lr: float) -> Any:
        return p - p.dtype.type(lr) * g

    @descend.kernel("numpy", error_bound=1e-6)
    def descend_anywhere(p: Any, g: Any, *, lr: float) -> Any:
        return p - p.dtype.type(lr) * np.resize(g, p.shape)

    class Careless(Descent):
        def update(self, p: Any, g: Any) -> None:
            p.assign(descend(p.value, g, lr=self.lr))

    return Careless


def careless_loss() -> Any:
    """Return a loss whose kernel accepts targets of any shape."""

    @tgl.primitive
    def square_error(xp: Any, p: Any, t: Any) -> Any:
        return xp.square(p - t)

    square_error.defvjp(p=lambda g, p, t: 2.0 * g * (p - t))

    @square_error.kernel("numpy", error_bound=1e-6)
    def square_error_anywhere(p: Any, t: Any) -> Any:
        return np.square(p - np.resize(t, p.shape))

    def careless(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
        errors = square_error(prediction, target)
        return {"none": errors, "sum": errors.sum(), "mean": errors.mean()}[reduction]

    return careless


def test_kernels_of_losses_and_optimizers_must_check_shapes() -> None:
    assert broken(check_optimizer, careless_optimizer(), st.just({"lr": 0.1})) == ["misfits"]
    assert broken(check_loss, careless_loss()) == ["misfits"]


@pytest.mark.parametrize("wrong", [{"profile": "fast"}, {"examples": 0}])
def test_wrong_options_of_a_check_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: expected"):
        inspect_loss("mse", **wrong)
    with pytest.raises(ConfigError, match=r"properties: expected a known name, got 'gradeints'; did"):
        inspect_loss("mse", properties=["gradeints"])
    with pytest.raises(ConfigError, match="properties: expected a list of names"):
        inspect_loss("mse", properties="gradients")
    with pytest.raises(TypeError, match="exmaples"):
        inspect_loss("mse", exmaples=5)  # type: ignore[call-arg]  # misspelled


def test_a_gradient_of_another_shape_fails_even_if_it_broadcasts():
    pairs = st.integers(2, 3).map(lambda n: (Input((n, n)), Input((n,))))
    check_vjp(lambda x, w: x * w, lambda g, x, w: (g * w, (g * x).sum(0)), pairs, examples=5)
    with pytest.raises(NonconformanceError, match=r"gradient of x1: expected shape \(2,\), got \(2, 2\)"):
        check_vjp(lambda x, w: x * w, lambda g, x, w: (g * w, g * x), pairs, examples=5)
