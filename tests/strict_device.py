"""A strict device without hardware, whose arrays refuse every conversion to NumPy arrays, like those of a GPU.

NumPy computes the results internally, but only an explicit move gives access to them: `np.asarray`, ufuncs and
functions of NumPy, the buffer protocol, DLPack and operations with ndarrays all raise `LeakError`. The namespace `fake`
has NumPy's functions for these arrays and refuses ndarrays. As with CuPy, a result without axes is an array, scalars of
Python and NumPy may be used in place of arrays, and ``float(a)`` waits for the device.

The device is registered under the name "strict". `transfers` counts its transfers and waits.
"""

from __future__ import annotations

import inspect
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

from tinygrad_lab.backend import Backend, register_backend

transfers: Counter[str] = Counter()


class LeakError(TypeError):
    """An array of the device was used with an ndarray, or its conversion to one was requested."""


def _refuse(how: str) -> Any:
    def refuse(self: Any, *args: Any, **options: Any) -> Any:
        raise LeakError(f"strict device: {how} would turn an array of the device into NumPy's; move it explicitly")

    return refuse


def _inside(value: Any) -> Any:
    """Return the ndarrays inside the device's arrays; refuse an ndarray."""
    if isinstance(value, StrictArray):
        return value._behind_the_wall
    if isinstance(value, np.ndarray):
        raise LeakError(f"strict device: expected its own arrays, got an ndarray of shape {value.shape}")
    if isinstance(value, list | tuple):
        return type(value)(_inside(v) for v in value)
    if isinstance(value, dict):
        return {k: _inside(v) for k, v in value.items()}
    return value


