"""Training steps as graphs: a step is recorded once, and from then on launched as a whole.

At small batches a GPU waits for Python, which asks it for one kernel after the other. A graph holds all kernels of a
step with all their arguments, so that one launch does the same work without waiting for anybody. But a launch repeats
exactly what was recorded, at the same places in memory, and so what differs from step to step must lie in memory:

- the batch is copied to where it lay when the step was recorded;
- parameters, statistics and the optimizer's arrays are changed where they lie, against the rule elsewhere that they get
  fresh arrays: whoever wants to keep a value of a captured training must copy it;
- the number of the step lies there too; each launch adds one, and works out the keys of its random draws from it;
- the rates of the update (learning rate, and what frees Adam's means of their bias) are worked out on the host, exactly
  as without a graph, for many steps to come, and sent there together; each launch takes the next ones.

So a launch sends nothing to the GPU, but for the rates of up to 64 steps once they are used up or turn out otherwise.

A graph holds for one shape of batch, for the parameters that learned when it was recorded, and for the optimizer's
options and the modes of the layers then. The first step of each kind is taken as usual; the second is rehearsed, so
that every kernel is compiled and loaded before, undone, and recorded.
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
from tinygrad_lab.train.precision import Arithmetic
from tinygrad_lab.train.sums import of_batch

Forward = Callable[[Any, Any], tuple[Any, Any]]

MOST_DRAWS = 1024  # random draws in a step
MOST_AHEAD = 64  # steps whose rates are sent together


def check_graphs(device: str) -> None:
    """Refuse a device that captures no steps.

    Raises
    ------
    CaptureError
        It has no graphs.
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
        What is trained, on a device that has graphs.
    optimizer : Optimizer
        Of its parameters.
    forward : callable
        ``forward(x, labels)``: the loss and the logits, boxed.
    device : str
        Where all that is.
    arithmetic : Arithmetic
        How loss and update are computed.
    coming : callable, optional
        ``coming(k)`` is the learning rate in k steps, as far as is known; by default the present one.

    Raises
    ------
    CaptureError
        The device has no graphs, or the optimizer's updates depend on more than the rates that it names.
    """

    def __init__(
        self,
        model: Layer,
        optimizer: Optimizer,
        forward: Forward,
        device: str,
        arithmetic: Arithmetic,
        coming: Callable[[int], float] | None = None,
    ) -> None:
        check_graphs(device)
        if not optimizer.by_rates:
            raise CaptureError(
                f"capture: expected an optimizer whose `rates` name all that differs from step to step, got "
                f"{type(optimizer).__name__}, which does not say so (by_rates); train with capture=False"
            )
        self.model, self.optimizer, self.forward, self.device = model, optimizer, forward, device
        self.arithmetic, self.coming = arithmetic, coming or (lambda k: optimizer.lr)
        self.graphs = MAKERS[device]()
        self.places, self.memory = Places(model), optimizer.memory
        self.layers = list(model.layers().values())
        self.seen: set[Any] = set()
        self.steps: dict[Any, _Step] = {}

    def session(self) -> AbstractContextManager[None]:
        """Return a ``with`` block for all work beside the graphs."""
        return self.graphs.session()  # type: ignore[no-any-return]  # of the device's own making

    def take(self, x: Array, labels: Array, usual: Callable[[], Array]) -> Array:
        """Take a step on a batch and return what it adds to the sums; `usual` takes one without a graph."""
        kind = x.shape, x.dtype, labels.shape, labels.dtype, self._settings()
        if not self.places.hold() or self.optimizer.memory is not self.memory:  # somebody gave them other arrays
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
        """Return what a program may change between steps and a graph holds fast."""
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
                f"capture: expected a step that waits for nothing and moves nothing, got {type(error).__name__}: "
                f"{error}; train with capture=False"
            ) from error
        finally:
            self.model.steps = ticks
            self.places.settle(moved=False)
        return step

    def _rehearse(self, step: _Step) -> None:
        """Do a step's work and undo what it changed."""
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
    """Where the variables of a model lie while its steps are captured."""

    def __init__(self, model: Layer) -> None:
        self.variables: list[Variable] = list(model.variables().values())
        self.arrays: list[Array] = [_copy(v.value) for v in self.variables]
        self.settle(moved=False)

    def hold(self) -> bool:
        """Tell whether all variables are where they were; if not, note where they are now."""
        if all(v.value is a for v, a in zip(self.variables, self.arrays, strict=True)):
            return True
        both = zip(self.variables, self.arrays, strict=True)
        self.arrays = [array if v.value is array else _copy(v.value) for v, array in both]
        self.settle(moved=False)
        return False

    def settle(self, *, moved: bool = True) -> None:
        """Bring the variables' values to their places, if they moved, and let the variables be there."""
        for variable, array in zip(self.variables, self.arrays, strict=True):
            if variable.value is not array:
                if moved:
                    array[...] = variable.value
                variable.assign(array)
            elif variable.node is not None:
                variable.assign(array)  # a new leaf, without a gradient


