"""Checks of layers: correct ones pass, wrong ones fail, and reports explain why."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.conformance import samples
from tests.conformance.samples import Constant, Elementwise, Halved, Matrix, Square, matrix_cases, row_cases, square
from tinygrad_lab.conformance import BadInput, Case, Input, Law, LayerCases, check_layer, inspect_layer
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.conformance.trials.results import NonconformanceError
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.errors import CallError
from tinygrad_lab.registry import layers

QUICK = Profile(examples=6)


def failing(cls, cases=row_cases, **options):
    return [p.name for p in inspect_layer(cls, cases, profile=QUICK, **options).failures]


@pytest.mark.parametrize(("cls", "cases"), [(Square, row_cases), (Matrix, matrix_cases)])
def test_right_layers_pass(cls, cases):
    result = check_layer(cls, cases, profile=QUICK)
    assert result.passed
    assert result.properties["gradients"].examples == 6
    assert 0 < result.properties["gradients"].worst.ratio < 0.2
    assert "passed</th>" in result._repr_html_()
    assert "broken" not in result._repr_html_()


def test_a_wrong_gradient_fails_with_a_report():
    with pytest.raises(NonconformanceError) as caught:
        check_layer(Halved, row_cases, profile=QUICK)
    text = str(caught.value)
    assert "Halved: gradients does not hold" in text
    assert "Input((1, 1))" in text  # the smallest case
    assert "by the rules" in text
    assert "=> every entry is 0.5 times what it should be" in text
    assert 'check_layer(Halved, cases, case=case, properties=["gradients"])' in text
    assert "@example(case=Case(" in text


def test_the_three_lines_of_the_report_reproduce_the_failure():
    result = inspect_layer(Halved, row_cases, profile=QUICK)
    row = re.search(r"gradients</td>.*?</tr>", result._repr_html_())[0]
    assert "broken" in row
    report = result.properties["gradients"].failure.report
    lines = report.split("Run it again:")[1].split("Keep it")[0].strip().splitlines()
    assert len(lines) == 3
    program = "\n".join(line.strip() for line in lines)
    with pytest.raises(NonconformanceError, match="gradients does not hold"):
        exec(program, {"Halved": Halved, "cases": row_cases})


def test_a_residual_treated_as_constant_fails_second_order_only():
    assert failing(Constant) == ["second_order"]


class SignedSquare(Elementwise):
    def forward(self, x):
        return x * tgl.sqrt(x * x)


class Logarithm(Elementwise):
    def forward(self, x):
        return tgl.where(tgl.abs(x) > 0, x * tgl.log(x * x), 0.0)


@pytest.mark.parametrize("cls", [SignedSquare, Logarithm])
def test_gradients_that_are_not_finite_at_zero_fail(cls):
    result = inspect_layer(cls, row_cases, profile=QUICK)
    report = result.properties["finite_gradients"].failure.report
    assert "the result is finite and the gradient of x is not (NaN or infinity in 1 of 1 entries)" in report
    assert "x = [[0.0]]" in report


class NaiveMish(Elementwise):
    def forward(self, x):
        return x * tgl.tanh(tgl.log1p(tgl.exp(x)))


def test_gradients_that_are_not_finite_where_exp_overflows_fail():
    result = inspect_layer(NaiveMish, row_cases, profile=QUICK)
    report = result.properties["finite_gradients"].failure.report
    assert "where inputs are 1000 or -1000, the result is finite and the gradient of x is not" in report
    near = st.integers(1, 3).map(lambda n: Case(inputs=(Input((n,), low=-1.0, high=1.0),)))
    result = inspect_layer(NaiveMish, near, profile=QUICK, properties=["finite_gradients"])
    assert result.passed, "values beyond the range of the cases are not checked"


def test_finite_gradients_are_not_required_outside_the_range_or_at_a_pole():
    class Root(Elementwise):
        def forward(self, x):
            return tgl.sqrt(x)

    class Inverse(Elementwise):
        def forward(self, x):
            return 1.0 / x

    positive = st.integers(1, 3).map(lambda n: Case(inputs=(Input((n,), low=0.5),)))
    for cls, cases in ((Root, positive), (Inverse, row_cases)):
        assert inspect_layer(cls, cases, profile=QUICK, properties=["finite_gradients"]).passed


def test_the_report_of_ties_shows_the_equal_values():
    @tgl.primitive
    def largest(xp, x):
        return xp.max(x, axis=0)

    largest.defvjp(x=lambda g, x, out: g * (x == out))  # every winner gets the whole cotangent

    class Largest(tgl.Layer):
        def forward(self, x):
            return largest(x)

        def output_shape(self, shape):
            return shape[1:]

    cases = st.integers(2, 4).map(lambda n: Case(inputs=(Input((n,), distinct=True),)))
    failure = inspect_layer(Largest, cases, profile=QUICK, properties=["ties"]).properties["ties"].failure
    (line,) = [line for line in failure.report.splitlines() if line.startswith("  x = ")]
    values = sorted(float(v) for v in line.split("[")[1].rstrip("]").split(","))
    assert values[-1] == values[-2]


def test_state_that_a_call_leaves_behind_fails():
    class Remembers(Elementwise):
        def forward(self, x):
            self.first = getattr(self, "first", x)
            return x * tgl.stop_gradient(self.first)

    assert failing(Remembers)[0] == "attributes"


class WithInner(Elementwise):
    def __init__(self):
        self.calls, self.history, self.inner = 0, [], Square()

    def forward(self, x):
        self.change(x)
        return self.inner(x)

    def change(self, x):
        """Change nothing."""


class Counts(WithInner):
    def change(self, x):
        self.calls += 1


class Gathers(WithInner):
    def change(self, x):
        self.history.append(x)


class SetsModes(WithInner):
    def change(self, x):
        self.inner.train(not self.training)


class Adds(WithInner):
    def change(self, x):
        self.share = 0.5


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Counts, "attribute calls from 0 to 1"),
        (Gathers, r"attribute history from \[\] to \[tensor"),
        (SetsModes, "attribute inner.training from"),
        (Adds, "attribute share from nothing to 0.5"),
    ],
)
def test_attributes_that_a_call_changes_fail(cls, said):
    result = inspect_layer(cls, row_cases, profile=QUICK)
    assert [p.name for p in result.failures] == ["attributes"]
    assert re.search(said, result.failures[0].failure.headline)
    assert "self.update" in result.failures[0].failure.headline


def test_buffers_and_random_numbers_do_not_count_as_changed_attributes():
    assert failing(WithInner) == []
    assert inspect_layer("batch_norm", profile=QUICK, properties=["attributes"]).passed
    assert inspect_layer("dropout", profile=QUICK, properties=["attributes"]).passed


def outside(x):
    return x * tgl.tensor(np.random.default_rng().uniform(size=x.shape).astype(x.dtype))


class DrawsOutside(Elementwise):
    def forward(self, x):
        return outside(x)


class ForgetsItsRng(Elementwise):
    def __init__(self, *, rng=None):
        self.inner = Matrix(3, 3)

    def forward(self, x):
        return self.inner(x)


class BuildsAtRandom(Elementwise):
    def __init__(self):
        self.scale = float(np.random.default_rng().uniform())

    def forward(self, x):
        return self.scale * x


three_columns = st.integers(1, 4).map(lambda n: Case(inputs=(Input((n, 3)),)))


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (DrawsOutside, "two calls give different results: draw with self.random"),
        (ForgetsItsRng, "two layers with one seed differ in inner.weight: take rng"),
        (BuildsAtRandom, "two layers with one seed and state differ in their results"),
    ],
)
def test_results_that_differ_each_time_are_the_only_failure(cls, said):
    result = inspect_layer(cls, three_columns, profile=QUICK)
    assert [p.name for p in result.failures] == ["determinism"]
    assert said in result.failures[0].failure.headline


def test_exemption_from_determinism_keeps_the_other_checks():
    cases = LayerCases(three_columns, exemptions={"determinism": "its weights are drawn anew"})
    result = inspect_layer(ForgetsItsRng, cases, profile=QUICK)
    assert result.properties["determinism"].failure is not None
    assert result.properties["gradients"].passed
    assert result.properties["gradients"].examples


def test_a_forgotten_return_is_reported():
    class Forgets(Elementwise):
        def forward(self, x):
            square(x)

    (failure,) = inspect_layer(Forgets, row_cases, profile=QUICK).failures
    expected = "CallError: Forgets(): expected forward to return a result, got None; is its return missing?"
    assert failure.failure.headline == expected


def test_cases_with_arguments_that_the_constructor_lacks_are_named():
    with pytest.raises(CallError, match=r"got ReLU.*; its strategy, tinygrad_lab_layers.relu.cases:cases, gives"):
        construct(layers["relu"], (), {"beta": 1.0}, np.random.default_rng(0))
    with pytest.raises(CallError, match="; its strategy of cases gives these arguments: adapt it"):
        construct(Elementwise, (), {"beta": 1.0}, np.random.default_rng(0))


def test_a_forward_that_writes_into_its_argument_is_reported():
    @tgl.primitive
    def grown(xp, x):
        x += 1
        return x

    class Grows(Elementwise):
        def forward(self, x):
            return grown(x)

    (failure,) = inspect_layer(Grows, row_cases, profile=QUICK).failures
    assert "forward: something writes into an array that belongs to its caller" in failure.failure.headline


def test_a_forward_that_requires_tensors_fails_raw_arrays():
    class Asks(Elementwise):
        def forward(self, x):
            return x * (1.0 if isinstance(x, tgl.Tensor) else 2.0)

    assert "raw_arrays" in failing(Asks)


def test_an_exception_fails_the_property_that_raised_it():
    class Refuses(Elementwise):
        def forward(self, x):
            if x.dtype == "float32":
                raise ValueError("no float32 here")
            return x * 1.0

    result = inspect_layer(Refuses, row_cases, profile=QUICK)
    assert "ValueError: no float32 here" in result.properties["shapes_and_dtypes"].failure.headline


def test_a_layer_that_does_not_run_fails_once():
    class Broken(Elementwise):
        def forward(self, x):
            return x.no_such_method()

    assert failing(Broken) == ["forward"]


def test_cases_that_the_constructor_refuses_fail():
    cases = st.just(Case(args=(-1, 2), inputs=(Input((1, 1)),)))
    assert failing("dense", cases) == ["forward"]


def test_a_wrong_output_shape_fails():
    class Wrong(Square):
        def output_shape(self, shape):
            return (*shape, 1)

    assert failing(Wrong) == ["output_shape", "zero_size"]


def test_a_wrong_function_with_its_right_gradient_fails_reference():
    cases = LayerCases(row_cases, reference=lambda layer, x: x**2 + 1)
    assert failing(Square, cases) == ["reference"]


def test_cases_away_from_declared_kinks_pass():
    class Hard(Elementwise):
        def forward(self, x):
            return tgl.relu(x)

    assert failing(Hard, LayerCases(row_cases, kink_distance=lambda layer, x: abs(x).min(initial=1))) == []


def test_a_rule_that_writes_into_its_cotangent_fails():
    @tgl.primitive
    def doubled(xp, x):
        return 2 * x

    def rule(g):
        g *= 2
        return g

    doubled.defvjp(x=rule)

    class Writes(Elementwise):
        def forward(self, x):
            return doubled(x)

    result = inspect_layer(Writes, row_cases, profile=QUICK)
    assert not result.properties["nothing_mutated"].passed
    assert "writes into an array that belongs to its caller" in result.properties["nothing_mutated"].failure.headline


def test_a_lost_nan_fails():
    class Swallows(Elementwise):
        def forward(self, x):
            return tgl.where(tgl.isfinite(x), x, 0.0)

    assert failing(Swallows) == ["non_finite"]


@pytest.mark.slow
def test_random_layers_must_vary_and_have_the_right_mean():
    class Noise(Elementwise):
        def __init__(self, *, scale=1.0):
            self.scale = scale

        def forward(self, x):
            return x * (tgl.tensor(self.random(x).uniform()) * 2 * self.scale) if self.training else x

    random = LayerCases(row_cases, random=True)
    assert failing(Noise, random) == []
    biased = row_cases.map(lambda case: Case(options={"scale": 1.5}, inputs=case.inputs))
    assert failing(Noise, LayerCases(biased, random=True)) == ["statistics"]
    assert failing(Square, random) == ["adequacy"]
    assert "determinism" not in failing(Noise, random)
    (note,) = [n for n in inspect_layer(Noise, row_cases, profile=QUICK).notes if "random" in n]
    assert "set random=True in its cases" in note
    assert not [n for n in inspect_layer(Square, row_cases, profile=QUICK).notes if "random" in n]


def test_running_statistics_that_are_updated_twice_fail():
    class Counts(Elementwise):
        def __init__(self):
            self.total = tgl.Buffer(np.zeros(1))

        def forward(self, x):
            if self.training:
                self.total.assign(self.total.value + 1)
            return x * 1.0

    assert failing(Counts) == ["checkpoint"]


def test_buffers_are_compared_with_the_expected_update():
    class Mean(Elementwise):
        def __init__(self):
            self.mean = tgl.Buffer(np.zeros(1, "float32"))

        def forward(self, x):
            if self.training:
                self.update(mean=0.9 * self.mean.value + 0.1 * x.mean().value if hasattr(x, "value") else self.mean)
            return x * 1.0

    def updated(factor):
        def expected(layer, x):
            return {"mean": factor * layer.state()["mean"] + (1 - factor) * x.mean()}

        return LayerCases(row_cases, updated_buffers=expected)

    assert "modes" in failing(Mean, updated(0.5))


def test_laws_are_checked_as_properties_with_their_names():
    good = Law("not_negative", lambda layer, x: max(0.0, -layer(x).min()))
    bad = Law("small", lambda layer, x: abs(layer(x)).max(), formula="|f(x)| = 0")
    result = inspect_layer(Square, LayerCases(row_cases, laws=("elementwise", good, bad)), profile=QUICK)
    assert [p.name for p in result.failures] == ["small"]
    assert "law small (|f(x)| = 0)" in result.failures[0].failure.headline
    assert result.properties["not_negative"].examples == 6


def test_a_law_for_evaluation_is_not_checked_in_training():
    law = Law("never", lambda layer, x: 1.0, training=False)
    result = inspect_layer(
        Square, LayerCases(row_cases, laws=(law,)), profile=QUICK, case=Case(inputs=(Input((1,)),), training=True)
    )
    assert result.properties["never"].examples == 0


def test_bad_inputs_raise_the_documented_error():
    def result(**bad):
        cases = LayerCases(matrix_cases, bad_inputs=(BadInput(args=(2, 3), **bad),))
        return inspect_layer(Matrix, cases, profile=QUICK).properties["bad_inputs"]

    assert result(inputs=((4, 5),), error=ValueError, match="mismatch|expected").passed
    assert "got no error" in result(inputs=((4, 2),)).failure.headline
    assert "expected KeyError, got" in result(inputs=((4, 5),), error=KeyError).failure.headline
    assert "that matches 'flatten'" in result(inputs=((4, 5),), error=ValueError, match="flatten").failure.headline


def test_exempt_properties_run_and_needless_exemptions_are_noted():
    exempt = LayerCases(row_cases, exemptions={"second_order": "first order only", "adjoint": "no reason"})
    result = inspect_layer(Constant, exempt, profile=QUICK)
    assert result.passed
    assert result.properties["second_order"].failure is not None
    assert any("exemption from adjoint is needless" in note for note in result.notes)
    assert not any("second_order" in note for note in result.notes)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (st.just(Case(inputs=(Input((2, 2)),))), "every draw is the same case"),
        (st.integers(0, 9).map(lambda n: Case(inputs=(Input((0, n)),))), "no case has both a float argument"),
    ],
)
def test_vacuous_strategies_fail(strategy, text):
    result = inspect_layer(Square, strategy, profile=Profile(examples=8))
    assert text in result.properties["adequacy"].failure.headline


def test_strategies_without_a_usable_case_fail():
    cases = LayerCases(row_cases, kink_distance=lambda layer, x: 0.0)
    result = inspect_layer(Square, cases, profile=QUICK)
    assert "no case could be used" in result.properties["adequacy"].failure.headline


def test_options_that_no_case_sets_are_noted():
    class Optional(Elementwise):
        def __init__(self, *, shift=0.0, double=False):
            self.shift, self.double = shift, double

        def forward(self, x):
            if self.double:
                return 2.0 * x
            return x + self.shift

    notes = inspect_layer(Optional, row_cases, profile=QUICK).notes
    assert any("no case sets shift, double" in note for note in notes)


def test_errors_that_no_bad_input_reaches_are_noted():
    cases = st.integers(1, 4).map(lambda n: Case(options={"low": -1.0, "high": 1.0}, inputs=(Input((n, 2)),)))
    lstm_notes = inspect_layer("hardtanh", cases, profile=QUICK).notes
    assert any("no BadInput reaches the errors in layer.py" in note for note in lstm_notes)


def test_examples_of_the_author_always_run():
    seen = []

    class Sees(Square):
        def forward(self, x):
            seen.append(tuple(x.shape))
            return super().forward(x)

    check_layer(Sees, LayerCases(row_cases, examples=(Case(inputs=(Input((7, 3)),)),)), profile=QUICK)
    assert (7, 3) in seen


def test_a_single_case_can_be_checked():
    result = check_layer(
        "dense", case=Case(args=(3, 2), inputs=(Input((2, 3)),), training=True), properties=["gradients"]
    )
    assert set(result.properties) == {"forward", "gradients"}
    assert result.examples == 1


def test_the_same_seed_finds_the_same_failure():
    one, two = (inspect_layer(Halved, row_cases, profile=QUICK) for _ in range(2))
    assert one.properties["gradients"].failure.case == two.properties["gradients"].failure.case


def test_the_sample_layers_compute_what_their_names_say():
    assert samples.square(np.float64(3.0)) == 9
