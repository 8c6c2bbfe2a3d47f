"""Errors of layers that are built or called wrongly: who, what was expected, what was given, what to do."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.conformance import Input
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.conformance.trials.search import as_case, seeded
from tinygrad_lab.conformance.trials.values import draw_input
from tinygrad_lab.errors import CallError, DTypeError, LabError
from tinygrad_lab.registry import cases, layers

ACTIVATIONS = (
    *("elu", "gelu", "hardtanh", "leaky_relu", "log_softmax", "prelu", "relu"),
    *("selu", "sigmoid", "silu", "softmax", "softplus", "tanh"),
)


def first_case(name):
    """Return one valid case of a layer: the author's first example, or the simplest case of the strategy."""
    found = []

    @settings(max_examples=1, database=None, deadline=None)
    @given(cases[name].strategy)
    def draw(drawn):
        found.append(as_case(drawn))

    draw()
    return found[0]


def built(name, case):
    return construct(layers[name], case.args, case.options, np.random.default_rng(0)).eval()


def inputs_of(case, dtype="float32"):
    rng = np.random.default_rng(0)
    drawn = [draw_input(given, rng) for given in case.inputs]
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in drawn]


@pytest.mark.parametrize("name", layers)
def test_unknown_options_of_a_constructor_are_refused(name):
    cls = layers[name]
    expected = rf"^{cls.__name__}: expected {cls.__name__}\(.*got {cls.__name__}\("
    with pytest.raises(CallError, match=expected + ".*unexpected keyword argument 'color'"):
        cls(*first_case(name).args, **first_case(name).options, color="red")
    if any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(cls).parameters.values()):
        return
    with pytest.raises(CallError, match=expected + ".*too many positional arguments"):
        cls(*range(1, 9))


def test_options_by_position_are_refused():
    signature = r"Conv2d\(in_channels, out_channels, \*, kernel_size, .*\)"
    expected = rf"^Conv2d: expected {signature}, got Conv2d\(3, 8, 3\): .* by name$"
    with pytest.raises(CallError, match=expected):
        layers["conv2d"](3, 8, 3)
    with pytest.raises(CallError, match=r"got Dense\(\): missing a required argument: 'in_features'"):
        layers["dense"]()
    with pytest.raises(CallError, match=r"got Dense\(3, 2, <ndarray>\)"):
        layers["dense"](3, 2, np.zeros((30, 20)))


def test_constructors_keep_their_signature_and_layers_can_be_copied():
    assert list(inspect.signature(layers["dense"]).parameters)[:3] == ["in_features", "out_features", "bias"]
    dense = layers["dense"](2, 3, rng=0)
    assert copy.deepcopy(dense).config() == copy.copy(dense).config() == dense.config()


@pytest.mark.parametrize("name", layers)
@pytest.mark.parametrize("foreign", [None, "text", [[1.0, 2.0]], {"x": 1}], ids=repr)
def test_inputs_that_are_not_arrays_are_refused(name, foreign):
    case = first_case(name)
    layer = built(name, case)
    given = inputs_of(case)
    try:
        layer(foreign, *given[1:])
    except LabError as error:
        text = "\n".join([str(error), *getattr(error, "__notes__", [])])
        assert type(layer).__name__ in text or any(type(inner).__name__ in text for inner in layer.layers().values())
        assert f"got {type(foreign).__name__}" in text
    else:  # a layer that changes nothing may return its argument
        assert name in ("dropout", "spatial_dropout2d", "sequential")


@pytest.mark.parametrize("name", [name for name in layers if name != "sequential"])  # its first layer reports it
def test_a_wrong_number_of_inputs_is_refused(name):
    case = first_case(name)
    layer, given = built(name, case), inputs_of(case)
    with pytest.raises(LabError):
        layer(*given, *given, *given, *given)


@pytest.mark.parametrize("name", layers)
def test_an_input_of_another_float_width_is_refused(name):
    case = first_case(name)
    layer, given = built(name, case), inputs_of(case, "float64")
    floats = [x for x in given if x.dtype == "float64"]
    if not layer.parameters() or not floats:
        layer(*given)
        return
    with pytest.raises(DTypeError, match=r"expected float32 like its parameters, got float64") as caught:
        layer(*given)
    assert any(str(caught.value).startswith(type(inner).__name__) for inner in layer.layers().values())