class Draws:
    """The keys of a step's random draws, worked out on the device from the number of the step, which it counts.

    Parameters
    ----------
    xp : module
        The device's namespace.
    device : str
        Its name.
    """

    def __init__(self, xp: Any, device: str) -> None:
        self.device = device
        self.names: list[tuple[str, int]] = []  # path and number of each draw, in the order of the step
        self.bases, self.step = xp.zeros(MOST_DRAWS, xp.uint64), xp.zeros(1, xp.uint64)
        self.one = xp.ones(1, xp.uint64)
        self.seed: int | None = None  # that the bases there are of
        self.at = 0  # what the device has counted to

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Go on by a step, and let draws inside the ``with`` block have their keys from the device."""
        self.names.clear()
        self.step += self.one
        keys = keys_in_step(self.bases, self.step)

        def place(path: str, number: int) -> Array:
            if len(self.names) == MOST_DRAWS:
                raise CaptureError(f"capture: expected at most {MOST_DRAWS} random draws in a step, got more")
            self.names.append((path, number))
            return keys[len(self.names) - 1]

        token = KEY_PLACES.set(place)
        try:
            yield
        finally:
            KEY_PLACES.reset(token)

    def expect(self, seed: int, step: int) -> None:
        """See to it that the next launch counts to a step of a seed."""
        if self.seed != seed and self.names:
            bases = np.array([draw_base(seed, path, number) for path, number in self.names], np.uint64)
            self.bases[: len(bases)] = transfer(bases, self.device)
        if self.at != step - 1:
            self.step[...] = step - 1
        self.seed, self.at = seed, step


class Rates:
    """The rates of the coming updates, of which each launch takes the next ones.

    Parameters
    ----------
    xp : module
        The device's namespace.
    device : str
        Its name.
    shape : (int, int)
        The numbers of parameters and of rates of each.
    dtype : dtype
        Of the parameters.
    """

    def __init__(self, xp: Any, device: str, shape: tuple[int, int], dtype: Any) -> None:
        self.device = device
        self.table, self.row = xp.zeros((MOST_AHEAD, *shape), dtype), xp.zeros(1, xp.int64)
        self.now = xp.zeros((1, *shape), dtype)
        self.known = np.zeros((0, *shape), dtype)  # the rows that were sent
        self.used = 0

    def advance(self) -> None:
        """Take the next row."""
        self.now[...] = self.table.take(self.row, axis=0)
        self.row += 1

    def expect(self, rates: Array, coming: Callable[[int], Array]) -> None:
        """See to it that the next launch takes these rates; ``coming(k)`` tells those in k steps.

        As many rows are sent as proved right before, and once more that many.
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
    """One recorded step: its graph, and the places of what differs from launch to launch."""

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
        """Do what a step does, for the recording: the forward, the walk back, the updates, all into their places."""
        optimizer = self.owner.optimizer
        with self.draws.inside():
            loss, logits = self.owner.forward(self.x, self.labels)
            self.owner.arithmetic.backward(loss)  # where a checkpoint draws again
        self.batch = of_batch(unbox(loss), logits, self.labels)
        self.rates.advance()
        with self.owner.arithmetic.guarding(optimizer):
            self._update()
        for variable, array in zip(self.owner.places.variables, self.owner.places.arrays, strict=True):
            if variable.value is not array:  # a statistic that the forward gave another array
                array[...] = variable.value

    def _update(self) -> None:
        optimizer = self.owner.optimizer
        for number, path in enumerate(self.learning):
            parameter = optimizer.parameters[path]
            if parameter.node is None or parameter.node.grad is None:
                raise CaptureError(f"capture: expected a gradient of {path}, got none; freeze what no loss depends on")
            rates = {name: self.rates.now[0, number, i] for i, name in enumerate(self.names)}
            new = optimizer.applied(path, parameter.node.grad, rates)
            if new is not parameter.value:
                parameter.value[...] = new

    def launch(self, x: Array, labels: Array) -> Array:
        """Bring what differs to its place and launch the graph; return what the batch adds to the sums."""
        model, optimizer = self.owner.model, self.owner.optimizer
        self.x[...], self.labels[...] = x, labels
        model.steps += 1
        self.draws.expect(model.seed, model.steps)
        if self.learning:
            self.rates.expect(self._as_array([optimizer.counted(path) for path in self.learning]), self._coming)
        self.owner.graphs.launch(self.graph)
        return self.batch

    def _coming(self, k: int) -> Array:
        """Return the rates of the update that comes k steps after the present one."""
        optimizer = self.owner.optimizer
        lr, optimizer.lr = optimizer.lr, self.owner.coming(k)
        try:
            steps = [(path, optimizer.updates(path) + k) for path in self.learning]
            return self._as_array([optimizer.rates_of(path, step=step) for path, step in steps])
        finally:
            optimizer.lr = lr

    def _as_array(self, rates: list[dict[str, float]]) -> Array:
        """Return the rates of all parameters in the parameters' width: (parameters, rates)."""
        return np.array([[each[name] for name in self.names] for each in rates]).astype(self.rates.known.dtype)


def _copy(array: Array) -> Array:
    return namespace(array).array(array)
