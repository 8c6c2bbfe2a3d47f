"""`explain_backward` names the cause and the line of planted faults, and changes nothing."""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tests.strict_device  # noqa: F401  registers the device
import tinygrad_lab as tgl
from tests.inspect.faults import FAULTS, Fault
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.errors import DTypeError, GradientError, ShapeError
from tinygrad_lab.inspect.causes import REMEDIES
from tinygrad_lab.inspect.explain import Values
from tinygrad_lab.inspect.formulas import formula_of
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.registry import layers

LIBRARY = SimpleNamespace(
    **{name: getattr(tgl, name) for name in ("abs", "clip", "exp", "log", "maximum", "no_grad", "relu", "sigmoid")},
    **{name: getattr(tgl, name) for name in ("argmax", "softmax", "sqrt", "tanh", "where")},
    array=lambda a: tgl.tensor(a, dtype="float32"),
    detach=tgl.stop_gradient,
    numpy=tgl.Tensor.numpy,
    round=tgl.rint,
)


def variables(fault: Fault, device: str = "cpu") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, array in fault.arrays.items():
        moved = tgl.tensor(array, device=device)
        made[name] = moved if name == "data" else tgl.Parameter(moved.value)
        if name.endswith("_frozen"):
            made[name].freeze()
    return made


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_cause_and_line_of_a_planted_fault(fault: Fault) -> None:
    made = variables(fault)
    found = tgl.explain_backward(functools.partial(fault.compute, LIBRARY, **made), of=made)[fault.variable]
    assert found.state == fault.state
    cause = found.causes[0]
    assert cause.place is not None
    assert (cause.kind, cause.place.line) == (fault.kind, fault.line), str(cause)
    assert cause.place.file.endswith("faults.py")
    assert cause.remedy


@pytest.mark.parametrize("fault", FAULTS[::4], ids=lambda fault: fault.name)
def test_on_a_device_whose_arrays_numpy_cannot_read(fault: Fault) -> None:
    made = variables(fault, "strict")
    library = SimpleNamespace(**vars(LIBRARY) | {"array": lambda a: tgl.tensor(a, dtype="float32", device="strict")})
    explanation = tgl.explain_backward(functools.partial(fault.compute, library, **made), of=made)
    assert explanation[fault.variable].causes[0].kind == fault.kind
    assert fault.kind in str(explanation)


def test_there_are_forty_faults() -> None:
    assert len(FAULTS) == len({fault.name for fault in FAULTS}) == 40


# ------------------------------------------------------------------------------------------------------------- the walk


def network() -> tuple[Any, Any, np.ndarray]:
    dense, x = layers["dense"], np.linspace(-1.0, 1.0, 12, dtype="float32").reshape(4, 3)
    model = tgl.Sequential(dense(3, 5, activation="relu", rng=0), layers["batch_norm"](5), dense(5, 2, rng=1))
    return model, tgl.tensor(x), np.array([0, 1, 1, 0])


def test_steps_are_those_of_the_backward_pass_and_change_nothing() -> None:
    model, x, labels = network()
    with tgl.no_grad():
        model(x)
    model.eval()
    explanation = tgl.explain_backward(lambda: softmax_cross_entropy(model(x), labels))
    assert all(p.grad is None for p in model.parameters().values())
    assert SETTINGS.get().watcher is None
    loss = softmax_cross_entropy(model(x), labels)
    again = tgl.explain_backward(loss, of=model)
    assert [s.operation for s in explanation.steps] == [s.operation for s in again.steps]
    assert [s.operation for s in again.steps][-2:] == ["add", "matmul_matrices"]
    assert [s.number for s in again.steps] == list(range(1, len(again.steps) + 1))
    loss.backward()  # the explanation has kept the values of the tape
    for path, parameter in model.parameters().items():
        gradient = parameter.grad.numpy()
        assert again[path].values == Values.of(gradient)
        assert explanation[f"model.{path}"].values == Values.of(gradient)
        assert again[path].state in ("flows", "partly zero")