COMPUTE = (
    *ACTIVATIONS,
    *("adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "conv2d", "conv2d_transpose", "dense", "depthwise_conv2d"),
    *("dropout", "global_avg_pool2d", "group_norm", "layer_norm", "local_response_norm", "lstm"),
    *("multi_head_attention", "spatial_dropout2d", "upsample2d"),
)
MOVE_OR_CHOOSE = ("embedding", "flatten", "max_pool2d", "pad2d", "reshape")
HOLD_OTHERS = ("bottleneck", "inception", "parallel_concat", "residual", "sequential")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


def test_every_layer_is_in_one_of_the_lists_above():
    assert sorted((*COMPUTE, *MOVE_OR_CHOOSE, *HOLD_OTHERS)) == sorted(layers)


@pytest.mark.parametrize("name", [name for name in (*MOVE_OR_CHOOSE, *HOLD_OTHERS) if name != "embedding"])
@pytest.mark.parametrize("providers", [frozenset(), None], ids=["reference", "kernels"])
def test_layers_that_accept_integers_give_the_right_result(name, providers):
    case = first_case(name)
    layer = built(name, case)
    numbers = [np.rint(abs(x) * 9) for x in inputs_of(case)]
    for dtype in INTEGERS:
        given_integers = [x.astype(dtype) for x in numbers]
        with using(providers=providers):
            try:
                got = layer(*given_integers)
            except DTypeError as error:
                assert "expected floats" in str(error)  # noqa: PT017  # a layer may accept integers or raise this error
                continue
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, layer(*(x.astype("float32") for x in given_integers)))


@pytest.mark.parametrize("name", COMPUTE)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool"])
def test_layers_that_compute_require_floats(name, dtype):
    case = first_case(name)
    layer = built(name, case)
    x, *others = (np.ones(given.shape, dtype) for given in case.inputs)
    for array in (x, tgl.tensor(x)):
        with pytest.raises(
            DTypeError, match=rf"expected floats, got {dtype} .*convert with x.astype\('float32'\)"
        ) as caught:
            layer(array, *others)
        assert str(caught.value).startswith(type(layer).__name__)
    assert layer(*(each.astype("float32") for each in (x, *others))).dtype == "float32"


def shapes_of(name, case):
    """Return degenerate shapes like those of a case: no images, no channels, a map smaller than any window."""
    whole = [given.shape for given in case.inputs]
    yield "no images", [(0, *shape[1:]) for shape in whole]
    yield "no channels", [(*shape[:-1], 0) for shape in whole]
    if all(len(shape) == 4 for shape in whole):
        yield "one pixel", [(shape[0], 1, 1, shape[3]) for shape in whole]
        yield "no pixels", [(shape[0], 0, 0, shape[3]) for shape in whole]


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", layers)
@settings(max_examples=12, database=None, deadline=None, derandomize=True)
@given(data=st.data())
def test_degenerate_inputs_have_a_result_or_a_documented_error(name, training, data):
    """Results have the shape that `output_shape` returns; if it refuses a shape, the layer refuses it too."""
    case = data.draw(seeded(cases[name].strategy))
    layer = built(name, case).train(training)
    rng = np.random.default_rng(0)
    for _, shapes in shapes_of(name, case):
        drawn = [
            draw_input(Input(s, kind=g.kind, below=g.below), rng) for s, g in zip(shapes, case.inputs, strict=True)
        ]
        given_arrays = [x.astype("float32") if x.dtype.kind == "f" else x for x in drawn]
        try:
            expected = layer.output_shape(*shapes)
        except LabError:
            with pytest.raises(LabError):
                layer(*given_arrays)
            continue
        try:
            result = layer(*given_arrays)
        except LabError:
            if not training:  # in training, an empty batch has no statistics
                raise
            continue
        if hasattr(result, "shape"):
            assert result.shape == expected
            assert np.isfinite(
                np.asarray(tgl.stop_gradient(result).value if hasattr(result, "value") else result)
            ).all()
