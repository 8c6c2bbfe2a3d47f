"""Optimizers: their rules compared with plain loops, groups, and the state that a resumed run needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.optim.problems import STEPS, Bowl
from tinygrad_lab import optim, registry
from tinygrad_lab.errors import CallError, OptionError, StateError
from tinygrad_lab.optim import SGD, AdaDelta, AdaGrad, Adam, AdamW, Optimizer, RMSprop

Rule = Callable[[float, float, dict[str, float], int], float]


def sgd(p: float, g: float, s: dict[str, float], t: int, mu: float = 0.0, look_ahead: bool = False) -> float:
    s["v"] = mu * s.get("v", 0.0) + g
    return p - 0.05 * (g + mu * s["v"] if look_ahead else s["v"])


def adagrad(p: float, g: float, s: dict[str, float], t: int) -> float:
    s["s"] = s.get("s", 0.0) + g**2
    return p - 0.05 * g / (math.sqrt(s["s"]) + 1e-10)


def rmsprop(p: float, g: float, s: dict[str, float], t: int, mu: float = 0.0) -> float:
    s["s"] = 0.9 * s.get("s", 0.0) + 0.1 * g**2
    s["v"] = mu * s.get("v", 0.0) + g / (math.sqrt(s["s"]) + 1e-8)
    return p - 0.01 * s["v"]


def adadelta(p: float, g: float, s: dict[str, float], t: int) -> float:
    s["s"] = 0.9 * s.get("s", 0.0) + 0.1 * g**2
    d = math.sqrt(s.get("u", 0.0) + 1e-6) / math.sqrt(s["s"] + 1e-6) * g
    s["u"] = 0.9 * s.get("u", 0.0) + 0.1 * d**2
    return p - 1.0 * d


def adam(p: float, g: float, s: dict[str, float], t: int, shrink: float = 0.0) -> float:
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0.0) + 0.001 * g**2
    unbiased = s["m"] / (1 - 0.9**t), s["v"] / (1 - 0.999**t)
    return p - 0.02 * shrink * p - 0.02 * unbiased[0] / (math.sqrt(unbiased[1]) + 1e-8)


MAKERS: dict[str, tuple[Callable[..., Optimizer], Rule, float]] = {  # optimizer, rule for one coordinate, L2 decay
    "sgd": (lambda p: SGD(p, lr=0.05), sgd, 0.0),
    "sgd, decay": (lambda p: SGD(p, lr=0.05, weight_decay=0.1), sgd, 0.1),
    "momentum": (lambda p: SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1), lambda *a: sgd(*a, mu=0.9), 0.1),
    "nesterov": (lambda p: SGD(p, lr=0.05, momentum=0.9, nesterov=True), lambda *a: sgd(*a, 0.9, True), 0.0),
    "adagrad": (lambda p: AdaGrad(p, lr=0.05, weight_decay=0.1), adagrad, 0.1),
    "rmsprop": (lambda p: RMSprop(p, lr=0.01, rho=0.9, weight_decay=0.1), rmsprop, 0.1),
    "rmsprop, momentum": (lambda p: RMSprop(p, lr=0.01, rho=0.9, momentum=0.8), lambda *a: rmsprop(*a, mu=0.8), 0.0),
    "adadelta": (lambda p: AdaDelta(p, weight_decay=0.1), adadelta, 0.1),
    "adam": (lambda p: Adam(p, lr=0.02, weight_decay=0.1), adam, 0.1),
    "adamw": (lambda p: AdamW(p, lr=0.02, weight_decay=0.1), lambda *a: adam(*a, shrink=0.1), 0.0),
}
each = pytest.mark.parametrize("name", MAKERS)


def test_a_step_without_any_gradient_is_refused() -> None:
    w, b = tgl.Parameter(np.ones(2)), tgl.Parameter(np.ones(1))
    optimizer = SGD({"w": w, "b": b}, lr=0.1)
    with pytest.raises(StateError, match=r"^SGD.step: expected a gradient of some parameter, got none; call loss.back"):
        optimizer.step()
    w.sum().backward()
    optimizer.step()  # a parameter without a gradient is not changed
    np.testing.assert_array_equal(b.numpy(), [1])


@each
def test_a_hundred_steps_agree_with_a_plain_loop(name: str) -> None:
    make, rule, decay = MAKERS[name]
    bowl = Bowl()
    got = bowl.follow(make(bowl.parameters()))
    for path, start in bowl.start.items():
        for i in np.ndindex(start.shape):
            p, state = float(start[i]), {}
            for t in range(STEPS):
                g = float(bowl.curvature[path][i]) * p + float(bowl.shaking[t][path][i])
                p = rule(p, g + decay * p, state, t + 1)
            assert got[path][i] == pytest.approx(p, rel=1e-9, abs=1e-11)


@each
def test_float32_stays_float32_and_follows_float64(name: str) -> None:
    make, _, _ = MAKERS[name]
    narrow, wide = Bowl(dtype="float32"), Bowl()
    optimizer = make(narrow.parameters())
    optimizer.lr = np.float64(optimizer.lr)  # as a schedule written in NumPy may return
    got, expected = narrow.follow(optimizer), make(wide.parameters())
    wide.follow(expected)
    for path, array in got.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected.parameters[path].numpy(), rtol=2e-4, atol=2e-4)
    assert {value.dtype.name for value in optimizer.state().values() if isinstance(value, np.ndarray)} <= {"float32"}


@each
def test_a_step_makes_new_arrays_and_does_not_write_into_old_ones(name: str) -> None:
    bowl = Bowl()
    optimizer = MAKERS[name][0](bowl.parameters())
    for step in range(3):
        held = {path: p.value for path, p in optimizer.parameters.items()}
        copies = {path: array.copy() for path, array in held.items()}
        bowl.loss(optimizer.parameters, step).backward()
        gradients = [p.node.grad for p in optimizer.parameters.values()]
        for array in [*held.values(), *gradients]:
            array.flags.writeable = False
        optimizer.step()
        for path, p in optimizer.parameters.items():
            assert p.value is not held[path]
            assert not np.shares_memory(p.value, held[path])
            assert p.grad is None
            np.testing.assert_array_equal(held[path], copies[path])


@each
def test_own_state_is_private_and_updated_in_place(name: str) -> None:
    bowl = Bowl()
    optimizer = MAKERS[name][0](bowl.parameters())
    bowl.follow(optimizer, stop=1)
    inside = {(path, slot): a for path, arrays in optimizer._state.items() for slot, a in arrays.items()}
    handed_out = optimizer.state()
    before = {key: np.copy(value) for key, value in handed_out.items()}
    bowl.follow(optimizer, start=1, stop=3)
    assert all(optimizer._state[path][slot] is array for (path, slot), array in inside.items())
    assert all(np.array_equal(handed_out[key], value) for key, value in before.items())


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resuming_from_the_state_gives_the_same_bits(name: str, dtype: str) -> None:
    bowl, make = Bowl(dtype=dtype), MAKERS[name][0]
    expected = bowl.follow(make(bowl.parameters()))
    first = make(bowl.parameters())
    bowl.follow(first, stop=37)
    second = make({path: tgl.Parameter(p.value) for path, p in first.parameters.items()})
    second.lr = 99.0
    second.load_state(first.state())
    bowl.follow(first, start=37)  # load_state copies the arrays
    got = bowl.follow(second, start=37)
    assert all(np.array_equal(got[path], expected[path]) for path in expected)


@each
def test_the_state_is_a_flat_dict_of_arrays(name: str) -> None:
    bowl = Bowl()
    optimizer = MAKERS[name][0](bowl.parameters())
    bowl.follow(optimizer, stop=2)
    state = optimizer.state()
    assert type(state["lr"]) is float
    assert state["layer.bias/step"] == 2
    slots = {key.split("/")[1] for key in state if "/" in key} - {"step"}
    assert slots == set(optimizer.slots)
    assert all(type(value) in (int, float, np.ndarray) for value in state.values())


@each
def test_parameters_without_shape_or_elements(name: str) -> None:
    parameters = {"scalar": tgl.Parameter(np.array(1.5)), "empty": tgl.Parameter(np.zeros((0, 3)))}
    optimizer = MAKERS[name][0](parameters)
    for _ in range(2):
        ((parameters["scalar"] * 2.0) + parameters["empty"].sum()).backward()
        optimizer.step()
    assert parameters["scalar"].shape == ()
    assert float(parameters["scalar"].value) < 1.5
    assert parameters["empty"].shape == (0, 3)
    optimizer.load_state(optimizer.state())


def test_parameters_that_are_frozen_or_without_gradient_do_not_change() -> None:
    used, frozen, unused = (tgl.Parameter(np.ones(2)) for _ in range(3))
    optimizer = Adam({"used": used, "frozen": frozen, "unused": unused}, weight_decay=0.5)
    frozen.freeze()
    arrays = frozen.value, unused.value
    (used * frozen).sum().backward()
    optimizer.step()
    assert frozen.value is arrays[0]
    assert unused.value is arrays[1]
    assert frozen.node is None
    assert sorted(optimizer.state()) == ["lr", "used/mean", "used/squares", "used/step"]


def test_a_parameter_that_is_unfrozen_late_starts_its_own_count() -> None:
    """Adam's first step is lr times the sign of the gradient, but only if its step count starts at 0."""
    early, late = tgl.Parameter(np.ones(1)), tgl.Parameter(np.ones(1))
    optimizer = Adam({"early": early, "late": late}, lr=0.01)
    late.freeze()
    for _ in range(5):
        (early * 3.0 + late * 3.0).sum().backward()
        optimizer.step()
    late.unfreeze()
    (early * 3.0 + late * 3.0).sum().backward()
    optimizer.step()
    assert late.item() == pytest.approx(1.0 - 0.01)
    assert optimizer.state()["late/step"] == 1


