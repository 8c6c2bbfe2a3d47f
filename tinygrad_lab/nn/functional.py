"""Layers with replaced parts: a call with other parameters, and a temporary replacement of `output_shape`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MethodType
from typing import Any

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.autograd.trees import map_tree
from tinygrad_lab.backend import Shape
from tinygrad_lab.errors import StateError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Buffer, Variable
from tinygrad_lab.tensor import Tensor


def functional_call(layer: Layer, parameters: Mapping[str, Any], *inputs: Any) -> Any:
    """Return layer(inputs...) computed with other parameters (or buffers); the layer's own stay unchanged.

    Parameters
    ----------
    layer : Layer
        The layer to call.
    parameters : mapping of path to Tensor or array
        Values by path, as `Layer.parameters` returns them; parameters left out keep their values.
    *inputs : Tensors
        The layer's inputs.

    Raises
    ------
    StateError
        A path is unknown, or a shape differs.

    Notes
    -----
    The gradient of a loss with respect to all parameters is one line:
    ``tgl.grad(lambda p: loss(tgl.functional_call(model, p, x), y))(model.state())``.
    """
    own = layer.variables()
    if unknown := sorted(parameters.keys() - own.keys()):
        raise StateError(f"functional_call: expected paths of {type(layer).__name__}, got {unknown}")
    for path, value in parameters.items():
        if unbox(value).shape != own[path].shape:
            raise StateError(f"functional_call: expected {path} of shape {own[path].shape}, got {unbox(value).shape}")
    replaced = {id(own[path]): _as_buffer(v) if isinstance(own[path], Buffer) else v for path, v in parameters.items()}
    return with_variables(layer, replaced, {})(*inputs)


def _as_buffer(value: Any) -> Buffer:
    """Return a new buffer with a value, on the tape if the value is. It receives the updates of the call."""
    cell = Buffer(value)
    cell.node = value.node if isinstance(value, Tensor) else None
    return cell


def with_variables(value: Any, replaced: dict[int, Any], copies: dict[int, Layer]) -> Any:
    """Return a value with the variables inside it replaced. Layers are copied, shared ones once."""
    if isinstance(value, Variable):
        return replaced.get(id(value), value)
    if isinstance(value, (dict, list, tuple)):
        return map_tree(lambda leaf: with_variables(leaf, replaced, copies), value)
    if isinstance(value, MethodType):  # possibly of a layer
        return MethodType(value.__func__, with_variables(value.__self__, replaced, copies))
    if not isinstance(value, Layer):
        return value
    if id(value) not in copies:
        copies[id(value)] = twin = copy.copy(value)
        for name, attribute in vars(value).items():
            if name not in ("_arguments", "_clock"):
                twin.__dict__[name] = with_variables(attribute, replaced, copies)
    return copies[id(value)]


@contextmanager
def replaced_output_shapes(model: Layer, replace: Callable[[Layer], Callable[..., Any]]) -> Iterator[None]:
    """Replace `output_shape` of every layer of a model by ``replace(layer)`` inside the ``with`` block."""
    layers = list({id(layer): layer for layer in model.layers().values()}.values())
    for layer in layers:
        vars(layer)["output_shape"] = replace(layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["output_shape"]


def watched_output_shapes(model: Layer, note: Callable[..., None]) -> AbstractContextManager[None]:
    """Call ``note(layer, shapes, result)`` after every call of a layer's `output_shape` inside the ``with`` block."""

    def watch(layer: Layer) -> Callable[..., Any]:
        original = layer.output_shape

        def output_shape(*shapes: Shape) -> Any:
            result = original(*shapes)
            note(layer, shapes, result)
            return result

        return output_shape

    return replaced_output_shapes(model, watch)
