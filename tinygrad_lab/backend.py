"""Array libraries: find the library of an array, copy between libraries, and add functions that they lack.

A *namespace* (`xp`) is a module with NumPy's functions: NumPy itself, or CuPy. Primitives get the namespace of their
arguments, so their code never names a library. Arrays move between devices only by `transfer`.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from tinygrad_lab.errors import DeviceError, DTypeError, ShapeError

Array = Any  # an array of any backend: numpy.ndarray, cupy.ndarray, ...
Shape = tuple[int, ...]

# By type rather than by kind: float8 of ml_dtypes is of the kind "f" too, and bfloat16 is not.
FLOATS = frozenset(np.dtype(code).type for code in np.typecodes["AllFloat"])  # with gradients (complex: see settings)
NUMBERS = FLOATS | {np.dtype(code).type for code in np.typecodes["AllInteger"] + "?"}  # the supported dtypes
SCALARS = frozenset({bool, int, float, complex, type(None)})  # of Python; they take the dtype of the other operand
ORDINARY = frozenset(map(np.dtype, "?bBhHiIlLqQefd"))  # dtypes for kernels: not complex, long double or byte-swapped


@dataclass(frozen=True)
class Backend:
    """One array library.

    Parameters
    ----------
    name : str
        The name for users: ``"cpu"``, ``"cuda"``.
    namespace : module
        NumPy's functions for this library's arrays.
    from_numpy, to_numpy : callable
        Copy an array from the host to the device, and back.
    scatter_add : callable
        ``scatter_add(target, index, values)`` adds in place, duplicates included (`numpy.add.at`).
    erf, erfc : callable
        The error function of an array, and 1 minus it, accurate even if that difference is small.
    """

    name: str
    namespace: Any
    from_numpy: Callable[[Array], Array]
    to_numpy: Callable[[Array], Array]
    scatter_add: Callable[[Array, Any, Array], None]
    erf: Callable[[Array], Array]
    erfc: Callable[[Array], Array]


def _scipy_special(name: str) -> Callable[[Array], Array]:
    """Return a wrapper that imports SciPy at the first call, because the import takes 0.1 s."""
    return lambda x: getattr(importlib.import_module("scipy.special"), name)(x)


BACKENDS: dict[str, Backend] = {}
NAMESPACES: dict[type, Any] = {}  # array type -> namespace, looked up at every operation


def register_backend(backend: Backend, *array_types: type) -> None:
    """Register a backend under its name and the types of its arrays."""
    BACKENDS[backend.name] = backend
    NAMESPACES.update(dict.fromkeys(array_types, backend.namespace))


register_backend(
    Backend("cpu", np, np.array, np.asarray, np.add.at, _scipy_special("erf"), _scipy_special("erfc")),
    np.ndarray,
    *NUMBERS,
)


def installed(name: str) -> bool:
    """Return whether a top-level package is installed, without importing it.

    A folder without ``__init__.py``, which an uninstall may leave, does not count.
    """
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _load_cupy() -> None:
    """Register CuPy; raise if it or a GPU is missing."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        got = "no such package" if getattr(error, "name", None) == "cupy" else f"{type(error).__name__}: {error}"
        raise DeviceError(
            f"device 'cuda': expected CuPy to be installed, got {got}; pip install 'tinygrad-lab[cuda]'"
        ) from error
    if not cupy.cuda.is_available():
        raise DeviceError("device 'cuda': expected a CUDA GPU and its driver, got none; use device 'cpu'")
    special = importlib.import_module("cupyx.scipy.special")
    add_at = importlib.import_module("cupyx").scatter_add
    backend = Backend("cuda", cupy, cupy.asarray, cupy.asnumpy, add_at, special.erf, special.erfc)
    register_backend(backend, cupy.ndarray)


def find_backend(name: str) -> Backend:
    """Return the backend of that name; CuPy is imported on demand.

    Raises
    ------
    DeviceError
        The name is unknown, the library is not installed, or there is no GPU.
    """
    if name == "cuda" and name not in BACKENDS:
        _load_cupy()
    if name not in BACKENDS:
        cure = "; a GPU is 'cuda'" if name in ("gpu", "cupy") else ""
        raise DeviceError(f"device {name!r}: expected one of {sorted({*BACKENDS, 'cuda'})}{cure}")
    return BACKENDS[name]


