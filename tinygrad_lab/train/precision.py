"""Precision of training steps; the weights stay in float32.

========== ============================================= =========================================== ================
precision  arrays between layers                         factors of products                         where
========== ============================================= =========================================== ================
float32    float32                                       float32                                     everywhere
tf32       float32                                       rounded to 10 bits of significand           a GPU
bf16       float32                                       rounded to 7 bits                           a GPU
float16    float16 (float32 in layers with statistics)   float16, sums float32                       everywhere
========== ============================================= =========================================== ================

CuPy has no bfloat16 arrays, so bf16 speeds up products but does not reduce memory traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np

from tinygrad_lab import registry
from tinygrad_lab.arguments import check_state
from tinygrad_lab.backend import Array, fresh, is_finite, namespace
from tinygrad_lab.errors import NonFiniteError, OptionError, PluginError
from tinygrad_lab.kernels.cupy.options import using_gpu_options
from tinygrad_lab.nn.functional import with_variables
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.tensor import Tensor, tensor

PRECISIONS = ("float32", "tf32", "bf16", "float16")
LEAST_SCALE = 1.0  # the backward pass then has float16's own range
MOST_SKIPPED = 20  # updates in a row; if more are skipped at the smallest scale, the loss itself diverges
NEEDS_RANGE = ("batch_norm", "group_norm", "layer_norm", "local_response_norm", "log_softmax", "softmax")


class Arithmetic:
    """Arithmetic of steps that compute in the dtype of the weights.

    Parameters
    ----------
    products : str
        The format to which a GPU rounds the factors of products.
    """

    def __init__(self, products: str = "float32") -> None:
        self.products = products

    def on(self, device: str) -> AbstractContextManager[None]:
        """Return a ``with`` block for training on a device.

        Raises
        ------
        OptionError
            The device does not support the rounding.
        """
        if self.products == "float32":
            return nullcontext()
        if device == "cpu":
            raise OptionError(f"precision {self.products!r}: expected a GPU, got device 'cpu'; use 'float32'")
        return using_gpu_options(products=self.products)

    def forward(self, model: Layer, x: Array) -> Any:
        """Return a model's logits."""
        return model(tensor(x))

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of a loss."""
        loss.backward()

    def not_finite(self, optimizer: Optimizer) -> str | None:
        """Return the path of the first parameter whose gradient is not finite; this waits for the device."""
        for path, p in optimizer.parameters.items():
            if p.node is not None and p.node.grad is not None and not is_finite(p.node.grad):
                return path
        return None

    def guarding(self, optimizer: Optimizer) -> AbstractContextManager[None]:
        """Return a ``with`` block for the update of the parameters, entered when their gradients are computed."""
        return nullcontext()

    def memory(self) -> list[Array]:
        """Return the arrays that an update changes in place."""
        return []

    def check(self) -> None:
        """Check that updates still change parameters; called when the trainer waits for the device anyway.

        Raises
        ------
        NonFiniteError
            Many updates in a row were skipped.
        """

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a `state`.

        Raises
        ------
        StateError
            The state belongs to another precision.
        """
        check_state(type(self).__name__, state, dict.fromkeys(self.state(), float))


