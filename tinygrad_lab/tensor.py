"""Tensors: immutable arrays with NumPy's operators and methods, tracked by the tape."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Concatenate, Never, ParamSpec, SupportsIndex

import numpy as np

from tinygrad_lab import numpy_protocol
from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.autograd.settings import SETTINGS
from tinygrad_lab.autograd.tape import Box, Node, backward_pass, unbox
from tinygrad_lab.backend import (
    NUMBERS,
    Array,
    as_array,
    backend_of,
    beside,
    carries_gradient,
    device_name,
    find_backend,
    fresh,
    is_array,
    namespace,
    transfer,
)
from tinygrad_lab.errors import CallError, DTypeError, GradientError, OptionError, ShapeError
from tinygrad_lab.foreign_names import TENSOR, missing, names_options
from tinygrad_lab.ops import activation, arithmetic, diagonals, elementary, indexing, linear, reductions, shaping
from tinygrad_lab.ops.arithmetic import (
    add,
    divide,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    multiply,
    not_equal,
    power,
    subtract,
)

Options = ParamSpec("Options")


def _method(function: Callable[Concatenate[Any, Options], Any]) -> Callable[Concatenate[Any, Options], Any]:
    """Return a function as a method of its first argument."""

    @functools.wraps(function, updated=())  # not the rules and kernels of a primitive
    def method(self: Any, *args: Options.args, **options: Options.kwargs) -> Any:
        return function(self, *args, **options)

    return method  # type: ignore[return-value]  # functools.wraps names the argument


class Tensor(Box):
    """An immutable array that can be differentiated. Create one with `tensor`.

    Operators and methods are NumPy's. ``t.value`` is the raw array; do not write into it.
    """

    __slots__ = ("__weakref__",)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.value.shape  # type: ignore[no-any-return]  # arrays are Any

    @property
    def dtype(self) -> Any:
        """The data type."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim  # type: ignore[no-any-return]  # arrays are Any

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.value.size  # type: ignore[no-any-return]  # arrays are Any

    @property
    def T(self) -> Any:  # NumPy's name
        """The tensor with its axes reversed."""
        return shaping.transpose(self)

    @property
    def mT(self) -> Any:  # NumPy's name
        """The matrices in the last two axes, transposed."""
        return shaping.swapaxes(self, -1, -2)

    @property
    def device(self) -> str:
        """The device of the array: ``"cpu"``, ``"cuda"``."""
        return device_name(self.value)

    @property
    def requires_grad(self) -> bool:
        """Whether the tensor is on the tape."""
        return self.node is not None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has accumulated in a leaf; None before."""
        if self.node is None or self.node.grad is None:
            return None
        return Tensor(namespace(self.node.grad).asarray(self.node.grad))

    def __setitem__(self, index: Any, value: Any) -> None:
        raise CallError(
            "t[index] = value: expected no assignment, because tensors are immutable; use "
            "tinygrad_lab.where(mask, value, t), or concatenate parts of t"
        )

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not isinstance(vars(Tensor).get(name), _Missing)]

    def __repr__(self) -> str:
        text = f"tensor({self.value!s}, shape={self.shape}, dtype={self.dtype}, device={self.device!r}"
        if self.node is not None:
            text += f", from {self.node.op}" if self.node.op else ", requires_grad=True"
        return text.replace("\n", "\n       ") + ")"

    def _repr_html_(self) -> str:
        kind = "leaf" if self.node and not self.node.op else f"from {self.node.op}" if self.node else "constant"
        facts = f"<b>tensor</b> {self.shape} {self.dtype} on {self.device}, {kind}"
        parts = {"": self.value, "gradient": self.node.grad if self.node else None}
        shown = [f"{name}<pre>{escape(str(array))}</pre>" for name, array in parts.items() if array is not None]
        return f"<div>{facts}</div>" + "".join(shown)

    def numpy(self) -> Array:
        """Return the values as a read-only NumPy array, copied from the GPU if necessary."""
        self._leaves_the_tape("numpy()")
        array = backend_of(self.value).to_numpy(self.value).view()
        array.flags.writeable = False
        return array

    def item(self) -> float:
        """Return the one element as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: expected one element, got {self.size} (shape {self.shape})")
        self._leaves_the_tape("item()")
        return self.numpy().item()  # type: ignore[no-any-return]  # arrays are Any

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply the operation with the name of a NumPy ufunc, so that ``np.sin(t)`` stays on the tape."""
        name = ufunc.__name__
        if ufunc in numpy_protocol.QUERIES and method == "__call__":
            return numpy_protocol.answer(ufunc, inputs, options)
        operation = next((vars(m)[name] for m in (arithmetic, elementary, linear) if name in vars(m)), None)
        if method != "__call__" or options or operation is None:
            call = "".join(
                [name, f".{method}" * (method != "__call__"), f"(..., {', '.join(options)}=)" * bool(options)]
            )
            raise DTypeError.foreign(call)
        boxes = [x for x in inputs if isinstance(x, Box)]
        like = next((b for b in boxes if carries_gradient(b.value)), boxes[0])
        return operation(*(_operand(like, x) for x in inputs))

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        """Apply the operation with the name of a NumPy function: ``np.sum(t, axis=0)``."""
        return numpy_protocol.apply(function, types, inputs, options)

    def __format__(self, spec: str) -> str:
        """Format a tensor of one element as a number."""
        return format(self.item() if spec else str(self), spec)

    def __array__(self, *args: Any, **options: Any) -> Array:
        """Return the values of a constant on the CPU, so that Matplotlib can draw it."""
        if self.node is not None or self.device != "cpu":
            raise DTypeError(
                "a Tensor on the tape or on a GPU is not converted to a NumPy array implicitly; use t.numpy(), which "
                "detaches the values from the tape, or the functions of tinygrad_lab"
            )
        return np.array(self.numpy(), *args, **options)

    def to(self, device: str) -> Tensor:
        """Return the tensor on another device; the backward pass moves the gradient back."""
        find_backend(device)
        return self if device == self.device else to_device(self, device=device, source=self.device)

    def astype(self, dtype: Any) -> Tensor:
        """Return the tensor in another data type; the gradient is converted back."""
        return shaping.astype(self, dtype=dtype)  # type: ignore[no-any-return]  # arrays are Any

    @names_options
    def backward(self, cotangent: Any = None, keep_graph: bool = False) -> None:
        """Run the backward pass from this tensor and add to the ``grad`` of every leaf that it depends on.

        Parameters
        ----------
        cotangent : Tensor or array
            dL/d(self), of this tensor's shape and dtype; by default 1 for a scalar.
        keep_graph : bool
            Whether to keep saved values for another backward pass.

        Raises
        ------
        GradientError
            The tensor is not on the tape or needs a cotangent, or an earlier backward pass released the tape.
        """
        if self.node is None:
            raise GradientError(
                "backward: expected a tensor on the tape, got a constant; make a leaf with requires_grad=True"
            )
        backward_pass({self.node: self._cotangent(cotangent, "backward")}, keep=keep_graph)

    def _cotangent(self, cotangent: Any, who: str) -> Array:
        """Return the cotangent of this tensor with which a backward pass starts, by default 1 for a scalar."""
        if cotangent is None and self.shape != ():
            raise GradientError(
                f"{who}: expected a cotangent of shape {self.shape}, got none; take a sum, or pass one"
            )
        if cotangent is None:
            g = namespace(self.value).ones((), self.dtype)
        else:
            g = fresh(as_array(unbox(cotangent), self.value, who=f"{who}: "))
        if g.shape != self.shape or g.dtype != self.dtype:
            raise ShapeError(
                f"{who}: expected a cotangent of shape {self.shape} {self.dtype}, got {g.shape} {g.dtype}"
            )
        return g

    def register_hook(self, hook: Callable[[Any], Any]) -> Callable[[], None]:
        """Call `hook` with this tensor's gradient in each backward pass. A result other than None is the new gradient.

        A parameter keeps its hooks when it gets a new array, and while it is frozen.

        Returns
        -------
        callable
            Call it to remove the hook.
        """
        if self.node is None:
            raise GradientError(
                "register_hook: expected a tensor on the tape, got a constant; make a leaf with requires_grad=True"
            )
        node = self.node

        @functools.wraps(hook, assigned=(), updated=())
        def apply(g: Any) -> Any:
            replaced = hook(g if isinstance(g, Box) else Tensor(g))
            if replaced is None:
                return g
            return replaced if isinstance(g, Box) else unbox(replaced)

        node.hooks = (*node.hooks, apply)

        def remove() -> None:
            # a parameter passes its hooks to its next leaf, and keeps them while it is frozen
            for holder in (node, self.node, getattr(self, "frozen_leaf", None)):
                if holder is not None:
                    holder.hooks = tuple(h for h in holder.hooks if h is not apply)

        return remove

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("len: expected an axis, got a 0-dimensional tensor")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self._constant("float()").item())

    def __int__(self) -> int:
        return int(self._constant("int()").item())

    def __complex__(self) -> complex:
        return complex(self._constant("complex()").item())

    def _constant(self, conversion: str) -> Tensor:
        """Return the tensor, or raise if a transform is differentiating with respect to it and would lose a derivative.

        `bool` is allowed, because it controls the flow and has no derivative.
        """
        settings = SETTINGS.get()
        if self.node is not None and settings.transforming and settings.recording:
            raise DTypeError.cut_off(conversion)
        self._leaves_the_tape(conversion)
        return self

    def _leaves_the_tape(self, how: str) -> None:
        """Report to a watcher that a tracked value becomes a constant."""
        if self.node is not None and (watcher := SETTINGS.get().watcher):
            watcher.left(self, how)

    def __index__(self) -> int:
        index: SupportsIndex = self.value
        return index.__index__()

    def __getitem__(self, index: Any) -> Any:
        return indexing.getitem(self, index)

    def __hash__(self) -> int:
        return id(self)

    def __neg__(self) -> Any:
        return arithmetic.negative(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return arithmetic.absolute(self)

    def __add__(self, other: Any) -> Any:
        return add(self, other if isinstance(other, Box) else _operand(self, other))

    def __radd__(self, other: Any) -> Any:
        return add(_operand(self, other), self)

    def __sub__(self, other: Any) -> Any:
        return subtract(self, other if isinstance(other, Box) else _operand(self, other))

    def __rsub__(self, other: Any) -> Any:
        return subtract(_operand(self, other), self)

    def __mul__(self, other: Any) -> Any:
        return multiply(self, other if isinstance(other, Box) else _operand(self, other))

    def __rmul__(self, other: Any) -> Any:
        return multiply(_operand(self, other), self)

    def __truediv__(self, other: Any) -> Any:
        return divide(self, other if isinstance(other, Box) else _operand(self, other))

    def __rtruediv__(self, other: Any) -> Any:
        return divide(_operand(self, other), self)

    def __pow__(self, other: Any) -> Any:
        return power(self, other if isinstance(other, Box) else _operand(self, other))

    def __rpow__(self, other: Any) -> Any:
        return power(_operand(self, other), self)

    def __floordiv__(self, other: Any) -> Any:
        return arithmetic.floor_divide(self, _operand(self, other))

    def __rfloordiv__(self, other: Any) -> Any:
        return arithmetic.floor_divide(_operand(self, other), self)

    def __mod__(self, other: Any) -> Any:
        return arithmetic.remainder(self, _operand(self, other))

    def __rmod__(self, other: Any) -> Any:
        return arithmetic.remainder(_operand(self, other), self)

    def __and__(self, other: Any) -> Any:
        return arithmetic.bitwise_and(self, _operand(self, other))

    def __rand__(self, other: Any) -> Any:
        return arithmetic.bitwise_and(_operand(self, other), self)

    def __or__(self, other: Any) -> Any:
        return arithmetic.bitwise_or(self, _operand(self, other))

    def __ror__(self, other: Any) -> Any:
        return arithmetic.bitwise_or(_operand(self, other), self)

    def __xor__(self, other: Any) -> Any:
        return arithmetic.bitwise_xor(self, _operand(self, other))

    def __rxor__(self, other: Any) -> Any:
        return arithmetic.bitwise_xor(_operand(self, other), self)

    def __invert__(self) -> Any:
        return arithmetic.bitwise_not(self)

    def __matmul__(self, other: Any) -> Any:
        return linear.matmul(self, _operand(self, other))

    def __rmatmul__(self, other: Any) -> Any:
        return linear.matmul(_operand(self, other), self)

    def __eq__(self, other: object) -> Any:
        return equal(self, other if isinstance(other, Box) else _operand(self, other))

    def __ne__(self, other: object) -> Any:
        return not_equal(self, other if isinstance(other, Box) else _operand(self, other))

    def __lt__(self, other: Any) -> Any:
        return less(self, other if isinstance(other, Box) else _operand(self, other))

    def __le__(self, other: Any) -> Any:
        return less_equal(self, other if isinstance(other, Box) else _operand(self, other))

    def __gt__(self, other: Any) -> Any:
        return greater(self, other if isinstance(other, Box) else _operand(self, other))

    def __ge__(self, other: Any) -> Any:
        return greater_equal(self, other if isinstance(other, Box) else _operand(self, other))

    # Methods of NumPy's arrays, and functions that networks use most.
    sum = _method(reductions.sum)
    mean = _method(reductions.mean)
    var = _method(reductions.var)
    std = _method(reductions.std)
    prod = _method(reductions.prod)
    max = _method(reductions.max)
    min = _method(reductions.min)
    all = _method(reductions.all)
    any = _method(reductions.any)
    argmax = _method(reductions.argmax)
    argmin = _method(reductions.argmin)
    argsort = _method(reductions.argsort)
    cumsum = _method(reductions.cumsum)
    cumprod = _method(reductions.cumprod)
    logsumexp = _method(reductions.logsumexp)
    norm = _method(reductions.norm)
    abs = _method(arithmetic.absolute)
    clip = _method(arithmetic.clip)
    exp = _method(elementary.exp)
    log = _method(elementary.log)
    sqrt = _method(elementary.sqrt)
    square = _method(elementary.square)
    sin = _method(elementary.sin)
    cos = _method(elementary.cos)
    tanh = _method(elementary.tanh)
    sigmoid = _method(elementary.sigmoid)
    relu = _method(activation.relu)
    softmax = _method(activation.softmax)
    log_softmax = _method(activation.log_softmax)
    squeeze = _method(shaping.squeeze)
    swapaxes = _method(shaping.swapaxes)
    ravel = _method(shaping.ravel)
    repeat = _method(indexing.repeat)
    take = _method(indexing.take)
    diagonal = _method(diagonals.diagonal)
    trace = _method(diagonals.trace)
    dot = _method(linear.dot)

    def flatten(self, start: int = 0) -> Any:
        """Return the tensor with axis `start` and all later axes merged; ``t.flatten(1)`` keeps the batch axis."""
        if not 0 <= start <= self.ndim:
            raise OptionError(f"flatten: expected start from 0 to {self.ndim}, the number of axes, got {start}")
        return self.reshape(*self.shape[:start], math.prod(self.shape[start:]))

    def tolist(self) -> Any:
        """Return the values as nested lists of Python numbers, or one number."""
        return self.numpy().tolist()

    def reshape(self, *shape: Any) -> Any:
        """Return the elements in another shape: ``t.reshape(2, -1)`` or ``t.reshape((2, -1))``."""
        lengths = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        return shaping.reshape(self, shape=tuple(lengths))

    def transpose(self, *axes: Any) -> Any:
        """Return the tensor with its axes in another order; by default reversed."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], Sequence) else axes
        return shaping.transpose(self, axes=tuple(order) or None)


