"""Arguments are checked against annotations: valid ones pass, and an error names the others."""

from __future__ import annotations

import dataclasses
import functools
import json
from abc import ABC
from collections.abc import Sequence
from typing import Any, Literal, Union

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.arguments import check_types, fits
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.errors import LabError, OptionError
from tinygrad_lab.registry import build, describe, layers


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (int, [0, -3, np.int64(3), np.uint8(1)], [True, np.True_, 1.0, np.float32(1), "1", None, [1]]),
        (float, [0, 0.5, np.float32(0.5), np.int8(1)], [True, "0.5", None, 1j, (1.0,)]),
        (bool, [True, False, np.False_], [0, 1, None, "yes"]),
        (str, ["", "same", np.str_("same")], [0, None, b"same", ["same"]]),
        (type(None), [None], [0, "", False]),
        (int | None, [1, None], [1.5, "1", True]),
        (Union[str, float], ["he", 1, 0.1], [None, [0.1], False]),  # noqa: UP007  # the old form works too
        (Literal["zero", "edge"], ["zero", "edge", np.str_("edge")], ["none", None, 0]),
        (Literal[1, None], [1, None, np.int8(1)], [True, 1.0, np.True_, np.array([1, 2]), np.array(1), [1]]),
        (Literal[True], [True, np.True_], [1, 1.0]),
        (tuple[int, int], [(1, 2), [1, 2], np.array([1, 2])], [(1,), (1, 2, 3), (1, 2.5), 3, "12", None]),
        (tuple[float, ...], [np.array([1, 2]), np.ones(0)], [np.array(1.0), np.ones((1, 1)), np.array(["a"])]),
        (Sequence[Sequence[float]], [np.ones((2, 2)), [np.ones(2), (1, 2)]], [np.ones(2), np.ones((1, 1, 1))]),
        (tuple[()], [(), []], [(1,), "", 3]),
        (tuple[int, ...], [(), (1,), [1, 2, 3], range(3)], [3, "12", (1, "2"), {1: 2}]),
        (int | tuple[int, int], [3, (3, 3)], ["3", (3,), 3.0]),
        (Sequence[float], [(1, 2.5), []], [("a",), 1.0, "1"]),
        (list, [[1, "a"], ()], ["ab", {"a": 1}, 3]),
        (dict[str, int], [{"a": 1}], [[1], "a"]),
        (np.ndarray, ["nobody knows", 3], []),
        (Any, [object, 3], []),
    ],
    ids=str,
)
def test_values_that_fit_their_annotation(annotation: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not fits(value, annotation)] == []
    assert [value for value in wrong if fits(value, annotation)] == []


def test_the_message_says_who_expected_what_and_got_what() -> None:
    with pytest.raises(OptionError, match=r"^Softmax: expected axis of type int, got 'x' \(str\)$"):
        layers["softmax"](axis="x")
    for wrong in ("2", 2.0, True, None, [2], np.float64(2)):
        with pytest.raises(OptionError, match=r"^Dense: expected in_features of type int, got"):
            layers["dense"](wrong, 3)
    with pytest.raises(OptionError, match=r"^Conv2d: expected activation of type str \| None, got 3"):
        layers["conv2d"](3, 8, kernel_size=3, activation=3)
    with pytest.raises(
        OptionError, match=r"kernel_size: expected a whole number of at least 1, or a pair of them, got '3'"
    ):
        layers["conv2d"](3, 8, kernel_size="3")


@pytest.mark.parametrize("name", [name for name in layers if name != "sequential"])  # it has no options
def test_built_in_layers_refuse_options_of_a_wrong_type(name: str) -> None:
    from tests.layers.test_misuse import first_case

    cls, case = layers[name], first_case(name)
    given = dict(zip(cls.__signature__.parameters, case.args, strict=False)) | dict(case.options)
    for option in set(cls.__signature__.parameters) - {"rng"}:
        with pytest.raises(LabError, match=rf"^{cls.__name__}\b"):
            cls(**given | {option: object()})


def test_numpy_numbers_are_accepted_and_described_in_json() -> None:
    dense = layers["dense"](np.int64(2), np.uint8(3), bias=np.True_, init=np.float32(0.1), rng=0)
    assert dense.output_shape((1, 2)) == (1, 3)
    assert json.loads(json.dumps(describe(dense)["config"]))["bias"] is True


class Stranger(tgl.Layer):
    """A third-party plugin; one of its options has no annotation."""

    def __init__(self, size: tuple[int, int], *more: int, mode: Literal["a", "b"] = "a", free=None) -> None:  # type: ignore[no-untyped-def]
        self.size, self.more, self.mode, self.free = size, more, mode, free


class Odd(tgl.Layer):
    def __init__(self, size: int, what: Unheard = None) -> None:  # type: ignore[name-defined]  # noqa: F821
        self.size = size