class HalfPrecision(Arithmetic):
    """Arithmetic of steps in float16, with float32 master weights and a scaled loss.

    Weights are rounded for each forward pass; their gradients are float32. Gradients too small for float16 would be
    lost. The loss is therefore multiplied by a scale before the backward pass, and the gradients are divided by it. If
    a gradient is not finite, the scale was too large: the update is undone, and the scale is halved, but not below 1.
    After `patience` good updates the scale is doubled. The device decides all of this, so the trainer does not wait.
    If the gradients are not finite at the smallest scale either, `check` raises when the metrics are read.

    Layers with buffers, such as batch normalization, and layers that sum many squares or powers compute in float32.

    Parameters
    ----------
    scale : float
        The first factor of the loss.
    patience : int
        The number of good updates after which the scale is doubled.

    References
    ----------
    P. Micikevicius et al., "Mixed precision training", ICLR 2018, sections 3.1 and 3.2. A skipped update counts as a
    step of the optimizer.
    """

    def __init__(self, *, scale: float = 2.0**15, patience: int = 2000) -> None:
        super().__init__()
        self.patience = patience
        self._first = {"scale": float(scale), "good": 0.0}
        self._scale: Any = None  # on the device, once that is known
        self._good: Any = None

    def forward(self, model: Layer, x: Array) -> Any:
        """Return a model's logits, as float32."""
        self._place(x)
        out = _half_twin(model)(tensor(x.astype("float16")))
        return tuple(_wide(o) for o in out) if isinstance(out, tuple) else _wide(out)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of the scaled loss."""
        with np.errstate(over="ignore", invalid="ignore"):  # a scale that is too large now and then is normal
            (loss * self._scale).backward()

    def not_finite(self, optimizer: Optimizer) -> str | None:
        """Return None: `guarding` skips updates whose gradients are not finite."""
        return None

    @contextmanager
    def guarding(self, optimizer: Optimizer) -> Iterator[None]:
        """Divide the gradients by the scale; undo the update if one of them is not finite."""
        walked = {path: p for path, p in optimizer.parameters.items() if p.node is not None and p.node.grad is not None}
        optimizer.prepare(walked)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = self._unscale(walked)
            before = {path: fresh(p.value) for path, p in walked.items()}
            memory = [array for path in walked for array in optimizer.memory[path].values()]
            kept = [fresh(array) for array in memory]
            yield
            for path, p in walked.items():
                _choose(finite, p.value, before[path])
            for array, old in zip(memory, kept, strict=True):
                _choose(finite, array, old)
            self._adapt(finite)

    def _unscale(self, walked: dict[str, Parameter]) -> Array:
        """Divide the gradients by the scale; return whether all of them are finite, as an array."""
        total: Any = 0.0
        for p in walked.values():
            if p.node is not None and p.node.grad is not None:
                p.node.grad = p.node.grad * (1.0 / self._scale)
                total = total + abs(p.node.grad).sum()
        return namespace(self._scale).isfinite(total + self._scale * 0.0)

    def _adapt(self, finite: Array) -> None:
        """Halve the scale after an update that was undone; double it after many that were not."""
        xp = namespace(self._scale)
        good = xp.maximum(self._good, 0.0) + 1.0
        enough = good >= self.patience
        grown = xp.where(enough, self._scale * 2.0, self._scale)
        self._scale[...] = xp.where(finite, grown, xp.maximum(self._scale * 0.5, LEAST_SCALE))
        skipped = xp.minimum(self._good, 0.0) - 1.0
        self._good[...] = xp.where(finite, xp.where(enough, xp.zeros_like(good), good), skipped)

    def memory(self) -> list[Array]:
        """Return the scale and the count of good updates."""
        return [self._scale, self._good]

    def check(self) -> None:
        """Raise a NonFiniteError if too many updates in a row were skipped at the smallest scale."""
        state = self.state()
        if state["scale"] <= LEAST_SCALE and state["good"] <= -MOST_SKIPPED:
            raise NonFiniteError(
                f"float16: expected finite gradients, got none in {-state['good']:.0f} updates, the last at a loss "
                f"scale of {state['scale']:g}; train with 'float32', or find their origin with detect_anomaly()"
            )

    def _place(self, like: Array) -> None:
        xp = namespace(like)
        if self._scale is None or namespace(self._scale) is not xp:
            first = self.state()
            self._scale, self._good = (xp.full((), first[name], xp.float32) for name in ("scale", "good"))

    def state(self) -> dict[str, Any]:
        """Return the scale and the number of good updates in a row (below 0: skipped); waits for the device."""
        if self._scale is None:
            return dict(self._first)
        return {"scale": float(self._scale), "good": float(self._good)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        super().load_state(state)
        if self._scale is not None:
            self._scale[...], self._good[...] = state["scale"], state["good"]
        self._first = dict(state)


def arithmetic_of(precision: str) -> Arithmetic:
    """Return the arithmetic of a precision.

    Raises
    ------
    OptionError
        The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"precision: expected one of {list(PRECISIONS)}, got {precision!r}")
    return HalfPrecision() if precision == "float16" else Arithmetic(precision)


class _Wide(Layer):
    """A layer in float32 among others in float16."""

    def __init__(self, inner: Layer) -> None:
        self.inner = inner

    def forward(self, *inputs: Any) -> Any:
        """Widen the inputs to float32 and round the result to float16."""
        return self.inner(*(_wide(x) for x in inputs)).astype("float16")


def _wide(x: Any) -> Any:
    return x.astype("float32") if x.dtype.kind == "f" else x


def _choose(new_is_good: Array, new: Array, old: Array) -> None:
    """Keep new values, or put the old ones back."""
    new[...] = namespace(new).where(new_is_good, new, old)


def _needs_range(layer: Layer) -> bool:
    """Return whether a layer must compute in float32."""
    with suppress(PluginError):
        return bool(layer.buffers()) or registry.layers.name_of(type(layer)) in NEEDS_RANGE
    return bool(layer.buffers())


def _half_twin(model: Layer) -> Layer:
    """Return the model with float32 master weights rounded to float16, except in layers that compute in float32."""
    wide = [layer for layer in model.layers().values() if not layer.children() and _needs_range(layer)]
    untouched = {id(v) for layer in wide for v in layer.variables().values()}
    rounded = {
        id(v): v.astype("float16") for v in model.variables().values() if id(v) not in untouched and v.dtype.kind == "f"
    }
    copies: dict[int, Layer] = {id(layer): _Wide(layer) for layer in wide}
    twin: Layer = with_variables(model, rounded, copies)
    return twin