def groups_of(optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    return {path: {**own, "lr_factor": optimizer._lr_factors[path]} for path, own in optimizer.options.items()}


def test_groups_are_chosen_by_patterns_and_later_ones_have_priority() -> None:
    paths = ["features.0.weight", "features.0.bias", "head.weight", "head.bias"]
    parameters = {path: tgl.Parameter(np.ones(1)) for path in paths}
    groups = {"features.*": {"lr_factor": 0.1, "momentum": 0.5}, "*.bias": {"weight_decay": 0, "lr_factor": 2}}
    optimizer = SGD(parameters, lr=1.0, momentum=0.9, weight_decay=0.25, groups=groups)
    own = groups_of(optimizer)
    found = {path: [own[path][key] for key in ("lr_factor", "momentum", "weight_decay")] for path in paths}
    assert found == {
        "features.0.weight": [0.1, 0.5, 0.25],
        "features.0.bias": [2, 0.5, 0],
        "head.weight": [1.0, 0.9, 0.25],
        "head.bias": [2, 0.9, 0],
    }
    optimizer.lr = 0.5
    for parameter in parameters.values():
        (parameter * 1.0).sum().backward()
    optimizer.step()
    steps = [1.0 - parameters[path].item() for path in paths]
    assert steps == pytest.approx([0.5 * 0.1 * 1.25, 0.5 * 2, 0.5 * 1.25, 0.5 * 2])


def test_momentum_of_one_group_alone() -> None:
    bowl = Bowl()
    some = bowl.follow(SGD(bowl.parameters(), lr=0.05, groups={"*.bias": {"momentum": 0.9}}))
    none, all_ = (bowl.follow(SGD(bowl.parameters(), lr=0.05, momentum=m)) for m in (0.0, 0.9))
    np.testing.assert_allclose(some["layer.weight"], none["layer.weight"], rtol=1e-12)
    np.testing.assert_array_equal(some["layer.bias"], all_["layer.bias"])


P = {"net.weight": tgl.Parameter(np.ones(2)), "net.bias": tgl.Parameter(np.ones(1))}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD({}, lr=0.1), r"SGD: expected parameters to learn, got none; pass model.parameters\(\)"),
        (lambda: SGD(list(P.values()), lr=0.1), "expected parameters to learn, got list; pass"),
        (lambda: Adam(tgl.layers["dense"](2, 3)), "Adam: expected parameters to learn, got Dense; pass"),
        (lambda: SGD(tgl.layers["relu"]().parameters, lr=0.1), "got method; pass"),
        (lambda: SGD({"w": np.ones(3), "x": None}, lr=0.1), "got ndarray at 'w', NoneType at 'x'; pass"),
        (lambda: SGD(P, lr="0.1"), r"SGD: expected lr of type float, got '0.1' \(str\)"),
        (lambda: SGD(P, lr=True), "SGD: expected lr of type float, got True"),
        (lambda: SGD(P, lr=0.1, groups=["*.bias"]), r"SGD: expected groups by pattern, such as .*, got \['\*.bias'\]"),
        (lambda: SGD(P, lr=0.1, groups={"*": 3}), "SGD: expected groups by pattern, such as"),
        (lambda: SGD(P, lr=-0.1), "SGD: expected lr to be a finite number of at least 0, got -0.1"),
        (lambda: SGD(P, lr=math.nan), "lr to be a finite number of at least 0, got nan"),
        (lambda: SGD(P, lr="fast"), "got 'fast'"),
        (lambda: SGD(P, lr=0.1, momentum=1.0), "momentum below 1"),
        (lambda: Adam(P, beta2=1), "beta2 below 1"),
        (lambda: SGD(P, lr=0.1, nesterov=True), "expected momentum with nesterov=True"),
        (lambda: SGD(P, lr=0.1, groups={"*.biass": {"weight_decay": 0}}), r"such as \['net.bias'.*got '\*.biass'"),
        (lambda: SGD(P, lr=0.1, groups={"*": {"decay": 0}}), r"some of .*'weight_decay'.*got \['decay'\]"),
        (lambda: SGD(P, lr=0.1, groups={"*": {"lr": 0}}), "lr_factor.*lr is shared by all groups"),
        (lambda: Adam(P, groups={"*": {"weight_decay": -1}}), "weight_decay to be a finite number of at least 0"),
    ],
)
def test_wrong_options_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer.bias/velocity"), r"missing \['layer.bias/velocity'\]"),
        (lambda s: s.pop("lr"), r"missing \['lr'\]"),
        (lambda s: s.update(extra=1), r"unknown \['extra'\]"),
        (lambda s: s.update({"other/step": 1, "other/velocity": np.ones(2)}), r"unknown \['other'\]"),
        (lambda s: s.update({"layer.bias/velocity": np.ones(3)}), r"velocity of shape \(2,\), got \(3,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change: Any, message: str) -> None:
    bowl = Bowl()
    optimizer = SGD(bowl.parameters(), lr=0.1, momentum=0.9)
    bowl.follow(optimizer, stop=2)
    before, state = optimizer.state(), optimizer.state()
    change(state)
    with pytest.raises(StateError, match=message):
        optimizer.load_state(state)
    after = optimizer.state()
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], before[key]) for key in before)


