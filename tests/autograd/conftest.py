"""Every test of the engine runs on NumPy and on a strict device, with read-only arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.strict_device import StrictArray, to_device, to_host

Make = Callable[..., Any]


def host(x: Any) -> np.ndarray:
    """The values of a Tensor or an array of any device."""
    value = x.value if isinstance(x, tgl.Tensor) else x
    return to_host(value) if isinstance(value, StrictArray) else np.asarray(value)


@pytest.fixture(params=["cpu", "strict"])
def device(request: pytest.FixtureRequest) -> str:
    """The device on which the test's arrays lie."""
    return str(request.param)


@pytest.fixture
def make(device: str) -> Make:
    """Make a read-only array on the device."""

    def make_array(values: Any, dtype: str = "float64") -> Any:
        array = np.array(values, dtype=dtype)
        array.flags.writeable = False
        return array if device == "cpu" else to_device(array)

    return make_array


@pytest.fixture
def variable(make: Make) -> Make:
    """Make a leaf with a read-only array on the device."""

    def make_variable(values: Any, dtype: str = "float64") -> Any:
        return tgl.Parameter(make(values, dtype))

    return make_variable