def test_a_step_has_its_formula_its_line_and_its_layer() -> None:
    model, x, labels = network()
    explanation = tgl.explain_backward(lambda: softmax_cross_entropy(model(x), labels), of=model)
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    relu = next(s for s in explanation.steps if s.operation == "relu")
    assert relu.place is not None
    assert (relu.place.line, relu.place.layer) == (line, "0")
    assert [(f.argument, f.formula) for f in relu.flows] == [("x", "relu_grad(g, out)")]
    assert relu.flows[0].source.startswith("the result of add of step")
    product = explanation.steps[-1]
    assert product.flows[0].source == "0.weight"
    assert product.flows[0].gradient.shape == (3, 5)


def test_text_and_html_name_causes_and_are_escaped() -> None:
    w = tgl.tensor([-1.0, -2.0], requires_grad=True)
    explanation = tgl.explain_backward(lambda: tgl.relu(w * 3.0).sum(), of={"<w>": w})
    text, html = str(explanation), explanation._repr_html_()
    assert "dead_relu: relu is dead: all 2 results are 0 (its largest input is -3)" in text
    assert "<w> (2,): zero, [0., 0.]" in text
    assert "&lt;w&gt;" in html
    assert "<w>" not in html


def test_units_that_are_dead_for_the_whole_batch() -> None:
    model, x, _ = network()
    model[0].bias.assign(np.array([9.0, -50.0, 9.0, 9.0, -50.0], "float32"))
    found = tgl.explain_backward(lambda: (model[2](model[0](x)) ** 2.0).sum(), of=model[0])
    assert found["weight"].state == "partly zero"
    assert "2 of 5 units for the whole batch: 1, 4" in found["weight"].causes[0].text


def test_variables_of_a_partial_function_have_their_names() -> None:
    model, x, labels = network()

    def loss(network: Any, images: Any) -> Any:
        return softmax_cross_entropy(network(images), labels)

    names = [v.name for v in tgl.explain_backward(functools.partial(loss, model, images=x)).variables]
    assert names[:2] == ["network.0.weight", "network.0.bias"]
    assert not [name for name in names if name.startswith(("images", "leaf"))]


def test_frozen_layers_are_one_cause() -> None:
    model, x, labels = network()
    model[0].freeze()
    explanation = tgl.explain_backward(lambda: softmax_cross_entropy(model(x), labels), of=model)
    assert [explanation[name].causes[0].kind for name in ("0.weight", "0.bias")] == ["frozen", "frozen"]
    assert explanation["2.weight"].values is not None


@tgl.reference_only()
def test_under_checkpoint_and_through_several_outputs() -> None:
    w = tgl.tensor(np.ones((1, 4, 4, 1), "float32"), requires_grad=True)

    def loss() -> Any:
        h = tgl.checkpoint(lambda x: tgl.tanh(x * 0.5), w)
        return (tgl.max_pool2d(h, kernel_size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)))[0] ** 2.0).sum()

    explanation = tgl.explain_backward(loss)
    assert {"checkpoint", "tanh"} <= {step.operation for step in explanation.steps}
    assert explanation["w"].values is not None
    loss().backward()
    assert explanation["w"].values == Values.of(w.grad.numpy())  # type: ignore[union-attr]


def test_values_whole_or_as_statistics() -> None:
    assert str(Values.of(np.array([[1.0, 2.0]]))) == "[[1., 2.]]"
    assert str(Values.of(np.zeros((3, 4)))) == "all 0"
    array = np.arange(12.0)
    array[3:5] = np.nan, np.inf
    assert str(Values.of(array)) == (
        "mean 5.9, from 0 to 11, 1 of 12 are 0, 1 of 12 are NaN, 1 of 12 are infinite"
    )


# -------------------------------------------------------------------------------------------------------- without steps


def test_a_constant_result_is_explained() -> None:
    w = tgl.tensor(2.0, requires_grad=True)
    explanation = tgl.explain_backward(lambda: (w * w).item())
    assert not explanation.steps
    assert "a constant, not a tensor" in explanation.title
    assert (explanation["w"].state, explanation["w"].causes[0].kind) == ("missing", "detached")


