"""Layers: paths, state, configuration, modes, keyed random numbers, updates of buffers."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import StrictArray, to_host
from tinygrad_lab.errors import ConfigError, DTypeError, LabError, OptionError, RuleError, ShapeError, StateError
from tinygrad_lab.nn.variables import Variable
from tinygrad_lab_layers.conv2d import Conv2d
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.dropout import Dropout
from tinygrad_lab_layers.parallel_concat import ParallelConcat
from tinygrad_lab_layers.residual import Residual


class Scale(tgl.Layer):
    """y = weight * x + the running mean of its inputs."""

    def __init__(self, features: int, *, start: float = 1.0, rng: Any = None) -> None:
        self.features = features
        self.weight = tgl.Parameter(np.full(features, start, np.float32))
        self.mean = tgl.Buffer(np.zeros(features, np.float32))

    def forward(self, x: Any) -> Any:
        if x.shape[-1] != self.features:
            raise ShapeError(f"Scale({self.features}): expected last axis {self.features}, got {x.shape[-1]}")
        if self.training:
            self.update(mean=0.5 * self.mean.value + 0.5 * tgl.mean(tgl.stop_gradient(x), 0).value)
        return self.weight * x + self.mean

    def output_shape(self, shape: Any) -> Any:
        return shape


class Noise(tgl.Layer):
    """Multiply by uniform random numbers, twice, in training."""

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        self.first, self.second = self.random(x).uniform(), self.random(x).uniform()
        return x * self.first * self.second

    def output_shape(self, shape: Any) -> Any:
        return shape


class Net(tgl.Layer):
    """A network with layers in attributes, lists and dicts; one layer is used twice."""

    def __init__(self) -> None:
        self.head = Scale(2)
        self.blocks = [Scale(2, start=2.0), tgl.Sequential(Scale(2), Noise())]
        self.named = {"a": Scale(2), "b": {"deep": Scale(2)}}
        self.again = self.head
        self.bias = tgl.Parameter(np.zeros(2, np.float32))

    def forward(self, x: Any) -> Any:
        x = self.again(self.head(x))
        for block in self.blocks:
            x = block(x)
        return self.named["b"]["deep"](self.named["a"](x)) + self.bias

    def output_shape(self, shape: Any) -> Any:
        return shape


X = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)


def boxed(x: Any = X) -> tgl.Tensor:
    """Return the input as a constant tensor."""
    return tgl.tensor(x)


# ------------------------------------------------------------------------------------------------------ paths and state


def test_paths_follow_attributes_lists_and_dicts() -> None:
    net = Net()
    paths = ["", "head", "blocks.0", "blocks.1", "blocks.1.0", "blocks.1.1", "named.a", "named.b.deep", "again"]
    assert list(net.layers()) == paths
    owners = ["head", "blocks.0", "blocks.1.0", "named.a", "named.b.deep"]
    assert list(net.parameters()) == ["bias", *(f"{path}.weight" for path in owners)]
    assert list(net.buffers()) == [f"{path}.mean" for path in owners]


def test_a_returned_state_does_not_change() -> None:
    layer = Scale(2)
    before = layer.state()
    layer(boxed())
    layer.weight.assign(np.array([7.0, 7.0], np.float32))
    assert before["weight"].tolist() == [1.0, 1.0]
    assert before["mean"].tolist() == [0.0, 0.0]
    assert layer.state()["mean"].tolist() == [1.0, 1.75]
    layer.load_state(before)
    assert layer.state()["mean"].tolist() == [0.0, 0.0]


def test_load_state_copies_converts_and_clears_gradients() -> None:
    layer, source = Scale(2), np.array([3.0, 4.0])
    layer.weight.sum().backward()
    layer.load_state({"weight": source, "mean": tgl.tensor(np.ones(2))})
    source[:] = 0.0
    assert layer.weight.numpy().tolist() == [3.0, 4.0]
    assert layer.weight.dtype == np.float32
    assert layer.weight.grad is None
    assert layer.mean.numpy().tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": np.ones(2)}, r"Scale: expected the paths of its variables, missing \['mean'\], unknown \[\]"),
        ({"weight": np.ones(2), "mean": np.ones(2), "w": np.ones(2)}, r"missing \[\], unknown \['w'\]"),
        ({"weight": np.ones(2), "mean": np.ones(3)}, r"Scale: expected mean of shape \(2,\), got \(3,\)"),
        ({"weight": np.ones(2), "mean": np.array(["a", "b"])}, "could not convert"),
    ],
)
def test_load_state_loads_all_variables_or_none(state: dict[str, Any], message: str) -> None:
    layer = Scale(2, start=5.0)
    with pytest.raises((StateError, ValueError), match=message):
        layer.load_state(state)
    assert layer.weight.numpy().tolist() == [5.0, 5.0]


def test_a_shared_layer_has_one_set_of_parameters() -> None:
    net = Net()
    net.eval()
    net(boxed()).sum().backward()
    assert net.head.weight is net.again.weight
    assert net.head.weight.grad is not None
    np.testing.assert_allclose(net.head.weight.grad.numpy(), [2 * 4 * 2, 2 * 7 * 2], rtol=1e-6)  # d/dw of 2 w^2 x


def test_a_shared_parameter_appears_once() -> None:
    layer = tgl.Sequential(Scale(2), Scale(2))
    layer[1].weight = layer[0].weight  # tied weights
    assert list(layer.parameters()) == ["0.weight"]


def test_variables_keep_their_shape_and_kind() -> None:
    layer = Scale(2)
    with pytest.raises(ShapeError, match=r"assign: expected shape \(2,\), got \(3,\)"):
        layer.weight.assign(np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"Scale\(2\): expected weight of shape \(2,\), got \(3,\).* make a new layer"):
        layer.weight = tgl.Parameter(np.ones(3, np.float32))
    layer.weight = tgl.Parameter(np.full(2, 5, np.float32))
    assert layer.weight.numpy().tolist() == [5, 5]
    with pytest.raises(OptionError, match=r"Scale\.weight: expected a Parameter, got ndarray; use weight\.assign"):
        layer.weight = np.ones(2)  # type: ignore[assignment]  # what the test is about
    with pytest.raises(OptionError, match="expected a Buffer"):
        layer.mean = layer.mean + 1.0
    assert isinstance(layer.weight, Variable)


def test_frozen_parameters_are_constants_until_they_are_unfrozen() -> None:
    layer = Scale(2)
    layer.weight.freeze()
    layer.weight.assign(np.array([2.0, 2.0], np.float32))
    assert not layer(boxed()).requires_grad
    layer.unfreeze()
    assert layer(boxed()).requires_grad
    net = Net().freeze()
    assert not net(boxed()).requires_grad
    assert all(inner.frozen for inner in net.layers().values())


def test_hooks_outlast_freezing() -> None:
    weight, seen = Scale(2).weight, []
    remove = weight.register_hook(seen.append)
    weight.freeze()
    weight.assign(np.array([2.0, 2.0], np.float32))
    weight.unfreeze()
    weight.sum().backward()
    assert len(seen) == 1
    weight.freeze()
    remove()
    weight.unfreeze()
    weight.sum().backward()
    assert len(seen) == 1


def test_unfreezing_an_unfrozen_layer_keeps_its_gradient() -> None:
    layer = Scale(2)
    layer.weight.sum().backward()
    layer.unfreeze()
    assert layer.weight.grad is not None
    assert layer.freeze().unfreeze().weight.grad is None


def test_layers_move_and_change_width() -> None:
    layer = Scale(2).astype(np.float64)
    assert layer.weight.dtype == layer.mean.dtype == np.float64
    moved = layer.to("strict")
    assert moved is layer
    assert isinstance(layer.weight.value, StrictArray)
    y = layer(tgl.tensor(X.astype(np.float64), device="strict"))
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.numpy().tolist() == [4.0, 7.0]
    assert to_host(layer.mean.value).tolist() == [1.0, 1.75]
    layer.load_state({"weight": np.ones(2), "mean": np.ones(2)})
    assert layer.weight.device == "strict"
    assert layer.to("cpu").weight.device == "cpu"


# ------------------------------------------------------------------------------------------------- configuration, modes


def test_config_holds_the_arguments_of_the_constructor() -> None:
    assert Scale(3, rng=0).config() == {"features": 3, "start": 1.0}
    assert Scale(features=3, start=2.0).config() == {"features": 3, "start": 2.0}
    assert Noise().config() == {}
    inner = Noise()
    assert tgl.Sequential({"n": inner}).config() == {"layers": {"n": inner}}


def test_a_layer_of_a_sequence_is_replaced_by_name_or_number() -> None:
    model = tgl.Sequential({"first": Scale(3), "last": Scale(3)})
    model.first, model["last"] = Scale(3, start=2.0), Scale(3, start=5.0)
    assert model.eval()(np.ones((1, 3), np.float32)).numpy().tolist() == [[10.0] * 3]
    assert model.first is model["first"] is model[0]
    model[-1] = Noise()
    assert isinstance(model.last, Noise)
    assert set(model.parameters()) == {"first.weight"}
    for wrong in (lambda: setattr(model, "lost", Noise()), lambda: model.__setitem__("firts", Noise())):
        with pytest.raises(OptionError, match=r"expected the name of a layer to replace, got .*; did you mean"):
            wrong()
    with pytest.raises(OptionError, match=r"expected layers, got the class Noise at 'last'; write Noise\(...\)"):
        model["last"] = Noise  # type: ignore[assignment]
    with pytest.raises(AttributeError, match="has no attribute 'lost'"):
        _ = model.lost


def test_a_network_may_hold_layers_beside_its_sequence() -> None:
    class Network(tgl.Sequential):
        """A network with a sequence and a head that it uses only in training."""

        def __init__(self) -> None:
            super().__init__({"body": Scale(3)})
            self.head = Noise()

    network = Network()
    assert isinstance(network.head, Noise)
    assert isinstance(network.body, Scale)
    network.body = Noise()
    assert isinstance(network[0], Noise)


def test_a_slice_of_a_sequence_is_a_sequence() -> None:
    model = tgl.Sequential({"a": Scale(3, start=2.0), "b": Scale(3, start=3.0), "c": Noise()})
    assert repr(model[:2]) == "Sequential({'a': Scale(3, start=2.0), 'b': Scale(3, start=3.0)})"
    assert model.eval()[1:2](np.ones((1, 3), np.float32)).numpy().tolist() == [[3.0] * 3]


def test_sequential_accepts_a_list_of_layers() -> None:
    layers = [Scale(3), Scale(3, start=2.0)]
    assert list(tgl.Sequential(layers)) == list(tgl.Sequential(*layers)) == layers
    assert len(tgl.Sequential([])) == 0
    with pytest.raises(OptionError, match="expected layers, got list at 1"):
        tgl.Sequential(layers[0], [layers[1]])


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (Scale(3, start=2.0), "Scale(3, start=2.0)"),
        (Scale(features=3, rng=0), "Scale(3)"),
        (Conv2d(3, 4, kernel_size=3, stride=2, bias=False), "Conv2d(3 -> 4, kernel_size=3, stride=2, bias=False)"),
        (
            tgl.Sequential(Dense(3, 2, activation="relu"), Dropout(0.5)),
            "Sequential(Dense(3 -> 2, activation='relu'), Dropout(0.5))",
        ),
        (
            tgl.Sequential({"hidden": Dense(3, 2), "out": Noise()}),
            "Sequential({'hidden': Dense(3 -> 2), 'out': Noise()})",
        ),
        (ParallelConcat([Dense(3, 2), Noise()], axis=1), "ParallelConcat([Dense(3 -> 2), Noise()], axis=1)"),
    ],
)
def test_the_repr_of_a_layer_is_the_call_that_makes_it(layer: tgl.Layer, shown: str) -> None:
    assert repr(layer) == shown


def test_a_long_repr_shows_one_layer_on_each_line() -> None:
    inner = tgl.Sequential({name: Dense(300, 300, activation="relu") for name in ("first", "second", "third")})
    network = tgl.Sequential(Residual(inner), Dense(300, 10))
    assert repr(network).splitlines() == [
        "Sequential(",
        "    Residual(Sequential({",
        "        'first': Dense(300 -> 300, activation='relu'),",
        "        'second': Dense(300 -> 300, activation='relu'),",
        "        'third': Dense(300 -> 300, activation='relu'),",
        "    })),",
        "    Dense(300 -> 10),",
        ")",
    ]
    with pytest.raises(OptionError, match=r"^Sequential: expected the method update"):  # no more than the name
        network.update(mean=0)


def test_repr_and_description_show_the_current_inner_layers() -> None:
    sequence, residual, branches = tgl.Sequential({"a": Dense(3, 2)}), Residual(Dense(3, 3)), ParallelConcat([Noise()])
    sequence.inner["a"], residual.inner, branches.inner[0] = Dense(3, 5), Noise(), Dense(3, 4)
    assert repr(sequence) == "Sequential({'a': Dense(3 -> 5)})"
    assert repr(residual) == "Residual(Noise())"
    assert repr(branches) == "ParallelConcat([Dense(3 -> 4)])"
    assert residual.config()["inner"] is residual.inner
    assert branches.config()["branches"] == [branches.inner[0]]


def test_a_wrong_configuration_fails_at_once() -> None:
    with pytest.raises(TypeError, match="many positional"):
        Noise(3)  # type: ignore[call-arg]  # what the test is about
    with pytest.raises(TypeError, match="unexpected keyword"):
        Noise(rate=3)  # type: ignore[call-arg]  # what the test is about
    with pytest.raises(TypeError, match="missing"):
        Scale()  # type: ignore[call-arg]  # what the test is about
    with pytest.raises(ConfigError, match="Scale: expected a configuration of version 1, got 3; no upgrade is known"):
        Scale.upgrade({}, 3)
    with pytest.raises(OptionError, match="Sequential: expected layers, got int at 1"):
        tgl.Sequential(Noise(), 3)


def test_modes_apply_to_all_inner_layers() -> None:
    net = Net()
    assert all(inner.training for inner in net.layers().values())
    assert net.eval() is net
    assert not any(inner.training for inner in net.layers().values())
    net.train()
    assert net.blocks[1].training


def test_a_subclass_must_define_its_forward() -> None:
    class Empty(tgl.Layer):
        pass

    with pytest.raises(NotImplementedError, match="Empty: expected a subclass that defines forward"):
        Empty()(X)
    with pytest.raises(NotImplementedError, match="output_shape"):
        Empty().output_shape((1,))


def test_sequential_applies_its_layers_in_order() -> None:
    model = tgl.Sequential({"first": Scale(2, start=2.0), "second": Scale(2, start=3.0)}).eval()
    assert model(X.copy()).numpy().tolist() == (6 * X).tolist()
    assert len(model) == 2
    assert model["first"] is model[0] is next(iter(model))
    assert model.output_shape((4, 2)) == (4, 2)
    assert list(model.parameters()) == ["first.weight", "second.weight"]
    assert tgl.Sequential()(X) is X


def test_an_error_names_its_layer() -> None:
    model = tgl.Sequential(Noise(), tgl.Sequential(Scale(3)))
    with pytest.raises(ShapeError) as caught:
        model(boxed())
    assert caught.value.__notes__ == ["in layer '1.0': Scale(3)"]
    with pytest.raises(LabError) as caught:
        Scale(3)(boxed())
    assert caught.value.__notes__ == ["in layer 'itself': Scale(3)"]


class Power(tgl.Layer):
    """Raise to a power; with `slip`, `forward` has a bug."""

    def __init__(self, *, slip: bool = False) -> None:
        self.slip = slip

    def forward(self, x: Any, exponent: Any) -> Any:
        return x**self.exponent if self.slip else x ** exponent.item()


def test_a_bug_in_forward_is_not_reported_as_a_wrong_argument() -> None:
    with pytest.raises(AttributeError, match="'Power' object has no attribute 'exponent'"):
        Power(slip=True)(boxed(), 2.0)
    with pytest.raises(DTypeError, match="expected arrays or tensors, got float"):
        Power()(boxed(), 2.0)


# ------------------------------------------------------------------------------------------------------- random numbers


def draws(model: tgl.Layer, times: int) -> list[list[float]]:
    """Return the results of successive calls of a model with ones."""
    return [model(np.ones((1, 3))).tolist()[0] for _ in range(times)]


def test_the_same_seed_gives_the_same_bits() -> None:
    a, b, c = Noise(), Noise(), Noise()
    a.seed = b.seed = 7
    c.seed = 8
    first = draws(a, 3)
    assert first == draws(b, 3)
    assert first != draws(c, 3)
    assert len({x for row in first for x in row}) == 9


def test_seed_and_step_number_resume_the_random_numbers() -> None:
    a, b = Noise(), Noise()
    a.seed = b.seed = 3
    rows = draws(a, 5)
    assert a.steps == 5
    b.steps = 3
    assert draws(b, 2) == rows[3:]


def test_random_numbers_depend_on_the_path_of_a_layer_not_on_the_order_of_calls() -> None:
    class Two(tgl.Layer):
        def __init__(self, *, swapped: bool) -> None:
            self.swapped, self.left, self.right = swapped, Noise(), Noise()

        def forward(self, x: Any) -> Any:
            if self.swapped:
                right = self.right(x)
                return self.left(x), right
            return self.left(x), self.right(x)

    one, other = Two(swapped=False), Two(swapped=True)
    x = np.ones(3)
    (left, right), (left_too, right_too) = one(x), other(x)
    assert left.tolist() == left_too.tolist()
    assert right.tolist() == right_too.tolist()
    assert left.tolist() != right.tolist()


def test_several_draws_in_a_call_are_different() -> None:
    noise = Noise()
    noise(np.ones(4))
    assert noise.first.tolist() != noise.second.tolist()
    assert noise.first.shape == (4,)
    assert noise.first.dtype == np.float64


def test_the_numbers_are_uniform_and_of_any_shape() -> None:
    class Draw(tgl.Layer):
        def forward(self, x: Any) -> Any:
            return self.random(x).uniform((100_000,)), self.random(x).uniform(()), self.random(x).uniform((0, 2))

    numbers, single, none = Draw()(np.ones(1, np.float32))
    assert (numbers.shape, single.shape, none.shape) == ((100_000,), (), (0, 2))
    assert numbers.dtype == np.float32
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 5 * (1 / 12 / 100_000) ** 0.5
    assert abs(numbers.var() - 1 / 12) < 0.002
    counts = np.bincount((numbers * 64).astype(int), minlength=64)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 120  # chi squared, 63 degrees of freedom


def test_random_numbers_do_not_depend_on_the_device() -> None:
    here, there = Noise(), Noise()
    x = np.ones((2, 3))
    assert np.array_equal(here(tgl.tensor(x)).numpy(), there(tgl.tensor(x, device="strict")).numpy())


def test_random_numbers_and_updates_need_a_call() -> None:
    message = "random to run during a call of the layer, got no such call; call the layer, not its forward"
    with pytest.raises(OptionError, match=message):
        Noise().forward(X)
    with pytest.raises(OptionError, match="expected the method update to run during a call of the layer"):
        Scale(2).forward(boxed())


# -------------------------------------------------------------------------------------------------------------- updates


def test_updates_are_committed_once_at_the_end_of_the_step() -> None:
    """A layer that is called twice in a step uses the old statistics both times, and its last update is kept."""
    net = Net()
    net(boxed())
    head = net.head.mean.numpy().tolist()
    assert head == [1.0, 1.75]  # half the mean of both calls' inputs, equal because the weight is 1


def test_evaluation_updates_nothing_and_takes_no_step() -> None:
    layer = Scale(2).eval()
    layer(boxed())
    assert layer.mean.numpy().tolist() == [0.0, 0.0]
    assert layer.steps == 0


def test_a_call_that_fails_commits_nothing() -> None:
    class Failing(tgl.Layer):
        def __init__(self) -> None:
            self.inner = Scale(2)

        def forward(self, x: Any) -> Any:
            self.inner(x)
            raise ZeroDivisionError

    layer = Failing()
    with pytest.raises(ZeroDivisionError):
        layer(boxed())
    assert layer.inner.mean.numpy().tolist() == [0.0, 0.0]
    Scale(2)(boxed())  # the next call is an outermost call again


def test_update_requires_the_name_of_a_buffer() -> None:
    class Wrong(Scale):
        def forward(self, x: Any) -> Any:
            self.update(weight=1.0)

    with pytest.raises(OptionError, match="expected update to get names of buffers, got 'weight'"):
        Wrong(2)(boxed())


class Checkpointed(tgl.Layer):
    """A block that is recomputed in the backward pass."""

    def __init__(self, *, thin: bool) -> None:
        self.thin, self.scale, self.noise = thin, Scale(2), Noise()

    def block(self, x: Any) -> Any:
        return self.noise(self.scale(x))

    def forward(self, x: Any) -> Any:
        return tgl.checkpoint(self.block, x) if self.thin else self.block(x)


@pytest.mark.parametrize("outside", [False, True])
def test_recomputation_draws_the_same_numbers_and_updates_once(outside: bool) -> None:
    plain, thin = Checkpointed(thin=False), Checkpointed(thin=not outside)
    for _ in range(2):
        xs = tgl.tensor(X, requires_grad=True), tgl.tensor(X, requires_grad=True)
        a, b = plain(xs[0]), tgl.checkpoint(thin, xs[1]) if outside else thin(xs[1])
        assert np.array_equal(a.numpy(), b.numpy())
        (a * a).sum().backward()
        (b * b).sum().backward()
        assert xs[0].grad is not None
        assert xs[1].grad is not None
        assert np.array_equal(xs[0].grad.numpy(), xs[1].grad.numpy())
    assert np.array_equal(plain.scale.mean.numpy(), thin.scale.mean.numpy())
    assert np.array_equal(plain.scale.weight.grad.numpy(), thin.scale.weight.grad.numpy())  # type: ignore[union-attr]  # set by backward
    assert plain.steps == thin.steps == 2


# ------------------------------------------------------------------------------------------------------ functional call


def test_functional_call_differentiates_with_respect_to_all_parameters() -> None:
    net = Net().eval().astype(np.float64)
    x, values = X.astype(np.float64), {path: p.value for path, p in net.parameters().items()}
    g = tgl.grad(lambda p: tgl.sum(tgl.functional_call(net, p, x) ** 2))(values)
    tgl.sum(net(x) ** 2).backward()
    for path, p in net.parameters().items():
        assert p.grad is not None
        np.testing.assert_allclose(g[path], p.grad.numpy(), rtol=1e-12)
    (h,) = tgl.hvp(
        lambda p: tgl.sum(tgl.functional_call(net, p, x) ** 2),
        ({"head.weight": np.ones(2)},),
        ({"head.weight": np.array([1.0, 0.0])},),
    )
    np.testing.assert_allclose(h["head.weight"].numpy(), [12 * 4 * 10.0, 0.0])  # (2 w^2 x)^2 = 4 w^4 x^2


def test_functional_call_does_not_change_the_layer() -> None:
    layer = Scale(2)
    y = tgl.functional_call(layer, {"weight": np.full(2, 3.0, np.float32), "mean": np.ones(2, np.float32)}, boxed())
    assert y.numpy().tolist() == (3 * X + 1).tolist()
    assert layer.weight.numpy().tolist() == [1.0, 1.0]
    assert layer.mean.numpy().tolist() == [0.0, 0.0]
    tgl.functional_call(layer, {}, boxed())
    assert layer.mean.numpy().tolist() == [1.0, 1.75]  # a buffer that is not replaced is updated as usual
    assert layer.weight.grad is None


def test_functional_call_with_the_whole_state_in_training() -> None:
    layer = Scale(2)
    g = tgl.grad(lambda p: tgl.sum(tgl.functional_call(layer, p, boxed())))(layer.state())
    assert g["weight"].tolist() == [4.0, 7.0]
    assert g["mean"].tolist() == [2.0, 2.0]


def test_functional_call_reaches_layers_in_named_tuples_and_methods() -> None:
    class Pair(NamedTuple):
        first: Any
        second: Any

    class Both(tgl.Layer):
        def __init__(self) -> None:
            self.pair = Pair(Scale(2), Scale(2))
            self.again = self.pair.first.forward

        def forward(self, x: Any) -> Any:
            return self.pair.first(x) + self.pair.second(x) + self.again(x)

    layer = Both().eval()
    ones = np.ones(2, np.float32)
    names = [path for path in layer.parameters() if path.endswith("weight")]
    y = tgl.functional_call(layer, dict(zip(names, (ones * 2, ones * 3), strict=True)), boxed())
    assert y.numpy().tolist() == (7 * X).tolist()  # 2 x + 3 x, and 2 x from the method


def test_functional_call_requires_paths_and_shapes_of_the_layer() -> None:
    with pytest.raises(StateError, match=r"functional_call: expected paths of Scale, got \['w'\]"):
        tgl.functional_call(Scale(2), {"w": np.ones(2)}, X)
    with pytest.raises(StateError, match=r"functional_call: expected weight of shape \(2,\), got \(1,\)"):
        tgl.functional_call(Scale(2), {"weight": np.ones(1)}, X)


def test_functional_calls_of_one_layer_in_several_threads() -> None:
    net, results = Net().eval(), {}

    def work(k: int) -> None:
        for _ in range(20):
            weights = {"head.weight": np.full(2, float(k), np.float32)}
            results[k] = tgl.functional_call(net, weights, boxed()).numpy().tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {k: (2 * k * k * X).tolist() for k in range(6)}


def test_shared_layers_stay_shared_in_a_functional_call() -> None:
    net = Net().eval()
    y = tgl.functional_call(net, {"head.weight": np.full(2, 3.0, np.float32)}, boxed())
    np.testing.assert_allclose(y.numpy(), 2 * 9 * X)


# ------------------------------------------------------------------------------------------------------ initial weights


def test_initial_weights_by_rule_name_or_standard_deviation() -> None:
    shape = (3, 3, 40, 50)
    fan_in, fan_out = 360, 450
    for name, variance in {
        "he_normal": 2 / fan_in,
        "he_uniform": 2 / fan_in,
        "glorot_normal": 2 / (fan_in + fan_out),
        "glorot_uniform": 2 / (fan_in + fan_out),
        "lecun_normal": 1 / fan_in,
        0.25: 0.0625,
    }.items():
        w = tgl.initializers.draw(name, shape, rng=0)
        assert w.dtype == np.float32
        assert w.shape == shape
        assert abs(w.mean()) < 5 * (variance / w.size) ** 0.5
        np.testing.assert_allclose(w.var(), variance, rtol=0.05)
        assert np.array_equal(w, tgl.initializers.draw(name, shape, rng=0))
    with pytest.raises(OptionError, match=r"init: expected a standard deviation or one of .*got 'magic'"):
        tgl.initializers.draw("magic", shape)
    with pytest.raises(OptionError, match=r"fans: expected weights \(\.\.\., in, out\), got shape \(3,\)"):
        tgl.initializers.draw("he_normal", (3,))
    assert tgl.initializers.draw("he_normal", (0, 4)).shape == (0, 4)


def test_a_seed_repeats_weights_and_a_generator_continues() -> None:
    def draw(rng: Any = None) -> list[float]:
        return tgl.initializers.draw(1.0, (3,), rng=rng).tolist()

    tgl.seed(5)
    first, second = draw(), draw()
    tgl.seed(5)
    assert [draw(), draw()] == [first, second]
    assert first != second
    rng = np.random.default_rng(5)
    assert [draw(rng), draw(rng)] == [first, second]


def test_initial_weights_of_empty_shapes() -> None:
    with tgl.initializers.shapes_only():
        w = tgl.initializers.draw("he_normal", (1000, 1000, 1000))
    assert w.shape == (1000, 1000, 1000)
    assert w.strides == (0, 0, 0)
    assert tgl.initializers.zeros((2,)).tolist() == [0.0, 0.0]
    assert tgl.initializers.ones((2,)).tolist() == [1.0, 1.0]


def test_parameters_stay_floats() -> None:
    with pytest.raises(DTypeError, match="expected a float dtype"):
        Scale(2).astype(int)


@pytest.mark.parametrize("name", ["layers", "children", "state", "config", "train", "update", "random", "to"])
def test_an_attribute_that_hides_a_method_is_refused(name: str) -> None:
    class Net(tgl.Layer):
        def __init__(self) -> None:
            setattr(self, name, [1, 2])

    with pytest.raises(OptionError, match=rf"Net.{name}: expected a name that is no method of Layer"):
        Net()


def test_mistakes_in_forward_are_named() -> None:
    class Net(tgl.Layer):
        def __init__(self, mistake: str) -> None:
            self.mistake, self.kept = mistake, np.zeros(1, "float32")
            self.mean = tgl.Buffer(np.zeros(1, "float32"))

        def forward(self, x: Any) -> Any:
            if self.mistake == "assigned":
                self.mean = x
            if self.mistake == "no buffer":
                self.update(kept=x)

    x = np.ones(1, "float32")
    with pytest.raises(TypeError, match="expected forward to return a result, got None; is its return missing"):
        Net("nothing returned")(x)
    with pytest.raises(OptionError, match=r"use mean.assign\(array\) to change its value, or self.update\(mean=...\)"):
        Net("assigned")(x)
    with pytest.raises(OptionError, match=r"got 'kept', which is of type ndarray; make it a tgl\.Buffer"):
        Net("no buffer")(x)


def test_a_plain_array_as_weight_is_named() -> None:
    class Plain(tgl.Layer):
        def __init__(self) -> None:
            self.table = np.ones((2, 2))

        def forward(self, x: Any) -> Any:
            return x @ self.table

    with pytest.raises(DTypeError, match=r"Plain\(\): .*one float width.*; table is a plain array; make it a tgl.P"):
        Plain()(tgl.tensor(np.ones((1, 2), "float32")))


def test_mistakes_in_primitives_are_named() -> None:
    @tgl.primitive
    def alone(x: Any) -> Any:
        return x

    @tgl.primitive
    def writes(xp: Any, x: Any) -> Any:
        x += 1
        return x

    array = np.ones(2)
    array.flags.writeable = False
    with pytest.raises(TypeError, match="the first parameter of its function is the array library, xp"):
        alone(array)
    with pytest.raises(TypeError, match="expected a forward that does not write into its arguments"):
        writes(array)
    with pytest.raises(OptionError, match=r"expected the name of a provider; write @writes.kernel\('numba'\)"):
        writes.kernel(lambda x: x + 1)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(OptionError, match=r"writes.kernel: expected a provider, got 'numbaa'; did you mean 'numba'\?"):
        writes.kernel("numbaa")
    with pytest.raises(OptionError, match=r"writes.kernel: expected a function of .*, got writes\(xp, ...\)"):
        writes.kernel("numba")(writes.forward)
    with pytest.raises(RuleError, match="got one for 'x'; the first parameter of its function is the array library"):
        alone.defvjp(x=lambda g: g)
