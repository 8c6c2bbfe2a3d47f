"""Graph capture of training steps: a step is recorded once, then launched as a whole.

At small batches a GPU waits for Python, which launches one kernel after another. A graph holds all kernels of a step
with their arguments, so one launch does the same work without waiting. A launch repeats exactly what was recorded, at
the same addresses. Everything that differs between steps must therefore be in device memory:

- The batch is copied into the arrays of the recorded batch.
- Parameters, statistics and the optimizer's arrays are updated in place. (Without a graph, an update
  never overwrites an array that you hold. With one it does: copy the values that you want to keep.)
- The step number is an array; each launch adds one and computes the keys of its random draws from it.
- The rates of the update (learning rate, bias corrections of Adam) are computed on the host, exactly as without a
  graph, for many steps ahead, and sent together; each launch takes the next row.

So a launch sends nothing to the GPU, except the rates of up to 64 steps when they are used up or turn out wrong.

A graph is valid for one shape of batch, the set of parameters that learn, the optimizer's options and the layers'
modes. The first step of each kind is taken as usual. The second is rehearsed, which compiles and loads every kernel,
then undone and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace, transfer
from tinygrad_lab.errors import CaptureError, LabError
from tinygrad_lab.kernels.cupy.graphs import MAKERS
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.randomness import KEY_PLACES, draw_base
from tinygrad_lab.nn.variables import Variable
from tinygrad_lab.ops.dropping import keys_in_step
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.train.metrics import HEADLINES, Score
from tinygrad_lab.train.precision import Arithmetic
from tinygrad_lab.train.sums import of_batch

Forward = Callable[[Any, Any], tuple[Any, Any]]

MOST_DRAWS = 1024  # random draws in a step
MOST_AHEAD = 64  # steps whose rates are sent together


def check_graphs(device: str) -> None:
    """Check that a device supports graphs.

    Raises
    ------
    CaptureError
        The device has no graphs.
    """
    if device not in MAKERS:
        raise CaptureError(
            f"capture: expected a device with graphs, {sorted(MAKERS)}, got {device!r}; train with capture=False"
        )


class CapturedSteps:
    """Takes training steps by launching graphs.

    Parameters
    ----------
    model : Layer
        The model to train, on a device with graphs.
    optimizer : Optimizer
        The optimizer of its parameters.
    forward : callable
        ``forward(x, labels)`` returns the loss and the logits as tensors on the tape.
    device : str
        The device.
    arithmetic : Arithmetic
        The precision of loss and update.
    coming : callable, optional
        ``coming(k)`` is the expected learning rate in k steps; by default the current one.
    headline : Score
        The score that each step sums beside the loss.

    Raises
    ------
    CaptureError
        The device has no graphs, or the optimizer's updates depend on a number that its `rates` do not name.
    """

    def __init__(
        self,
        model: Layer,
        optimizer: Optimizer,
        forward: Forward,
        device: str,
        arithmetic: Arithmetic,
        coming: Callable[[int], float] | None = None,
        headline: Score = HEADLINES["accuracy"],
    ) -> None:
        check_graphs(device)
        if not optimizer.by_rates:
            raise CaptureError(
                f"capture: expected an optimizer whose `rates` name every number that differs from step to step, got "
                f"{type(optimizer).__name__} without by_rates=True; train with capture=False"
            )
        self.model, self.optimizer, self.forward, self.device = model, optimizer, forward, device
        self.arithmetic, self.coming = arithmetic, coming or (lambda k: optimizer.lr)
        self.headline = headline
        self.graphs = MAKERS[device]()
        self.places, self.memory = Places(model), optimizer.memory
        self.layers = list(model.layers().values())
        self.seen: set[Any] = set()
        self.steps: dict[Any, _Step] = {}

    def session(self) -> AbstractContextManager[None]:
        """Return a ``with`` block for all work outside of the graphs."""
        return self.graphs.session()  # type: ignore[no-any-return]  # the device's own type

    def take(self, x: Array, labels: Array, usual: Callable[[], Array]) -> Array:
        """Take a step on a batch and return its contribution to the sums; `usual` takes a step without a graph."""
        kind = x.shape, x.dtype, labels.shape, labels.dtype, self._settings()
        if not self.places.hold() or self.optimizer.memory is not self.memory:  # arrays were replaced
            self.steps.clear()
            self.memory = self.optimizer.memory
        if kind not in self.seen:
            self.seen.add(kind)
            batch = usual()
            self.places.settle()
            return batch
        if kind not in self.steps:
            self.steps[kind] = self._recorded(x, labels)
        return self.steps[kind].launch(x, labels)

    def _settings(self) -> tuple[Any, ...]:
        """Return the settings that a program may change between steps, and that a graph fixes."""
        learning = tuple(p.node is not None for p in self.optimizer.parameters.values())
        options = tuple(tuple(own.values()) for own in self.optimizer.options.values())
        return learning, options, tuple((layer.training, layer.frozen) for layer in self.layers)

    def _recorded(self, x: Array, labels: Array) -> _Step:
        step = _Step(self, x, labels)
        ticks = self.model.steps
        try:
            self._rehearse(step)
            self.model.steps = ticks
            step.graph = self.graphs.record(step.work)
        except LabError as error:
            error.add_note("while the step was being captured; train with capture=False")
            raise
        except Exception as error:
            raise CaptureError(
                f"capture: expected to record a step, which must neither wait for the device nor move arrays to or "
                f"from it, got the error {type(error).__name__}: {error}; train with capture=False"
            ) from error
        finally:
            self.model.steps = ticks
            self.places.settle(moved=False)
        return step

    def _rehearse(self, step: _Step) -> None:
        """Do a step's work and undo its changes."""
        own = [array for arrays in self.memory.values() for array in arrays.values()]
        changed = [*self.places.arrays, *own, *self.arithmetic.memory(), step.draws.step, step.rates.row]
        before = [_copy(array) for array in changed]
        try:
            step.work()
        finally:
            for array, old in zip(changed, before, strict=True):
                array[...] = old
            self.places.settle(moved=False)


