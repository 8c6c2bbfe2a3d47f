"""Every operation: its value, its first and second derivative, in both widths and on the strict device."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.ops.table import CONSTANTS, OTHERS, TABLE, Trial
from tests.strict_device import LeakError, StrictArray, everywhere, to_device, to_host, transfers
from tinygrad_lab.autograd.settings import analytic

EACH = settings(
    max_examples=settings().max_examples // 4, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
operations = pytest.mark.parametrize("name", sorted(TABLE))


def outputs(y: Any) -> list[Any]:
    """Return the results of an operation as a list."""
    return list(y) if isinstance(y, list | tuple) else [y]


def cotangents(ys: list[np.ndarray], seed: int = 7) -> list[np.ndarray]:
    """Return a random cotangent for each result; ones would miss errors that sum to zero."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(0.5, 1.5, y.shape) * rng.choice((-1.0, 1.0), y.shape)) for y in ys]


def frozen(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return read-only copies, so that writing into an argument fails."""
    copies = [np.array(a) for a in arrays]
    for a in copies:
        a.flags.writeable = False
    return copies


def paired(f: Callable[..., Any], vs: list[Any]) -> Callable[..., Any]:
    """Return the scalar function sum of v * f(x), whose gradient is J^T v."""

    def scalar(*xs: Any) -> Any:
        total: Any = None
        for y, v in zip(outputs(f(*xs)), vs, strict=True):
            part = tgl.sum(y * v)
            total = part if total is None else total + part
        return total

    return scalar


def gradient(f: Callable[..., Any], xs: list[Any]) -> list[Any]:
    """Return the gradient of a scalar function with respect to each argument."""
    return list(tgl.grad(f, tuple(range(len(xs))))(*xs))


def differences(f: Callable[..., Any], xs: list[np.ndarray], h: float) -> list[np.ndarray]:
    """Return the gradient by five-point differences, element by element."""
    found = []
    for i, x in enumerate(xs):
        slope = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            total = 0.0
            for step, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
                moved = np.array(x)
                moved[at] += step * h
                total += weight * float(f(*xs[:i], moved, *xs[i + 1 :]))
            slope[at] = total / (12 * h)
        found.append(slope)
    return found


def close(got: Any, expected: Any, *, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """Assert that arrays have equal shapes and are equal up to rounding."""
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def second(f: Callable[..., Any], vs: list[Any], us: list[Any]) -> Callable[..., Any]:
    """Return the scalar function <u, J(x)^T v>, whose gradient holds the second derivatives."""

    def scalar(*xs: Any) -> Any:
        total: Any = None
        for g, u in zip(gradient(paired(f, vs), list(xs)), us, strict=True):
            part = tgl.sum(g * u)
            total = part if total is None else total + part
        return total

    return scalar


def test_every_public_operation_is_in_the_table() -> None:
    """So the derivatives of every new operation are tested."""
    tables = [set(TABLE), set(CONSTANTS), set(OTHERS)]
    public = [*tgl.__all__, *(f"linalg.{name}" for name in tgl.linalg.__all__)]
    assert set.union(*tables) == set(public)
    assert sum(map(len, tables)) == len(public)


@operations
@EACH
@given(data=st.data())
def test_value(name: str, data: st.DataObject) -> None:
    """Arrays give arrays, and tensors give tensors of the same values."""
    trial = data.draw(TABLE[name].trials)
    xs = frozen(trial.arrays)
    got, expected = outputs(trial.f(*xs)), outputs(trial.expected(*trial.arrays))
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert not isinstance(g, tgl.Tensor)
        close(np.asarray(g), np.asarray(e), rtol=1e-12, atol=1e-12)
    boxed = outputs(trial.f(*(tgl.tensor(x, requires_grad=True) for x in xs)))
    for b, g in zip(boxed, got, strict=True):
        assert isinstance(b, tgl.Tensor)
        assert np.array_equal(b.numpy(), g)


@operations
@EACH
@given(data=st.data())
def test_first_derivative(name: str, data: st.DataObject) -> None:
    """Gradients agree with differences and have the arguments' shapes, and <v, J u> = <J^T v, u> with J u by jvp."""
    trial = data.draw(TABLE[name].trials)
    xs = frozen(trial.arrays)
    vs = frozen(cotangents(outputs(trial.f(*xs))))
    scalar = paired(trial.f, vs)
    found = gradient(scalar, xs)
    for g, slope in zip(found, differences(scalar, xs, 1e-3), strict=True):
        close(np.asarray(g), slope)
    us = frozen(cotangents(xs, seed=8))
    pushed = outputs(tgl.jvp(trial.f, tuple(xs), tuple(us))[1])
    left = sum(float(np.sum(v * p)) for v, p in zip(vs, pushed, strict=True))
    right = sum(float(np.sum(g * u)) for g, u in zip(found, us, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


@operations
@EACH
@given(data=st.data())
def test_second_derivative(name: str, data: st.DataObject) -> None:
    """The gradient of <u, J(x)^T v> with respect to x and v agrees with differences of the first derivative."""
    trial = data.draw(TABLE[name].trials)
    xs = frozen(trial.arrays)
    vs, us = frozen(cotangents(outputs(trial.f(*xs)))), frozen(cotangents(xs, seed=8))
    scalar = second(trial.f, vs, us)
    for g, slope in zip(gradient(scalar, xs), differences(scalar, xs, 1e-3), strict=True):
        close(np.asarray(g), slope, rtol=1e-5, atol=1e-6)
    by_cotangent = gradient(lambda *vs: second(trial.f, list(vs), us)(*xs), vs)
    for g, pushed in zip(by_cotangent, outputs(tgl.jvp(trial.f, tuple(xs), tuple(us))[1]), strict=True):
        close(np.asarray(g), np.asarray(pushed), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row.complex_safe))
@EACH
@given(data=st.data())
def test_complex_step(name: str, data: st.DataObject) -> None:
    """J u = Im f(x + ih u) / h for h = 1e-30, exact to rounding."""
    trial = data.draw(TABLE[name].trials)
    xs, us = frozen(trial.arrays), frozen(cotangents(trial.arrays, seed=8))
    with analytic():
        stepped = outputs(trial.f(*(x + 1e-30j * u for x, u in zip(xs, us, strict=True))))
    pushed = outputs(tgl.jvp(trial.f, tuple(xs), tuple(us))[1])
    for s, p in zip(stepped, pushed, strict=True):
        close(np.imag(s) / 1e-30, np.asarray(p), rtol=1e-10, atol=1e-11)


@operations
@EACH
@given(data=st.data())
def test_single_precision(name: str, data: st.DataObject) -> None:
    """Results and derivatives to the second order stay float32 and agree with float64."""
    trial = data.draw(TABLE[name].trials)
    narrow = [x.astype(np.float32) for x in trial.arrays]
    wide = [x.astype(np.float64) for x in narrow]
    vs, us = cotangents(outputs(trial.f(*wide))), cotangents(wide, seed=8)
    short_vs, short_us = ([a.astype(np.float32) for a in arrays] for arrays in (vs, us))
    got = outputs(trial.f(*narrow)) + gradient(paired(trial.f, short_vs), narrow)
    got += gradient(second(trial.f, short_vs, short_us), narrow)
    expected = outputs(trial.f(*wide)) + gradient(paired(trial.f, vs), wide) + gradient(second(trial.f, vs, us), wide)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == np.float32
        close(np.asarray(g), np.asarray(e), rtol=3e-4, atol=3e-4)


@operations
@EACH
@given(data=st.data())
def test_strict_device(name: str, data: st.DataObject) -> None:
    """The strict device gives the same bits, without transfers or waits."""
    trial = data.draw(TABLE[name].trials)
    xs, vs = trial.arrays, cotangents(outputs(trial.f(*trial.arrays)))
    us = cotangents(xs, seed=8)
    expected = [outputs(trial.f(*xs)), gradient(paired(trial.f, vs), xs), gradient(second(trial.f, vs, us), xs)]
    there_x, there_v, there_u = (everywhere(arrays, to_device) for arrays in (xs, vs, us))
    moved = transfers.copy()
    got = [
        outputs(trial.f(*there_x)),
        gradient(paired(trial.f, there_v), there_x),
        gradient(second(trial.f, there_v, there_u), there_x),
    ]
    backward = [tgl.Tensor(x) for x in there_x]
    assert outputs(trial.f(*backward))[0].device == "strict"
    assert transfers - moved == {} or constants_alone(transfers - moved)
    for g, e in zip(got, expected, strict=True):
        for on_device, here in zip(g, e, strict=True):
            assert isinstance(on_device, StrictArray)
            close(to_host(on_device), np.asarray(here), rtol=1e-12, atol=1e-12)


def constants_alone(moved: Any) -> bool:
    """Return whether only constants of the table (masks, positions) moved to the device, and nothing else."""
    return set(moved) == {"to the device"}


@pytest.mark.parametrize("name", sorted(CONSTANTS))
@EACH
@given(data=st.data())
def test_results_without_a_derivative(name: str, data: st.DataObject) -> None:
    """Results agree with NumPy, also on the strict device, and tensors give constant tensors."""
    row = CONSTANTS[name]
    arrays = frozen(list(row.arrays(data.draw)))
    expected = row.expected(*arrays)
    got = row.f(*arrays)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)
    tracked = row.f(*(tgl.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays))
    assert isinstance(tracked, tgl.Tensor)
    assert not tracked.requires_grad
    assert np.array_equal(tracked.numpy(), expected)
    assert np.array_equal(to_host(row.f(*everywhere(arrays, to_device))), expected)


def primitives() -> dict[str, tgl.Primitive]:
    """Return every primitive of tinygrad_lab.ops by its dotted name."""
    found = {}
    for info in pkgutil.iter_modules(tgl.ops.__path__):
        module = importlib.import_module(f"tinygrad_lab.ops.{info.name}")
        for thing in vars(module).values():
            if isinstance(thing, tgl.Primitive) and thing.__module__ == module.__name__:
                found[f"{info.name}.{thing.__name__}"] = thing
    return found


@pytest.fixture
def rules_run(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The rules that have run, as "module.primitive argument"."""
    seen: set[str] = set()

    def watched(key: str, rule: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            seen.add(key)
            return rule(*args)

        return run

    for name, op in primitives().items():
        rules = {
            i: replace(rule, function=rule.function and watched(f"{name} {op.names(i)}", rule.function))
            for i, rule in op.rules.items()
        }
        monkeypatch.setattr(op, "rules", rules)
        monkeypatch.setattr(op, "plans", {})
    return seen


def pushing(f: Callable[..., Any], xs: list[Any], vs: list[Any]) -> Callable[..., list[Any]]:
    """Return the function u -> J u, as the gradient of <u, J^T v> with respect to v."""
    return lambda *us: gradient(lambda *vs: second(f, list(vs), list(us))(*xs), vs)


@pytest.mark.slow
def test_the_table_reaches_every_rule(rules_run: set[str]) -> None:
    """A rule that no drawn call reaches would not be tested by any number of examples."""

    every = {f"{name} {op.names(i)}" for name, op in primitives().items() for i, r in op.rules.items() if r.function}

    @settings(max_examples=8, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        for row in TABLE.values():
            trial: Trial = data.draw(row.trials)
            vs = cotangents(outputs(trial.f(*trial.arrays)))
            gradient(second(trial.f, vs, cotangents(trial.arrays, seed=8)), trial.arrays)
            gradient(paired(pushing(trial.f, trial.arrays, vs), vs), trial.arrays)

    for number in range(5):  # a few examples do not always reach all
        if every - rules_run:
            seed(number)(run)()
    assert every - rules_run == set()


def test_the_strict_device_is_strict() -> None:
    """It refuses every known conversion to NumPy, and every array of NumPy."""
    x = to_device(np.arange(3.0))
    ways: list[Callable[[], Any]] = [
        lambda: np.asarray(x),
        lambda: np.array([x, x]),
        lambda: np.add(x, x),
        lambda: np.sum(x),
        lambda: np.concatenate([x, x]),
        lambda: np.linalg.norm(x),
        lambda: np.from_dlpack(x),
        lambda: x + np.ones(3),
        lambda: np.ones(3) + x,
        lambda: np.float64(2) * x,
        lambda: x[np.array([0, 1])],
        lambda: tgl.tensor(x) * np.ones(3),
        lambda: np.ones(3).__iadd__(x),
    ]
    for way in ways:
        with pytest.raises((LeakError, tgl.errors.DeviceError)):
            way()
    with pytest.raises(TypeError):
        memoryview(x)  # type: ignore[arg-type]  # the point of the test
