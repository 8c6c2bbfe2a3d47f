"""Signals in a network: each layer's output and its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array
from tinygrad_lab.inspect.trace import kind_of
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.tensor import Tensor, tensor


@dataclass(frozen=True)
class Signal:
    """Output of one layer, and the gradients that reached it.

    Parameters
    ----------
    path : str
        The layer's path in the network.
    kind : str
        The layer's registered name.
    output : array
        The layer's result.
    gradient : array or None
        The gradient of the loss with respect to the result; None if the loss does not depend on it.
    weight_gradients : dict of arrays
        The gradients with respect to the layer's own parameters, by name.
    """

    path: str
    kind: str
    output: Array
    gradient: Array | None
    weight_gradients: dict[str, Array]

    @property
    def output_rms(self) -> float:
        """The root of the mean square of the output."""
        return _rms(self.output)

    @property
    def gradient_rms(self) -> float:
        """The root of the mean square of the output's gradient; 0 if there is none."""
        return 0.0 if self.gradient is None else _rms(self.gradient)


def signals(model: Layer, x: Any, labels: Any, loss: Callable[[Any, Any], Any]) -> list[Signal]:
    """Return the signals of a network's layers for one batch, in the order in which the layers finish.

    Only layers without inner layers are listed. The model runs once, in its current mode, and is unchanged afterwards,
    except that its parameters lose their gradients.

    Parameters
    ----------
    model : Layer
        The network.
    x : array or Tensor
        A batch.
    labels : array
        The labels with which the loss compares the network's output.
    loss : callable
        ``loss(output, labels)``, a scalar.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_lab.losses import softmax_cross_entropy
    >>> from tinygrad_lab.registry import models
    >>> x, labels = np.ones((2, 32, 32, 3), "float32"), np.array([0, 1])
    >>> found = signals(models["gap7"](rng=0), x, labels, softmax_cross_entropy)
    >>> [(signal.path, signal.output.shape) for signal in found][-2:]
    [('mean', (2, 20)), ('output', (2, 2))]
    """
    state, steps = model.state(), model.steps
    outputs: list[tuple[str, Layer, Tensor]] = []
    gradients: dict[int, Array] = {}
    try:
        for parameter in model.parameters().values():
            parameter.assign(parameter.value)  # a new leaf: the gradient would be added to that of an old one
        with _noted(model, outputs):
            value = loss(model(tensor(x)), labels)
        for _, _, out in outputs:
            if out.requires_grad:
                _keep_gradient(out, gradients)
        value.backward()
        weights = {path: unbox(p.grad) for path, p in model.parameters().items() if p.grad is not None}
    finally:
        model.load_state(state)
        model.steps = steps
    return [
        Signal(path, kind_of(layer), unbox(out), gradients.get(id(out)), _below(weights, path))
        for path, layer, out in outputs
    ]


def _keep_gradient(out: Tensor, gradients: dict[int, Array]) -> None:
    """Store a tensor's gradient under its id when the backward pass reaches it."""

    def keep(g: Any) -> None:
        gradients[id(out)] = unbox(g)

    out.register_hook(keep)


@contextmanager
def _noted(model: Layer, outputs: list[tuple[str, Layer, Tensor]]) -> Iterator[None]:
    """Record the results of a model's innermost layers inside the ``with`` block."""
    inner = {id(layer): (path, layer) for path, layer in model.layers().items() if not layer.children()}

    def watch(path: str, layer: Layer) -> Callable[..., Any]:
        original = layer.forward

        def forward(*inputs: Any) -> Any:
            out = original(*inputs)
            outputs.append((path, layer, out))
            return out

        return forward

    for path, layer in inner.values():
        vars(layer)["forward"] = watch(path, layer)
    try:
        yield
    finally:
        for _, layer in inner.values():
            del vars(layer)["forward"]


def _below(arrays: dict[str, Array], path: str) -> dict[str, Array]:
    prefix = f"{path}." if path else ""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _rms(array: Array) -> float:
    return math.sqrt(float((array.astype("float64") ** 2).mean())) if array.size else 0.0