def namespace(*arrays: Array, who: str = "") -> Any:
    """Return the common namespace of the given arrays; Python's and NumPy's scalars fit any.

    Raises
    ------
    DeviceError
        The arrays belong to different backends.
    """
    proper = [a for a in arrays if type(a) in NAMESPACES and not isinstance(a, np.generic)]
    found = {id(xp): xp for xp in (NAMESPACES[type(a)] for a in proper)}
    if len(found) > 1:
        kinds = [device_name(a) for a in proper]
        raise DeviceError(f"{who}expected arrays of one device, got {kinds}; move them with .to(...)")
    return next(iter(found.values()), np)


def agree(who: object, arrays: list[Any]) -> tuple[Any, Any]:
    """Return the common namespace and float dtype (or None) of an operation's arguments.

    Arguments that are not yet numeric arrays, such as lists, are replaced by arrays in place: see `as_array`.

    Raises
    ------
    DeviceError
        The arrays belong to different backends.
    DTypeError
        Arguments are floats of different widths (complex128 with float64 is allowed for the complex step), or are not
        numeric.
    """
    for i, v in enumerate(arrays):
        if not (type(v) in SCALARS or (is_array(v) and v.dtype.isnative and v.dtype.type in NUMBERS)):
            arrays[i] = as_array(v, next(filter(carries_gradient, arrays), None), who=f"{who}: ")
    floats = {v.dtype: v for v in arrays if carries_gradient(v)}
    if len(floats) > 1 and {d.name for d in floats} != {"float64", "complex128"}:
        raise DTypeError.mixed(who, floats.values())
    return namespace(*arrays, who=f"{who}: "), max(floats, key=lambda d: d.itemsize, default=None)


def backend_of(array: Array) -> Backend:
    """Return the backend that an array belongs to (NumPy for Python numbers)."""
    xp = NAMESPACES.get(type(array), np)
    return next(b for b in BACKENDS.values() if b.namespace is xp)


def device_name(array: Array) -> str:
    """Return ``"cpu"``, ``"cuda"``, ... for an array."""
    return backend_of(array).name


def transfer(array: Array, device: str) -> Array:
    """Copy an array to a device; an array already on the device is returned unchanged."""
    source, target = backend_of(array), find_backend(device)
    return array if source is target else target.from_numpy(source.to_numpy(array))


def is_array(value: object) -> bool:
    """Return whether a value is an array of a registered backend."""
    return type(value) in NAMESPACES


def carries_gradient(value: object) -> bool:
    """Return whether a value is an array of floats; integers and booleans are constants."""
    return type(value) in NAMESPACES and value.dtype.type in FLOATS  # type: ignore[attr-defined]  # arrays all have one


