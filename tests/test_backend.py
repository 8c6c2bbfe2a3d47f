"""Array libraries: the library of an array, moving, functions that libraries lack, random bits."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from tests.strict_device import STRICT, StrictArray, fake, to_device, to_host, transfers
from tinygrad_lab import backend
from tinygrad_lab.errors import DeviceError, DTypeError

HERE, THERE = np.array([1.0, 2.0]), to_device(np.array([1.0, 2.0]))


def test_the_namespace_belongs_to_the_arrays() -> None:
    assert backend.namespace(HERE, 2.0, np.float64(3)) is np
    assert backend.namespace(THERE, 2.0, np.float64(3)) is fake
    assert backend.namespace() is np
    assert backend.namespace(2.0) is np
    with pytest.raises(DeviceError, match=r"f: expected arrays of one device, got \['strict', 'cpu'\]; move"):
        backend.namespace(THERE, HERE, who="f: ")


def test_a_folder_without_code_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("left_by_pip", "with_code"):
        (tmp_path / name / "core").mkdir(parents=True)
    (tmp_path / "with_code" / "__init__.py").touch()
    found = [backend.installed(name) for name in ("left_by_pip", "with_code", "of_nobody", "numpy")]
    assert found == [False, True, False, True]


def test_agree_finds_the_common_float_width() -> None:
    assert backend.agree("f", [HERE, np.array([1]), 2.0]) == (np, np.dtype("float64"))
    assert backend.agree("f", [np.array([1]), True]) == (np, None)
    assert backend.agree("f", [HERE, HERE + 1j]) == (np, np.dtype("complex128"))
    with pytest.raises(DTypeError, match=r"f: expected one float width, got float64 \(2,\) and float32 \(1,\)"):
        backend.agree("f", [HERE, np.ones(1, np.float32)])


def test_transfer_is_explicit_and_counts() -> None:
    before = transfers.copy()
    there = backend.transfer(HERE, "strict")
    assert isinstance(there, StrictArray)
    assert backend.transfer(there, "strict") is there
    assert backend.transfer(HERE, "cpu") is HERE
    back = backend.transfer(there, "cpu")
    assert back.tolist() == [1.0, 2.0]
    assert transfers - before == {"to the device": 1, "to the host": 1}
    assert backend.device_name(there) == "strict"
    assert backend.backend_of(there) is STRICT
    assert backend.device_name(2.0) == "cpu"


def test_the_error_for_an_unknown_device_lists_the_devices() -> None:
    with pytest.raises(DeviceError, match=r"device 'gpu': expected one of .*; a GPU is 'cuda'"):
        backend.find_backend("gpu")
    with pytest.raises(DeviceError, match=r"device 'tpu': expected one of \['cpu', 'cuda', 'strict'\]"):
        backend.find_backend("tpu")


def test_missing_cupy_is_an_error_only_if_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(backend.BACKENDS, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"device 'cuda': expected CuPy to be installed.*'tinygrad-lab\[cuda\]'"):
        backend.find_backend("cuda")


def test_the_error_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda:
        @staticmethod
        def is_available() -> bool:
            return False

    class CuPy:
        cuda = Cuda

    real = importlib.import_module
    monkeypatch.delitem(backend.BACKENDS, "cuda", raising=False)
    monkeypatch.setattr(importlib, "import_module", lambda name: CuPy if name == "cupy" else real(name))
    with pytest.raises(DeviceError, match="device 'cuda': expected a CUDA GPU and its driver, got none; use"):
        backend.find_backend("cuda")


def test_only_floats_carry_a_gradient() -> None:
    assert backend.carries_gradient(HERE)
    assert backend.carries_gradient(THERE)
    assert backend.carries_gradient(np.float32(1))
    for constant in (np.array([1]), np.array([True]), 1.0, [1.0], None):
        assert not backend.carries_gradient(constant)
    assert backend.as_floats(2.5).dtype == np.float64
    assert backend.as_floats(THERE) is THERE
    with pytest.raises(DTypeError, match="expected an array of floats to differentiate, got int64; integers carry no"):
        backend.as_floats(3)
    with pytest.raises(DTypeError):
        backend.as_floats("text")


def test_functions_that_libraries_lack_work_on_every_device() -> None:
    assert backend.zeros_like(THERE).dtype == np.float64
    assert to_host(backend.erf(THERE)).tolist() == special.erf(HERE).tolist()
    assert to_host(backend.erfc(THERE)).tolist() == special.erfc(HERE).tolist()
    assert backend.erf(HERE.astype(np.float32)).dtype == np.float32
    target = fake.zeros(3)
    backend.scatter_add(target, fake.asarray([0, 0, 2]), fake.asarray([1.0, 2.0, 4.0]))
    assert to_host(target).tolist() == [3.0, 0.0, 4.0]
    assert backend.is_finite(THERE)
    assert not backend.is_finite(np.array([np.inf]))


# ---------------------------------------------------------------------------------------------------------- random bits


def python_split_mix(state: int) -> int:
    """SplitMix64 as in its paper, with Python's integers."""
    mask = 2**64 - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_split_mix_is_the_published_generator() -> None:
    """The first numbers from state 1234567 equal those of other implementations."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    golden = 0x9E3779B97F4A7C15
    assert [backend.split_mix((1234567 + i * golden) % 2**64) for i in range(3)] == published
    assert backend.random_bits(np, 1234567, 3).tolist() == published


@pytest.mark.parametrize("xp", [np, fake])
def test_random_bits_depend_only_on_key_and_position(xp: Any) -> None:
    for key in (0, 1, 2**64 - 1, 0xDEADBEEF):
        long, short = backend.random_bits(xp, key, 5), backend.random_bits(xp, key, 3)
        expected = [python_split_mix((key + i * 0x9E3779B97F4A7C15) % 2**64) for i in range(5)]
        assert [int(v) for v in long] == expected
        assert [int(v) for v in short] == expected[:3]
    assert backend.random_bits(xp, 7, 0).shape == (0,)


@pytest.mark.filterwarnings("error")
def test_keys_and_positions_may_be_numpy_integers() -> None:
    wide = 2**63 - 1
    expected = python_split_mix((wide + 3 * 0x9E3779B97F4A7C15) % 2**64)
    assert backend.random_number(np.uint64(wide), np.int64(3)) == expected  # type: ignore[arg-type]
    assert backend.random_bits(np, np.int64(wide), 4)[3] == expected
    found = backend.random_bits_at(np, np.uint64(wide), np.uint64(4))
    assert found == expected
    assert np.shape(found) == ()


def test_random_bits_take_one_pass_for_each_operation_of_the_formula() -> None:
    class Counting(np.ndarray[Any, Any]):
        passes = 0

        def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
            Counting.passes += 1
            return getattr(ufunc, method)(*(np.asarray(x) for x in inputs), **options).view(Counting)

    class Namespace:
        uint64 = np.uint64

        @staticmethod
        def arange(*args: Any, **options: Any) -> Any:
            return np.arange(*args, **options).view(Counting)

    assert backend.random_bits(Namespace, 5, 3).tolist() == backend.random_bits(np, 5, 3).tolist()
    assert Counting.passes == 2 + 3 + 3 + 2, "products, sums, shifts and exclusive ors of SplitMix64"


def test_uniform_numbers_take_the_leading_bits() -> None:
    bits = [python_split_mix((9 + i * 0x9E3779B97F4A7C15) % 2**64) for i in range(6)]
    wide = backend.random_uniform(np, 9, (2, 3), "float64")
    narrow = backend.random_uniform(np, 9, (2, 3), "float32")
    assert wide.ravel().tolist() == [(b >> 11) * 2.0**-53 for b in bits]
    assert narrow.ravel().tolist() == [(b >> 40) * 2.0**-24 for b in bits]
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_numbers_fit_every_width(dtype: str) -> None:
    numbers = backend.random_uniform(np, 3, (1000,), dtype)
    assert numbers.dtype == dtype
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
