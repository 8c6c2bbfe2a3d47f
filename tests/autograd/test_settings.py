"""Settings belong to a thread or a task; anomaly detection names the operation that went wrong and its line."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.autograd.conftest import Make, host
from tinygrad_lab.autograd.settings import OBSERVERS, SETTINGS, observing, using
from tinygrad_lab.errors import NonFiniteError

# ------------------------------------------------------------------------------------------------------------ recording


def test_no_grad_as_a_block_and_as_a_decorator(variable: Make) -> None:
    x = variable([1.0])
    with tgl.no_grad():
        assert not (x * 2.0).requires_grad
        with using(recording=True):
            assert (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad

    @tgl.no_grad()
    def double(x: Any) -> Any:
        return x * 2.0

    assert not double(x).requires_grad
    assert not double(x).requires_grad
    assert (x * 2.0).requires_grad


def test_an_exception_restores_the_settings(variable: Make) -> None:
    with pytest.raises(ZeroDivisionError), tgl.no_grad(), tgl.detect_anomaly(), tgl.reference_only():
        raise ZeroDivisionError
    assert SETTINGS.get().recording
    assert SETTINGS.get().watcher is None
    assert (variable([1.0]) * 2.0).requires_grad


def test_settings_belong_to_a_thread(variable: Make) -> None:
    x, seen, inside, go_on = variable([1.0]), [], threading.Event(), threading.Event()

    def other() -> None:
        seen.append((x * 2.0).requires_grad)  # a new thread records, whatever the old one does
        with tgl.no_grad():
            inside.set()
            go_on.wait(10)
            seen.append((x * 2.0).requires_grad)

    thread = threading.Thread(target=other)
    with tgl.no_grad():
        thread.start()
        inside.wait(10)
    seen.append((x * 2.0).requires_grad)  # recording is on in this thread and off in the other
    go_on.set()
    thread.join()
    assert seen == [True, True, False]


def test_settings_belong_to_a_task(variable: Make) -> None:
    x = variable([1.0])

    async def recording(without: bool) -> list[bool]:
        seen = []
        for _ in range(3):
            if without:
                with tgl.no_grad():
                    await asyncio.sleep(0)
                    seen.append((x * 2.0).requires_grad)
            else:
                await asyncio.sleep(0)
                seen.append((x * 2.0).requires_grad)
        return seen

    async def both() -> list[list[bool]]:
        return list(await asyncio.gather(recording(True), recording(False)))

    assert asyncio.run(both()) == [[False] * 3, [True] * 3]


def test_threads_differentiate_side_by_side(make: Make) -> None:
    results: dict[int, Any] = {}

    def work(k: int) -> None:
        for _ in range(20):
            second = tgl.grad(lambda x: tgl.grad(lambda y: (x**k * y**2).sum())(x).sum())
            results[k] = host(second(make([2.0]))).tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {k: [2.0 * (k + 1) * 2.0**k] for k in range(1, 7)}


@pytest.mark.parametrize(
    ("value", "expected"), [("none", "[]"), ("numpy,numba", "['numba', 'numpy']"), ("all", "None")]
)
def test_an_environment_variable_chooses_the_kernels(value: str, expected: str) -> None:
    code = (
        "from tinygrad_lab.autograd.settings import SETTINGS; p = SETTINGS.get().providers; "
        "print(p if p is None else sorted(p))"
    )
    environment = {**os.environ, "TINYGRAD_LAB_KERNELS": value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_a_wrong_variable_ends_a_command_with_one_line_and_an_operation_with_an_error() -> None:
    said = "TINYGRAD_LAB_KERNELS: expected all, none, or some of numpy,numba,cupy, got ['bogus']"
    environment = {**os.environ, "TINYGRAD_LAB_KERNELS": "numpy,bogus"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run("-m", "tinygrad_lab", "doctor")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tinygrad-lab: {said}\n")
    done = run("-c", "import tinygrad_lab as tgl, numpy as np; x = np.ones((3, 3, 3, 3)); tgl.conv2d(x, x, x[0, 0, 0])")
    assert done.stderr.splitlines()[-1] == f"tinygrad_lab.errors.OptionError: {said}"


# -------------------------------------------------------------------------------------------------------------- kernels


@pytest.fixture
def halving() -> tgl.Primitive:
    """A primitive with a kernel whose results differ from the reference by 1e-9."""

    @tgl.primitive
    def halving(xp: Any, x: Any, *, by: float = 2.0) -> Any:
        return x / by

    halving.defvjp(x=lambda g, by: g / by)

    @halving.kernel("numpy", when=lambda x, *, by=2.0: x.size > 1 and by == 2.0, error_bound=1e-6)
    def fast(x: Any, *, by: float = 2.0) -> Any:
        return x * 0.5 + 1e-9

    assert isinstance(halving, tgl.Primitive)
    return halving


def test_a_kernel_runs_only_in_the_cases_that_it_declares(halving: tgl.Primitive) -> None:
    x = np.array([2.0, 4.0])
    assert halving(x).tolist() == [1.0 + 1e-9, 2.0 + 1e-9]
    assert halving(x, by=4.0).tolist() == [0.5, 1.0]
    assert halving(x[:1]).tolist() == [1.0]
    assert halving(x + 0j).tolist() == [1.0, 2.0]  # complex numbers are for the oracle, which tests the reference
    with tgl.reference_only():
        assert halving(x).tolist() == [1.0, 2.0]
    with using(providers=frozenset({"numba"})):
        assert halving(x).tolist() == [1.0, 2.0]
    with using(providers=frozenset({"numpy"})):
        assert halving(x).tolist() == [1.0 + 1e-9, 2.0 + 1e-9]
    assert halving.kernels[0].calls == 2
    assert host(tgl.grad(lambda x: halving(x).sum())(x)).tolist() == [0.5, 0.5]


def test_an_observer_sees_every_operation_and_chooses_its_forward(halving: tgl.Primitive) -> None:
    x, seen = np.array([2.0, 4.0]), []

    def note(primitive: Any, xp: Any, values: list[Any], options: dict[str, Any]) -> None:
        seen.append((str(primitive), xp, len(values), options))

    with observing(note):
        assert halving(x, by=4.0).tolist() == [0.5, 1.0]
        assert halving(x).tolist() == [1.0, 2.0]  # the reference forward: the kernel adds 1e-9
        thread = threading.Thread(target=halving, args=(x,))  # in another thread there is no observer
        thread.start()
        thread.join()
        assert seen == [("halving", np, 1, {"by": 4.0}), ("halving", np, 1, {})]
        assert host(tgl.grad(lambda x: halving(x).sum())(x)).tolist() == [0.5, 0.5]
    assert {"halving", "sum_axes"} <= {name for name, *_ in seen}
    with observing(lambda primitive, xp, values, options: lambda x: 0 * x):
        assert halving(x).tolist() == [0.0, 0.0]
    assert OBSERVERS == []
    assert halving(x).tolist() == [1.0 + 1e-9, 2.0 + 1e-9]


def test_a_numpy_kernel_does_not_run_on_another_device(halving: tgl.Primitive) -> None:
    from tests.strict_device import to_device

    assert host(halving(to_device(np.array([2.0, 4.0])))).tolist() == [1.0, 2.0]


def test_the_newest_kernel_is_preferred(halving: tgl.Primitive) -> None:
    halving.kernel("numpy")(lambda x, *, by=2.0: x * 0.0)
    assert halving(np.array([2.0, 4.0])).tolist() == [0.0, 0.0]


# -------------------------------------------------------------------------------------------------------------- anomaly


def test_the_first_result_that_is_not_finite_is_named(variable: Make) -> None:
    x = variable([0.0, 1.0])
    with tgl.detect_anomaly(), np.errstate(all="ignore"):
        with pytest.raises(NonFiniteError) as caught:
            tgl.exp(1.0 / x)  # the place
        text = str(caught.value)
        assert "divide: its result is not finite (its arguments are finite; shapes [(2,)])" in text
        assert "test_settings.py" in text
        assert "# the place" in text
        with tgl.no_grad(), pytest.raises(NonFiniteError, match="log: its result is not finite"):
            tgl.log(x)


def test_an_argument_that_was_already_not_finite_is_reported_as_such(variable: Make) -> None:
    with tgl.detect_anomaly(), pytest.raises(NonFiniteError, match=r"exp: .*an argument was already not finite"):
        tgl.exp(variable([np.nan]))


def test_a_gradient_that_is_not_finite_is_named_with_its_line(variable: Make) -> None:
    x = variable([0.0, 1.0])
    with tgl.detect_anomaly(), np.errstate(all="ignore"):
        y = tgl.sqrt(x)  # the root
        loss = (y * 2.0).sum()
        with pytest.raises(NonFiniteError) as caught:
            loss.backward()
    text = str(caught.value)
    assert "sqrt: the gradient of x is not finite, although its cotangent was; created at" in text
    assert "# the root" in text


def test_anomaly_in_a_transform(make: Make) -> None:
    with tgl.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="sqrt: the gradient"):
        tgl.grad(lambda x: tgl.sqrt(x).sum())(make([0.0]))


def test_anomaly_in_a_second_derivative(make: Make) -> None:
    """x^(3/2): the first derivative at 0 is 0, the second infinite."""

    def slope(x: Any) -> Any:
        return tgl.grad(lambda x: (x**1.5).sum())(x).sum()

    assert float(slope(make([0.0]))) == 0.0
    with tgl.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="power"):
        tgl.grad(slope)(make([0.0]))


def test_anomaly_inside_a_rule_of_a_recorded_backward_pass(make: Make) -> None:
    with tgl.detect_anomaly(), np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="divide"):
        tgl.grad(lambda x: tgl.grad(lambda x: tgl.sqrt(x).sum())(x).sum())(make([0.0]))


def test_without_anomaly_detection_nothing_is_checked(variable: Make) -> None:
    x = variable([0.0])
    with np.errstate(all="ignore"):
        tgl.sqrt(x).sum().backward()
    assert host(x.grad).tolist() == [np.inf]
