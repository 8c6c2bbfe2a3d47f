"""Subjects: layers, functions, or pairs of forward and derivative, seen as functions of arrays.

A layer's result depends on its parameters, its buffers, its mode and the number of its training steps. A subject sets
all of these before each call. So it is a mathematical function of its float inputs and parameters, and the transforms
of the engine apply to it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Self

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.autograd.trees import flatten
from tinygrad_lab.backend import Array, as_floats, carries_gradient, device_name, transfer
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.tensor import Tensor

Arrays = list[Array]
Pull = Callable[[Sequence[Array]], Arrays]


def float_leaves(tree: Any) -> list[Any]:
    """Return the leaves of a layer's result that can have gradients: tensors or raw arrays of floats."""
    return [leaf for leaf in flatten(tree)[0] if carries_gradient(unbox(leaf))]


class Subject:
    """A function of tensors, with float arguments to differentiate with respect to, and constants.

    Parameters
    ----------
    function : callable
        Called with one tensor for each input.
    inputs : list of arrays
        The point at which the function is checked; integers are constants.
    constants : collection of int
        The positions of inputs that are constants although they are floats.
    options : mapping
        The function's keyword arguments.
    """

    differentiable = True  # written in operations of the engine, so that every transform applies

    def __init__(
        self,
        function: Callable[..., Any],
        inputs: Arrays,
        constants: Collection[int] = (),
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.function, self.inputs, self.options = function, inputs, options
        self.floats = [i for i, a in enumerate(inputs) if carries_gradient(a) and i not in constants]
        self.names = [f"x{i}" if len(inputs) > 1 else "x" for i in self.floats]

    @property
    def arrays(self) -> Arrays:
        """The float arguments at which the subject is checked."""
        return [self.inputs[i] for i in self.floats]

    def __call__(self, *arguments: Any) -> list[Any]:
        """Return the float results for float arguments, which are tensors or raw arrays."""
        return float_leaves(self.call(arguments))

    def call(self, arguments: Sequence[Any]) -> Any:
        """Return the whole result for float arguments."""
        return self.function(*self._all_inputs(arguments), **self.options)

    def at(self, inputs: Arrays) -> Self:
        """Return the same function at other inputs, such as fewer rows."""
        other = copy.copy(self)
        other.inputs = inputs
        return other

    def _all_inputs(self, arguments: Sequence[Any]) -> list[Any]:
        given = dict(zip(self.floats, arguments, strict=False))  # a layer's parameters come after its inputs
        like = unbox(arguments[0]) if arguments else None
        values = [given[i] if i in given else convert(a, like) for i, a in enumerate(self.inputs)]
        return [v if isinstance(v, Tensor) else Tensor(v) for v in values]

    def value(self, arrays: Sequence[Array]) -> Arrays:
        """Return the raw float results, without recording."""
        with tgl.no_grad():
            return [unbox(y) for y in self(*arrays)]

    def linearize(self, arrays: Sequence[Array]) -> tuple[Arrays, Pull]:
        """Return the raw float results and the pullback, which maps their cotangents to the arguments' gradients."""
        ys, pull = tgl.vjp(self, *arrays)
        return [unbox(y) for y in ys], lambda cotangents: list(pull(list(cotangents)))


class LayerSubject(Subject):
    """A layer as a function of its float inputs and then of its parameters.

    Parameters
    ----------
    layer : Layer
        The layer, which is checked at the present values of its variables.
    inputs, constants
        As in `Subject`.
    """

    def __init__(self, layer: Layer, inputs: Arrays, constants: Collection[int] = ()) -> None:
        super().__init__(layer, inputs, constants)
        self.layer, self.training = layer, layer.training
        self.cells = layer.variables()
        self.learned = [path for path, cell in layer.parameters().items() if cell.node is not None]
        self.state = {path: read_only(cell.value) for path, cell in self.cells.items()}
        self.names += self.learned

    @property
    def arrays(self) -> Arrays:
        """The float inputs, then the parameters."""
        return super().arrays + [self.state[path] for path in self.learned]

    def call(self, arguments: Sequence[Any]) -> Any:
        """Return the layer's result with the variables and the step of the case."""
        given = dict(zip(self.learned, arguments[len(self.floats) :], strict=True))
        like = unbox(arguments[0]) if arguments else None
        kept = {path: (cell.value, cell.node) for path, cell in self.cells.items()}
        steps = self.layer.steps
        try:
            self.layer.steps = 0
            for path, cell in self.cells.items():
                bound = given.get(path)
                if bound is None:
                    bound = convert(self.state[path], like)
                cell.value, cell.node = (bound.value, bound.node) if isinstance(bound, Tensor) else (bound, None)
            return super().call(arguments)
        finally:
            self.layer.steps = steps
            for path, cell in self.cells.items():
                cell.value, cell.node = kept[path]


class RuleSubject(Subject):
    """A forward and its vector-Jacobian product, written as plain functions of arrays with any library.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` returns one array or a tuple of arrays.
    vjp : callable
        ``vjp(cotangent, *arrays)`` returns one gradient for each float array, in a tuple if there are several;
        `cotangent` is a tuple if the forward returns one.
    inputs, constants
        As in `Subject`.
    """

    differentiable = False

    def __init__(
        self, forward: Callable[..., Any], vjp: Callable[..., Any], inputs: Arrays, constants: Collection[int] = ()
    ) -> None:
        super().__init__(forward, inputs, constants)
        self.vjp = vjp

    def _all_inputs(self, arguments: Sequence[Any]) -> list[Any]:
        given = dict(zip(self.floats, arguments, strict=True))
        return [given.get(i, a) for i, a in enumerate(self.inputs)]

    def __call__(self, *arguments: Any) -> list[Any]:
        """Return the results as NumPy arrays."""
        ys = self.call(arguments)
        return [np.asarray(y) for y in (ys if isinstance(ys, (tuple, list)) else (ys,))]

    def linearize(self, arrays: Sequence[Array]) -> tuple[Arrays, Pull]:
        """Return the results, and the vector-Jacobian product at these arrays."""
        result = self.call(arrays)
        several = isinstance(result, (tuple, list))

        def pull(cotangents: Sequence[Array]) -> Arrays:
            g = type(result)(cotangents) if several else cotangents[0]
            gradients = self.vjp(g, *self._all_inputs(arrays))
            return [np.asarray(d) for d in (gradients if isinstance(gradients, (tuple, list)) else (gradients,))]

        return [np.asarray(y) for y in (result if several else (result,))], pull


@contextmanager
def restoring(layer: Layer) -> Iterator[None]:
    """Restore the layer's variables, modes and steps when the ``with`` block ends."""
    kept = [(cell, cell.value, cell.node) for cell in layer.variables().values()]
    modes = [(inner, inner.training, inner.steps) for inner in layer.layers().values()]
    try:
        yield
    finally:
        for cell, value, node in kept:
            cell.value, cell.node = value, node
        for inner, training, steps in modes:
            inner.training, inner.steps = training, steps


def read_only(array: Array) -> Array:
    """Return a read-only view of an array."""
    view = array.view()
    if isinstance(view, np.ndarray):
        view.flags.writeable = False
    return view


def convert(array: Array, like: Array | None) -> Array:
    """Return a float array in the dtype and on the device of another; in float64 if the other is complex."""
    if like is None or array.dtype.kind != "f":
        return array if like is None else transfer(array, device_name(like))
    dtype = "float64" if like.dtype.kind == "c" else like.dtype
    return transfer(array if array.dtype == dtype else array.astype(dtype), device_name(like))


def in_dtype(arrays: Sequence[Array], dtype: str) -> Arrays:
    """Return read-only copies of arrays in another float dtype."""
    return [read_only(as_floats(a).astype(dtype)) for a in arrays]