def as_array(value: Any, like: Any = None, *, who: str = "") -> Array:
    """Convert a user's list, number or array to an array of numbers.

    Parameters
    ----------
    value : array, number or nested list
        An array of numbers is returned unchanged if its byte order is the machine's.
    like : array or None
        The other operand: a list goes to its device, and a list of floats takes its dtype if that is a float dtype.
    who : str
        The beginning of error messages.

    Raises
    ------
    DTypeError
        The value is not numeric, or is a masked array.
    ShapeError
        A nested list is not rectangular.
    """
    known = is_array(value)
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(f"{who}expected an array without a mask, got a masked one; fill it with x.filled(...)")
    try:
        array = value if known else namespace(like).asarray(value)
    except ValueError as error:
        raise ShapeError(f"{who}expected a rectangular nested list, got {value!r:.60}: {error}") from error
    if array.dtype.type not in NUMBERS:
        cure = "; convert with .astype('float32')" if known else ""
        raise DTypeError(f"{who}expected numbers, got {type(value).__name__} of {array.dtype}{cure}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not known and array.dtype.kind == "f" and carries_gradient(like):
        array = array.astype(like.dtype)
    return array


def real(array: Array) -> Array:
    """Return integers and booleans as float64, in which sums and products do not overflow; floats unchanged."""
    return array if array.dtype.type in FLOATS else array.astype("float64")


def beside(value: Any, like: Any, *, who: str = "") -> Array:
    """Return an operand as an array; a list or an array of integers takes the float dtype of `like`. See `as_array`."""
    array = as_array(value, like, who=who)
    return array.astype(like.dtype) if array.dtype.kind in "iu" and carries_gradient(like) else array


def as_floats(value: Any) -> Array:
    """Return an array of floats unchanged, and a Python float as an array.

    Raises
    ------
    DTypeError
        The value contains integers or booleans, which carry no gradient, or is not numeric.
    """
    array = as_array(value, who="differentiate: ")
    if not carries_gradient(array):
        raise DTypeError(f"expected an array of floats to differentiate, got {array.dtype}; integers carry no gradient")
    return array


def fresh(value: Any) -> Any:
    """Return a private copy of an array; anything else unchanged."""
    return namespace(value).array(value) if is_array(value) else value


def kept(value: Any) -> Any:
    """Return a copy of a writable array; anything else unchanged."""
    return fresh(value) if getattr(getattr(value, "flags", None), "writeable", True) else value


def zeros_like(array: Array) -> Array:
    """Return zeros of an array's shape, dtype and device."""
    return namespace(array).zeros(array.shape, array.dtype)


def is_finite(array: Array) -> bool:
    """Return whether an array contains neither infinities nor NaN."""
    return bool(namespace(array).isfinite(array).all())


def erf(x: Array) -> Array:
    """Return the error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x."""
    return backend_of(x).erf(x)


def erfc(x: Array) -> Array:
    """Return 1 - erf(x), accurate for large x."""
    return backend_of(x).erfc(x)


def scatter_add(target: Array, index: Any, values: Array) -> None:
    """Add `values` to ``target[index]`` in place; repeated positions accumulate."""
    backend_of(target).scatter_add(target, index, values)


_GOLDEN, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def split_mix(state: int) -> int:
    """Return SplitMix64's output for a 64-bit state (Steele, Lea and Flood 2014, figure 15)."""
    z = (state + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    return z ^ (z >> 31)


def random_number(key: int, place: int) -> int:
    """Return the element of `random_bits` at an index `place`, counted from 0."""
    return split_mix(int(key) + int(place) * _GOLDEN & _MASK)


def random_key_at(key: Any, place: int) -> Any:
    """Return the key whose `random_bits` are those of another key from index `place` on."""
    if isinstance(key, Integral):
        return int(key) + place * _GOLDEN & _MASK
    return key + namespace(key).uint64(place * _GOLDEN & _MASK)


def random_bits(xp: Any, key: Any, count: int) -> Array:
    """Return `count` random 64-bit numbers: SplitMix64 at the counters key + 1 * G, key + 2 * G, ..., where G is fixed.

    A number depends only on its key and position, not on the device, the number of threads or the kernel. The key is an
    integer, or an array of one uint64 on the device.
    """
    key = xp.uint64(int(key) & _MASK) if isinstance(key, Integral) else key
    return random_bits_at(xp, key, xp.arange(1, count + 1, dtype=xp.uint64))


def random_bits_at(xp: Any, keys: Any, places: Any) -> Array:
    """Return the random 64-bit numbers of keys at positions counted from 1; both are arrays or scalars of uint64."""
    if not (keys.ndim or places.ndim):  # NumPy warns of overflow in scalars, not in arrays
        return random_bits_at(xp, keys, places.reshape(1))[0]
    z = places * xp.uint64(_GOLDEN) + keys
    z = (z ^ (z >> xp.uint64(30))) * xp.uint64(_MIX_1)
    z = (z ^ (z >> xp.uint64(27))) * xp.uint64(_MIX_2)
    return z ^ (z >> xp.uint64(31))


def random_uniform(xp: Any, key: Any, shape: tuple[int, ...], dtype: Any = "float32") -> Array:
    """Return uniform numbers in [0, 1) from `random_bits`, with as many bits as the dtype's significand has."""
    digits = int(xp.finfo(dtype).nmant) + 1
    bits = random_bits(xp, key, math.prod(shape)) >> xp.uint64(64 - digits)
    return (bits.astype(dtype) * 2.0**-digits).reshape(shape)