def test_a_tensor_computed_earlier_has_no_lines() -> None:
    w, u = tgl.tensor([1.0, 2.0], requires_grad=True), tgl.tensor(1.0, requires_grad=True)
    explanation = tgl.explain_backward((w * w).sum(), of=[w, u])
    assert "pass a function" in explanation.title
    assert all(step.place is None for step in explanation.steps)
    assert "pass a function" in explanation["of[1]"].causes[0].text


def test_an_infinite_result_is_a_cause_although_gradients_are_finite() -> None:
    w = tgl.tensor([1.0, 2.0], requires_grad=True)
    explanation = tgl.explain_backward(lambda: (w * 2.0 + np.array([np.inf, 0.0])).sum())
    assert explanation["w"].state == "flows"
    assert [cause.kind for cause in explanation.causes] == ["bad_data"]


def test_wrong_calls_are_refused() -> None:
    w = tgl.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    loss.backward()
    with pytest.raises(GradientError, match=r"explain_backward: expected a tape that no backward pass has used"):
        tgl.explain_backward(loss)
    with pytest.raises(GradientError, match=r"explain_backward: expected a cotangent of shape \(2,\)"):
        tgl.explain_backward(w * w)
    with pytest.raises(ShapeError, match=r"explain_backward: expected a cotangent of shape \(2,\)"):
        tgl.explain_backward(w * w, cotangent=np.ones(3))
    with pytest.raises(DTypeError, match="expected a Tensor or a function, got float"):
        tgl.explain_backward(3.0)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"expected layers or tensors in `of\[0\]`, got int"):
        tgl.explain_backward(lambda: (w * w).sum(), of=[1])
    with pytest.raises(DTypeError, match="got a tuple of Tensor, int; return the loss alone"):
        tgl.explain_backward(lambda: (w.sum(), 1))
    with pytest.raises(KeyError, match=r"expected one of \['w'\], got 'b'"):
        tgl.explain_backward(lambda: (w * w).sum())["b"]


def test_a_given_cotangent_and_empty_variables() -> None:
    w, empty = tgl.tensor([1.0, 2.0], requires_grad=True), tgl.tensor(np.zeros((0, 3)), requires_grad=True)
    explanation = tgl.explain_backward(lambda: w * w, cotangent=np.zeros(2))
    assert explanation["w"].causes[0].kind == "zero_cotangent"
    assert tgl.explain_backward(lambda: empty.sum())["empty"].state == "flows"


CAUSES: dict[str, tuple[Any, str, str]] = {
    "a fused relu": (
        lambda w: tgl.conv2d_relu(np.ones((1, 2, 2, 1)), w.reshape(1, 1, 1, 2) * 0.0, np.array([-1.0, -2.0])).sum(),
        "zero",
        "dead_relu",
    ),
    "layers that saturate": (lambda w: layers["gelu"]()(w * 0.0 - 50.0).sum(), "zero", "saturated"),
    "a limited activation": (lambda w: layers["hardtanh"]()(w * 100.0).sum(), "zero", "clipped"),
    "an empty selection": (lambda w: (w[:0] * 2.0).sum(), "zero", "empty"),
    "a variance of one element": (lambda w: tgl.var(w[:1], ddof=1), "not finite", "empty"),
    "rows that are not taken": (lambda w: (tgl.take(w, [1], 0) ** 2.0).sum(), "partly zero", "not_selected"),
    "the edge of a domain": (lambda w: tgl.arcsin(w * 0.0 + 1.0).sum(), "not finite", "edge_of_domain"),
    "outside of a domain": (lambda w: tgl.arccosh(w * 0.0).sum(), "not finite", "outside_domain"),
    "dropout": (lambda w: tgl.dropout(w, key=3, rate=0.999).sum(), "zero", "dropped"),
    "a kink": (lambda w: abs(w * 0.0).sum(), "zero", "at_kink"),
    "a hook that gives NaN": (lambda w: hooked(w * 2.0).sum(), "not finite", "hook"),
    "a loss that is 0": (lambda w: softmax_cross_entropy((w * 1e3).reshape(1, 2), [0]), "zero", "already_right"),
    "a fraction of a negative number": (lambda w: tgl.sqrt(-w * w).sum(), "not finite", "root_of_negative"),
    "a logarithm of a negative number": (lambda w: (tgl.log(w) ** 2.0).sum(), "not finite", "log_of_negative"),
    "a root by a power": (lambda w: ((w * 0.0) ** 0.5).sum(), "not finite", "power_at_zero"),
    "an exponent of 0": (lambda w: (w**0.0).sum(), "zero", "zero_power"),
    "a rule that forgets its cotangent": (lambda w: forgetful(w, np.ones(2)).sum(), "zero", "zero_rule"),
    "a normalized bias": (lambda w: (normalized(w) ** 3.0).sum(), "vanishing", "cancels"),
}