def _outside(value: Any) -> Any:
    """Return results of NumPy as arrays of the device."""
    if isinstance(value, np.ndarray | np.generic):
        return StrictArray(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(_outside(v) for v in value)
    return value


class Recording:
    """A captured graph: a recording of the operations in a ``with`` block, which can be repeated any number of times.

    As on a GPU, nothing may be moved or waited for inside the block, and arrays that it changes in place are restored
    afterwards. A launch repeats each operation with the same arguments, including numbers, and in the same memory.
    """

    now: Recording | None = None

    def __init__(self) -> None:
        self.operations: list[Callable[[], Any]] = []
        self.changed: list[tuple[np.ndarray, np.ndarray]] = []

    def __enter__(self) -> Recording:
        Recording.now = self
        return self

    def __exit__(self, *error: object) -> None:
        Recording.now = None
        for array, before in reversed(self.changed):
            array[...] = before

    def launch(self) -> None:
        for operation in self.operations:
            operation()


def _compute(function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
    """Compute new arrays; a launch of a recording writes into the same arrays."""
    args, options = _inside(args), _inside(options)
    made = _as_arrays(function(*args, **options))
    if Recording.now:
        Recording.now.operations.append(lambda: _refill(made, _as_arrays(function(*args, **options))))
    return _outside(made)


def change(function: Callable[..., Any], targets: list[np.ndarray]) -> None:
    """Call a function that changes the target arrays."""
    if Recording.now:
        Recording.now.changed += [(target, target.copy()) for target in targets]
        Recording.now.operations.append(function)
    function()


def _as_arrays(result: Any) -> Any:
    if isinstance(result, list | tuple):
        made = [_as_arrays(r) for r in result]
        return made if isinstance(result, list) else tuple(made)  # also for a named tuple
    return np.asarray(result) if isinstance(result, np.generic) else result


def _refill(places: Any, results: Any) -> None:
    if isinstance(places, list | tuple):
        for place, result in zip(places, results, strict=True):
            _refill(place, result)
    elif isinstance(places, np.ndarray) and not np.shares_memory(places, results):
        places[...] = results


def _count(what: str) -> None:
    if Recording.now:
        raise LeakError(f"strict device: {what} while a graph is being captured")
    transfers[what] += 1


def _behind(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function for this device's arrays."""

    def call(*args: Any, **options: Any) -> Any:
        return _compute(function, args, options)

    return call


def _method(name: str) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return _compute(getattr(self._behind_the_wall, name), args, options)

    return method


def _operator(function: Callable[..., Any], *, swapped: bool = False) -> Any:
    def method(self: Any, *others: Any) -> Any:
        if any(not isinstance(o, StrictArray | np.ndarray | np.generic | int | float | complex) for o in others):
            return NotImplemented
        operands = (self, *others)
        return _compute(function, operands[::-1] if swapped else operands, {})

    return method


def _in_place(function: Callable[..., Any]) -> Any:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, StrictArray | np.ndarray | np.generic | int | float):
            return NotImplemented
        target, value = self._behind_the_wall, _inside(other)
        change(lambda: function(target, value), [target])
        return self

    return method


def _wait(convert: Callable[[Any], Any]) -> Any:
    def method(self: Any) -> Any:
        _count("waits")
        return convert(self._behind_the_wall)

    return method


class StrictArray:
    """An array of the strict device."""

    __slots__ = ("_behind_the_wall",)

    def __init__(self, array: np.ndarray) -> None:
        self._behind_the_wall = array

    shape = property(lambda self: self._behind_the_wall.shape)
    dtype = property(lambda self: self._behind_the_wall.dtype)
    ndim = property(lambda self: self._behind_the_wall.ndim)
    size = property(lambda self: self._behind_the_wall.size)
    nbytes = property(lambda self: self._behind_the_wall.nbytes)
    strides = property(lambda self: self._behind_the_wall.strides)
    T = property(lambda self: StrictArray(self._behind_the_wall.T))
    real = property(lambda self: StrictArray(self._behind_the_wall.real))
    imag = property(lambda self: StrictArray(self._behind_the_wall.imag))

    __array__ = _refuse("np.asarray")
    __array_ufunc__ = _refuse("a ufunc of NumPy")
    __array_function__ = _refuse("a function of NumPy")
    __array_wrap__ = _refuse("a ufunc of NumPy")
    __dlpack__ = __dlpack_device__ = _refuse("DLPack")
    __buffer__ = _refuse("the buffer protocol")
    __array_interface__ = property(_refuse("the array interface"))
    __array_struct__ = property(_refuse("the array interface"))
    __reduce_ex__ = _refuse("pickling")

    def __len__(self) -> int:
        return len(self._behind_the_wall)

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __getitem__(self, index: Any) -> Any:
        return _compute(operator.getitem, (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        target, index, value = self._behind_the_wall, _inside(index), _inside(value)
        change(lambda: operator.setitem(target, index, value), [target])

    def __repr__(self) -> str:
        return f"StrictArray({self._behind_the_wall})"

    __str__ = __repr__
    __hash__ = None  # type: ignore[assignment]  # as for other arrays, == is elementwise
    __bool__, __int__, __float__ = _wait(bool), _wait(int), _wait(float)
    __complex__, __index__ = _wait(complex), _wait(operator.index)


for _name in ("all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumsum", "max", "mean", "min"):
    setattr(StrictArray, _name, _method(_name))
for _name in ("prod", "ravel", "repeat", "reshape", "squeeze", "std", "sum", "swapaxes", "take", "transpose", "var"):
    setattr(StrictArray, _name, _method(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor"):
    _short = _name.rstrip("_")
    _function = getattr(operator, _name)
    setattr(StrictArray, f"__{_short}__", _operator(_function))
    setattr(StrictArray, f"__r{_short}__", _operator(_function, swapped=True))
    setattr(StrictArray, f"__i{_short}__", _in_place(getattr(operator, f"i{_short}")))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "lshift", "rshift", "neg", "pos", "abs", "invert"):
    setattr(StrictArray, f"__{_name}__", _operator(getattr(operator, _name)))


class Namespace:
    """The functions of NumPy, or of one of its modules, on arrays of the device."""

    def __init__(self, module: Any = np) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        thing = getattr(self._module, name)
        if inspect.ismodule(thing):
            return Namespace(thing)
        if isinstance(thing, type) or not callable(thing):
            return thing  # dtypes and constants
        return _behind(thing)

    def __repr__(self) -> str:
        return "fake"


fake = Namespace()


def to_device(array: Any) -> StrictArray:
    """Copy an array of NumPy to the device. It is read-only there, so that writing into an argument fails."""
    _count("to the device")
    copied = np.array(array)
    copied.flags.writeable = False
    return StrictArray(copied)


def to_host(array: StrictArray) -> np.ndarray:
    """Copy an array of the device to NumPy."""
    _count("to the host")
    return np.array(array._behind_the_wall)


def _scatter_add(target: StrictArray, index: Any, values: StrictArray) -> None:
    array, index, values = _inside(target), _inside(index), _inside(values)
    change(lambda: np.add.at(array, index, values), [array])


STRICT = Backend("strict", fake, to_device, to_host, _scatter_add, _behind(special.erf), _behind(special.erfc))
register_backend(STRICT, StrictArray)


def everywhere(tree: Any, move: Callable[[Any], Any]) -> Any:
    """Move every array in tuples, lists and dicts, and keep other values."""
    if isinstance(tree, dict):
        return {k: everywhere(v, move) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(everywhere(v, move) for v in tree)
    return move(tree) if isinstance(tree, np.ndarray | StrictArray) else tree