class _Missing:
    """An attribute that tensors lack. Reading it raises an error that suggests what to use.

    A `__getattr__` would cover every name, but it would slow down each access to a tensor's `value` and `node`: an
    operation would take 0.3 microseconds more.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, tensor: Tensor | None, owner: type) -> Never:
        raise missing("'Tensor' object", self.name, TENSOR, _FUNCTIONS)


_OPERATIONS = (elementary, arithmetic, reductions, shaping, indexing, diagonals, linear)
_FUNCTIONS = {name for module in _OPERATIONS for name in vars(module) if name[0] != "_"}
for _name in {*TENSOR, *_FUNCTIONS} - {*dir(Tensor)}:
    setattr(Tensor, _name, _Missing(_name))

Box.boxes = Tensor


def _operand(like: Box, other: Any) -> Any:
    """Return an operand as an array or a number; lists and integer arrays are converted to the tensor's dtype."""
    convert = isinstance(other, (list, tuple)) or (is_array(other) and other.dtype.kind in "iu")
    return beside(other, like.value, who="operand: ") if convert else other


@primitive
def to_device(xp: Any, x: Any, *, device: str, source: str) -> Any:
    """Return x copied from its device, `source`, to another."""
    return transfer(x, device)


to_device.defvjp(x=lambda g, device, source: to_device(g, device=source, source=device))


def tensor(array: Any, requires_grad: bool = False, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Return a tensor with a copy of an array.

    Parameters
    ----------
    array : array, Tensor, number or nested list
        The values.
    requires_grad : bool
        Whether the tensor is a leaf of the tape: a variable to differentiate with respect to.
    dtype : str or numpy.dtype
        By default that of the array, as NumPy would choose it.
    device : {"cpu", "cuda"}
        By default that of the array.

    Raises
    ------
    DTypeError
        The values are not numeric, or requires_grad is set for integers or booleans.

    Examples
    --------
    >>> x = tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4.])
    """
    values = as_array(unbox(array), who="tensor: ")
    if device is not None:
        values = transfer(values, device)
    values = namespace(values).array(values, dtype=dtype)
    if values.dtype.type not in NUMBERS:
        raise DTypeError(f"tensor: expected numbers, got {type(array).__name__} of {values.dtype}")
    if requires_grad and not carries_gradient(values):
        raise DTypeError(f"tensor: expected floats to require a gradient, got {values.dtype}; pass dtype='float32'")
    return Tensor(values, Node(values) if requires_grad else None)