@tgl.primitive
def forgetful(xp: Any, x: Any, y: Any) -> Any:
    return x * y


forgetful.defvjp(x=lambda g, y: 0.0 * g * y)


def hooked(x: Any) -> Any:
    x.register_hook(lambda g: g * np.nan)
    return x


def normalized(w: Any) -> Any:
    x = np.random.default_rng(0).normal(size=(9, 2))
    return tgl.batch_norm(x + w, np.ones(2), np.zeros(2), eps=1e-5)[0]


@pytest.mark.parametrize("name", CAUSES)
def test_other_causes(name: str) -> None:
    compute, state, kind = CAUSES[name]
    w = tgl.tensor([3.0, -2.0], requires_grad=True)
    found = tgl.explain_backward(lambda: compute(w))["w"]
    assert (found.state, found.causes[0].kind) == (state, kind), str(found.causes[0])


def test_backward_passes_inside_the_function_are_no_steps() -> None:
    w = tgl.tensor([-1.0, -2.0], requires_grad=True)

    def with_another_gradient() -> Any:
        tgl.grad(lambda v: tgl.relu(v).sum())(w)  # dead
        return (w * 2.0).sum()

    explanation = tgl.explain_backward(with_another_gradient)
    assert [step.operation for step in explanation.steps] == ["sum_axes", "multiply"]
    assert explanation["w"].state == "flows"


def test_a_gradient_penalty() -> None:
    w = tgl.tensor([-1.0, 2.0], requires_grad=True)

    def penalty() -> Any:
        inner = tgl.grad(lambda x: tgl.sin(x * w).sum())(tgl.tensor([1.0, 1.0]))
        return (inner * inner).sum()

    explanation = tgl.explain_backward(penalty, of={"w": w})
    assert all(flow.argument != "?" for step in explanation.steps for flow in step.flows)
    assert [step.operation for step in explanation.steps].count("sum_axes") == 1
    penalty().backward()
    np.testing.assert_allclose(explanation["w"].values.largest, np.abs(w.grad.numpy()).max())


@pytest.mark.parametrize(("factor", "state"), [(3e-4, "flows"), (6e-8, "vanishing"), (3e4, "exploding")])
def test_states_of_a_bias_of_zero_in_half_precision(factor: float, state: str) -> None:
    b = tgl.tensor(np.zeros(2, np.float16), requires_grad=True)
    assert tgl.explain_backward(lambda: (b * np.float16(factor)).sum())["b"].state == state


def test_every_cause_has_a_remedy_and_a_test() -> None:
    tested = {fault.kind for fault in FAULTS} | {kind for _, _, kind in CAUSES.values()}
    assert tested <= set(REMEDIES)
    assert set(REMEDIES) - tested == {"zero_cotangent"}  # it has a test above


def test_formulas_of_rules_on_one_line_and_of_several_lines() -> None:
    first, second = (lambda g, x: g * x), (lambda g, x: g - x)
    assert (formula_of(first), formula_of(second)) == ("g * x", "g - x")

    def rule(g: Any, x: Any) -> Any:
        """Return g twice."""
        g = g + g
        return g

    assert formula_of(rule) == "rule(g, x): Return g twice."
    assert formula_of(len) == "len"