def test_plugins_are_checked_and_unknown_annotations_accept_everything() -> None:
    assert Stranger([1, 2], 3, 4, mode="b", free=object()).more == (3, 4)
    with pytest.raises(OptionError, match=r"^Stranger: expected size of type tuple\[int, int\], got \(1,\) \(tuple\)"):
        Stranger((1,))
    with pytest.raises(OptionError, match=r"^Stranger: expected mode to be one of \['a', 'b'\], got 'c'"):
        Stranger((1, 2), mode="c")
    assert Odd(3, what=object()).size == 3
    with pytest.raises(OptionError, match=r"^Odd: expected size of type int, got 'anything'"):
        Odd("anything")  # type: ignore[arg-type]


def test_functions_partials_and_dataclasses() -> None:
    def make(*, depth: int, image: Sequence[int] = (1, 2)) -> None: ...

    @dataclasses.dataclass
    class Options:
        rate: float = 0.5

    check_types("make", functools.partial(make, depth=3), {"image": [1, 2], "unknown": 3})
    with pytest.raises(OptionError, match="make: expected image of type Sequence"):
        check_types("make", functools.partial(make, depth=3), {"image": "12"})
    with pytest.raises(OptionError, match="rate: expected rate of type float"):
        check_types("rate", Options, {"rate": "fast"})
    check_types("callable", print, {"sep": 3})


def test_a_configuration_survives_json_where_pairs_become_lists() -> None:
    pool = layers["adaptive_avg_pool2d"]((2, 3))
    description = describe(pool)
    assert build({**description, "config": {"size": [2, 3]}}).output_shape((1, 8, 9, 4)) == (1, 2, 3, 4)


class Defaults(tgl.Layer):
    """A layer whose defaults do not fit their annotations."""

    def __init__(
        self,
        n: int = None,  # type: ignore[assignment]  # noqa: RUF013  # a common habit
        rate: float = "auto",  # type: ignore[assignment]  # a common habit
        power: int = 1,
        at: int = np.zeros(2),  # type: ignore[assignment]  # == gives an array
    ) -> None:
        self.n, self.rate = n, rate


def test_a_default_is_accepted_so_that_a_configuration_can_be_built() -> None:
    config = Defaults().config()
    assert Defaults(**config).config() == config
    assert Defaults(rate="".join(["au", "to"])).rate == "auto"  # type: ignore[arg-type]
    for wrong in ({"n": "auto"}, {"rate": None}, {"power": True}, {"power": 1.0}, {"at": np.zeros(2)}):
        with pytest.raises(OptionError, match=r"^Defaults: expected "):
            Defaults(**wrong)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("local_response_norm", {"alpha": 1e-4, "beta": 0.75, "k": 2.0}),
        ("batch_norm", {"channels": 3, "eps": 1e-5, "momentum": 0.1}),
        ("dropout", {"rate": 0.5}),
        ("leaky_relu", {"slope": 0.1}),
        ("elu", {"alpha": 0.5}),
    ],
)
def test_numpy_numbers_as_options_do_not_widen_results(name: str, options: dict[str, Any]) -> None:
    usual = layers[name](**options)
    other = layers[name](**{option: np.array([value])[0] for option, value in options.items()})
    x = np.linspace(-1, 1, 48, dtype="float32").reshape(1, 4, 4, 3)
    expected, found = (unbox(layer(x)) for layer in (usual, other))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert {type(value) for value in other.config().values()} <= {float, int, str, bool, type(None)}


def test_numpy_numbers_in_tuples_become_python_numbers() -> None:
    config = Stranger((np.int64(1), np.int8(2)), free=[(np.float64(0.5),)]).config()
    assert json.loads(json.dumps(config))["free"] == [[0.5]]
    members = [1, (2, 3)]
    assert Stranger((1, 2), free=members).free is members, "without numbers of NumPy, the object is kept"


def test_arrays_are_accepted_as_sequences() -> None:
    from tinygrad_lab.data.augment import Normalize, PCAColor
    from tinygrad_lab.optim.schedules import MultiStepDecay

    assert MultiStepDecay(milestones=np.array([1, 2]))(1) == 0.1  # type: ignore[arg-type]
    assert Normalize(mean=np.full(3, 0.5), std=np.ones(3)).config()["mean"] == (0.5, 0.5, 0.5)  # type: ignore[arg-type]
    both = {"eigenvalues": np.ones(3), "eigenvectors": np.eye(3)}
    assert len(PCAColor(**both).config()["eigenvectors"]) == 3
    with pytest.raises(OptionError, match="PCAColor: expected eigenvectors"):
        PCAColor(**both | {"eigenvectors": np.ones(3)})


def test_a_subclass_may_also_derive_from_abc() -> None:
    class Base(tgl.optim.Optimizer, ABC):
        pass

    assert issubclass(Base, ABC)


def test_an_option_may_have_any_name() -> None:
    class Classifier(tgl.Layer):
        def __init__(self, cls: int) -> None:
            self.cls = cls

    assert Classifier(cls=3).cls == 3
    assert Classifier(cls=3).config() == {"cls": 3}


def test_arguments_of_an_unhashable_callable_are_checked() -> None:
    class Making:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, depth: int) -> None: ...

    check_types("make", Making(), {"depth": 3})
    with pytest.raises(OptionError, match="make: expected depth of type int"):
        check_types("make", Making(), {"depth": "3"})