class Places:
    """Fixed arrays that hold the variables of a model while its steps are captured."""

    def __init__(self, model: Layer) -> None:
        self.variables: list[Variable] = list(model.variables().values())
        self.arrays: list[Array] = [_copy(v.value) for v in self.variables]
        self.settle(moved=False)

    def hold(self) -> bool:
        """Return whether all variables are in their arrays; if not, make new arrays of their values."""
        if all(v.value is a for v, a in zip(self.variables, self.arrays, strict=True)):
            return True
        both = zip(self.variables, self.arrays, strict=True)
        self.arrays = [array if v.value is array else _copy(v.value) for v, array in both]
        self.settle(moved=False)
        return False

    def settle(self, *, moved: bool = True) -> None:
        """Make the variables use their arrays again; with `moved`, first copy replaced values into the arrays."""
        for variable, array in zip(self.variables, self.arrays, strict=True):
            if variable.value is not array:
                if moved:
                    array[...] = variable.value
                variable.assign(array)
            elif variable.node is not None:
                variable.assign(array)  # a new leaf, without a gradient


class Draws:
    """Keys of a step's random draws. The device counts the steps and computes the keys from the step number.

    Parameters
    ----------
    xp : module
        The device's namespace.
    device : str
        The device's name.
    """

    def __init__(self, xp: Any, device: str) -> None:
        self.device = device
        self.names: list[tuple[str, int]] = []  # path and number of each draw, in the order of the step
        self.bases, self.step = xp.zeros(MOST_DRAWS, xp.uint64), xp.zeros(1, xp.uint64)
        self.one = xp.ones(1, xp.uint64)
        self.seed: int | None = None  # the seed of `bases`
        self.at = 0  # the step number on the device

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count a step, and give draws inside the ``with`` block their keys from the device."""
        self.names.clear()
        self.step += self.one
        keys = keys_in_step(self.bases, self.step)

        def place(path: str, number: int) -> Array:
            if len(self.names) == MOST_DRAWS:
                raise CaptureError(
                    f"capture: expected at most {MOST_DRAWS} random draws in a step, got more; train with capture=False"
                )
            self.names.append((path, number))
            return keys[len(self.names) - 1]

        token = KEY_PLACES.set(place)
        try:
            yield
        finally:
            KEY_PLACES.reset(token)

    def expect(self, seed: int, step: int) -> None:
        """Prepare the next launch for a step number and a seed."""
        if self.seed != seed and self.names:
            bases = np.array([draw_base(seed, path, number) for path, number in self.names], np.uint64)
            self.bases[: len(bases)] = transfer(bases, self.device)
        if self.at != step - 1:
            self.step[...] = step - 1
        self.seed, self.at = seed, step


class Rates:
    """Rates of the coming updates; each launch takes the next row.

    Parameters
    ----------
    xp : module
        The device's namespace.
    device : str
        The device's name.
    shape : (int, int)
        The number of parameters, and of rates per parameter.
    dtype : dtype
        The dtype of the parameters.
    """

    def __init__(self, xp: Any, device: str, shape: tuple[int, int], dtype: Any) -> None:
        self.device = device
        self.table, self.row = xp.zeros((MOST_AHEAD, *shape), dtype), xp.zeros(1, xp.int64)
        self.now = xp.zeros((1, *shape), dtype)
        self.known = np.zeros((0, *shape), dtype)  # the rows on the device
        self.used = 0

    def advance(self) -> None:
        """Advance to the next row."""
        self.now[...] = self.table.take(self.row, axis=0)
        self.row += 1

    def expect(self, rates: Array, coming: Callable[[int], Array]) -> None:
        """Prepare the next launch for these rates; ``coming(k)`` predicts the rates in k steps.

        If the next row on the device is missing or wrong, new rows are sent: twice as many as launches have used of
        the last ones, but at least 1 and at most `MOST_AHEAD`.
        """
        sent = len(self.known)
        if self.used == sent or not np.array_equal(self.known[self.used], rates):
            ahead = min(max(1, 2 * self.used), MOST_AHEAD)
            rows = [rates, *map(coming, range(1, ahead))]
            self.known = np.array(rows, self.known.dtype)
            self.table[:ahead] = transfer(self.known, self.device)
            self.row[...] = self.used = 0
        self.used += 1


class _Step:
    """One recorded step: its graph, and the arrays that differ between launches."""

    graph: Any

    def __init__(self, owner: CapturedSteps, x: Array, labels: Array) -> None:
        self.owner = owner
        self.x, self.labels = _copy(x), _copy(labels)
        xp, parameters = namespace(x), owner.optimizer.parameters
        self.draws = Draws(xp, owner.device)
        self.learning = [path for path, p in parameters.items() if p.node is not None]
        self.names = list(owner.optimizer.rates_of(self.learning[0], step=1)) if self.learning else []
        width = parameters[self.learning[0]].dtype if self.learning else xp.float32
        self.rates = Rates(xp, owner.device, (len(self.learning), len(self.names)), width)
        self.batch: Any = None

    def work(self) -> None:
        """Do a step's work for the recording: forward pass, backward pass and update, all in place."""
        optimizer = self.owner.optimizer
        with self.draws.inside():
            loss, logits = self.owner.forward(self.x, self.labels)
            self.owner.arithmetic.backward(loss)  # gradient checkpointing draws again here
        self.batch = of_batch(unbox(loss), logits, self.labels, self.owner.headline)
        self.rates.advance()
        with self.owner.arithmetic.guarding(optimizer):
            self._update()
        for variable, array in zip(self.owner.places.variables, self.owner.places.arrays, strict=True):
            if variable.value is not array:  # a statistic that the forward pass replaced
                array[...] = variable.value

    def _update(self) -> None:
        optimizer = self.owner.optimizer
        for number, path in enumerate(self.learning):
            parameter = optimizer.parameters[path]
            if parameter.node is None or parameter.node.grad is None:
                raise CaptureError(
                    f"capture: expected a gradient of {path}, got none; freeze it if the loss does not depend on it"
                )
            rates = {name: self.rates.now[0, number, i] for i, name in enumerate(self.names)}
            new = optimizer.applied(path, parameter.node.grad, rates)
            if new is not parameter.value:
                parameter.value[...] = new

    def launch(self, x: Array, labels: Array) -> Array:
        """Copy the batch, update counters and rates, launch the graph, and return the contribution to the sums."""
        model, optimizer = self.owner.model, self.owner.optimizer
        self.x[...], self.labels[...] = x, labels
        model.steps += 1
        self.draws.expect(model.seed, model.steps)
        if self.learning:
            self.rates.expect(self._as_array([optimizer.counted(path) for path in self.learning]), self._coming)
        self.owner.graphs.launch(self.graph)
        return self.batch

    def _coming(self, k: int) -> Array:
        """Return the rates of the update k steps from now."""
        optimizer = self.owner.optimizer
        lr, optimizer.lr = optimizer.lr, self.owner.coming(k)
        try:
            steps = [(path, optimizer.updates(path) + k) for path in self.learning]
            return self._as_array([optimizer.rates_of(path, step=step) for path, step in steps])
        finally:
            optimizer.lr = lr

    def _as_array(self, rates: list[dict[str, float]]) -> Array:
        """Return the rates of all parameters in the parameters' dtype: (parameters, rates)."""
        return np.array([[each[name] for name in self.names] for each in rates]).astype(self.rates.known.dtype)


def _copy(array: Array) -> Array:
    return namespace(array).array(array)