def test_every_optimizer_is_registered() -> None:
    assert [*registry.optimizers] == ["adadelta", "adagrad", "adam", "adamw", "rmsprop", "sgd"]
    for name, cls in registry.optimizers.items():
        assert cls.__name__.lower() == name
        assert registry.optimizers.name_of(cls) == name
        assert cls.__name__ in optim.__all__


def test_a_kernel_may_replace_an_update() -> None:
    """A kernel can be registered for an update as for any primitive; this one records its calls."""
    from tinygrad_lab.optim.updates import sgd_update

    seen = []

    @sgd_update.kernel("numpy", when=lambda p, g, **options: p.shape == (2,))
    def marked(p: Any, g: Any, *, lr: float, weight_decay: float = 0.0) -> Any:
        seen.append(p.shape)
        return p - lr * (g + weight_decay * p)

    try:
        bowl = Bowl()
        with_kernel = bowl.follow(SGD(bowl.parameters(), lr=0.1, weight_decay=0.01), stop=5)
        with tgl.reference_only():
            without = bowl.follow(SGD(bowl.parameters(), lr=0.1, weight_decay=0.01), stop=5)
    finally:
        sgd_update.kernels.pop(0)
    assert seen == [(2,)] * 5
    np.testing.assert_array_equal(with_kernel["layer.bias"], without["layer.bias"])


def test_a_wrong_call_is_refused_with_the_signature() -> None:
    with pytest.raises(CallError, match=r"^SGD: expected SGD\(parameters, \*, lr, .*\), got SGD\(.*0.1\): .* by name$"):
        SGD(P, 0.1)  # type: ignore[misc]  # tested error
    with pytest.raises(CallError, match=r"missing a required (keyword-only )?argument: 'lr'"):
        SGD(P)  # type: ignore[call-arg]  # tested error
