"""A parameter's array is updated in place if there is no other reference to it, and otherwise never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.kernels.threads import aligned
from tinygrad_lab.optim import SGD
from tinygrad_lab.optim.optimizer import is_held_once

SIZE = 1 << 17
HOLDERS: dict[str, Callable[[tgl.Parameter], Any]] = {
    "the array": lambda p: p.value,
    "a view": lambda p: p.value[::2],
    "NumPy's array": lambda p: p.numpy(),
    "a tensor": lambda p: tgl.Tensor(p.value),
    "a state": lambda p: {"w": p.value},
    "the tape": lambda p: (p * p).sum(),
    "memory": lambda p: memoryview(p.value),
}


def step(parameter: tgl.Parameter) -> None:
    (parameter * 2).sum().backward()
    in_place({"w": parameter}).step()


def in_place(parameters: dict[str, tgl.Parameter]) -> SGD:
    optimizer = SGD(parameters, lr=0.25, momentum=0.5)
    optimizer.in_place = True
    return optimizer


@pytest.fixture(params=["numpy", "numba"], autouse=True)
def _provider(request: pytest.FixtureRequest) -> Any:
    if request.param == "numba":
        pytest.importorskip("numba")
    with using(providers=frozenset({request.param})):
        yield


@pytest.mark.parametrize("make", [lambda: np.ones(SIZE, np.float32), lambda: aligned((SIZE,), zeroed=True) + 1])
def test_an_array_without_other_references_is_updated_in_place(make: Callable[[], Any]) -> None:
    parameter = tgl.Parameter(make())
    place = parameter.value.ctypes.data
    step(parameter)
    assert parameter.value.ctypes.data == place
    assert (parameter.value == 0.5).all()


@pytest.mark.parametrize("how", HOLDERS)
def test_an_array_with_other_references_does_not_change(how: str) -> None:
    parameter = tgl.Parameter(np.ones(SIZE, np.float32))
    held = HOLDERS[how](parameter)
    place = parameter.value.ctypes.data
    assert not is_held_once(parameter)
    step(parameter)
    assert parameter.value.ctypes.data != place
    assert (parameter.value == 0.5).all()
    if isinstance(held, np.ndarray):
        assert (held == 1).all()


def test_memory_of_other_objects_does_not_change() -> None:
    whole = np.ones(2 * SIZE, np.float32)
    locked = np.ones(SIZE, np.float32)
    locked.flags.writeable = False
    lent = np.frombuffer(bytearray(4 * SIZE), np.float32)
    for array in (whole[:SIZE], locked, whole.reshape(2, -1)[0], lent, lent.reshape(2, -1)):
        parameter = tgl.Parameter(array)
        del array
        assert not is_held_once(parameter)
    parameter = tgl.Parameter(whole[:SIZE])
    step(parameter)
    assert (whole == 1).all()


def test_updates_stay_in_place_if_losses_are_kept() -> None:
    parameter = tgl.Parameter(np.ones(SIZE, np.float32))
    optimizer = in_place({"w": parameter})
    losses, places = [], set()
    for number in range(4):
        losses.append((parameter * parameter).sum())
        losses[-1].backward()
        optimizer.step()
        if number:  # a compiler may keep the arguments of the first call
            places.add(parameter.value.ctypes.data)
    assert len(places) == 1


def test_updates_in_place_must_be_requested() -> None:
    parameter = tgl.Parameter(np.ones(SIZE, np.float32))
    place = parameter.value.ctypes.data
    (parameter * 2).sum().backward()
    SGD({"w": parameter}, lr=0.25, momentum=0.5).step()
    assert parameter.value.ctypes.data != place


def test_a_subclass_may_read_the_old_parameter_after_the_update() -> None:
    class Slow(SGD):
        def update(self, p: Any, g: Any, state: Any, **how: Any) -> Any:
            return p + 0.5 * (super().update(p, g, state, **how) - p)

    parameter = tgl.Parameter(np.ones(SIZE, np.float32))
    (parameter * 2).sum().backward()
    optimizer = Slow({"w": parameter}, lr=0.25, momentum=0.5)
    optimizer.in_place = True
    optimizer.step()
    assert (parameter.value == 0.75).all()
