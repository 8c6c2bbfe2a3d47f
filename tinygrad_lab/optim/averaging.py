"""Weight averages over training steps, which often predict better than the last weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.errors import OptionError, StateError
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.optim.optimizer import private_copy
from tinygrad_lab.optim.updates import average_update


class WeightAverage:
    """Base class of weight averages. Call `update` after each step or epoch, and `weights` for the result.

    A model's ``load_state`` takes this result. Buffers are not averaged: `weights` returns the model's current buffers.

    Parameters
    ----------
    model : Layer
        The model whose parameters are averaged.
    """

    def __init__(self, model: Layer) -> None:
        self.model = model
        self.count = 0
        self._average: dict[str, Array] = {}

    def weight(self, count: int) -> float:
        """Return the weight of the newest parameters in the average after `count` earlier updates (at least 1)."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method weight(count), got none; define it")

    def update(self) -> None:
        """Add the current parameters to the average; the first call copies them."""
        for path, parameter in self.model.parameters().items():
            if self.count:
                average_update(self._average[path], parameter.value, weight=self.weight(self.count))
            else:
                self._average[path] = namespace(parameter.value).array(parameter.value, order="C")
        self.count += 1

    def weights(self) -> dict[str, Array]:
        """Return a state dict of the model with averaged parameters; before the first update, the model's state."""
        return self.model.state() | {path: namespace(a).array(a) for path, a in self._average.items()}

    def state(self) -> dict[str, Any]:
        """Return the state for resuming as a flat dict: the count, and copies of the averages by path."""
        return {"count": self.count} | {f"average/{path}": namespace(a).array(a) for path, a in self._average.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state`; on an error nothing is changed.

        Raises
        ------
        StateError
            A path is missing or unknown, or a shape differs.
        """
        parameters = self.model.parameters()
        count = int(state.get("count", 0))
        expected = {"count", *(f"average/{path}" for path in parameters if count)}
        if expected != state.keys():
            missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
            raise StateError(f"{self}: expected averages of the model's paths, missing {missing}, unknown {unknown}")
        arrays = {path: unbox(state[f"average/{path}"]) for path in parameters} if count else {}
        for path, array in arrays.items():
            if array.shape != parameters[path].shape:
                raise StateError(f"{self}: expected {path} of shape {parameters[path].shape}, got {array.shape}")
        self.count = count
        self._average = {path: private_copy(array, parameters[path]) for path, array in arrays.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.count} updates)"


class ExponentialMovingAverage(WeightAverage):
    r"""Exponential moving average of weights.

    .. math:: \bar p_1 = p_1, \qquad \bar p_t = d\, \bar p_{t-1} + (1 - d)\, p_t

    Parameters
    ----------
    model : Layer
        The model whose parameters are averaged.
    decay : float
        d; the average extends over about 1 / (1 - d) steps.

    Raises
    ------
    OptionError
        The decay is not from 0 to 1.

    References
    ----------
    B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992; here with exponential
    weights.

    Examples
    --------
    >>> model = tgl.Sequential()
    >>> model.p = tgl.Parameter(np.array([0.0]))
    >>> average = ExponentialMovingAverage(model, decay=0.75)
    >>> for value in (4.0, 8.0):
    ...     model.p.assign(np.array([value]))
    ...     average.update()
    >>> average.weights()
    {'p': array([5.])}
    """

    def __init__(self, model: Layer, *, decay: float = 0.999) -> None:
        if not 0 <= decay <= 1:
            raise OptionError(f"ExponentialMovingAverage: expected decay from 0 to 1, got {decay}")
        super().__init__(model)
        self.decay = float(decay)

    def weight(self, count: int) -> float:
        """Return 1 - decay."""
        return 1.0 - self.decay


class StochasticWeightAverage(WeightAverage):
    r"""Mean of all weights so far.

    .. math:: \bar p_t = \frac{1}{t} \sum_{i=1}^{t} p_i

    Parameters
    ----------
    model : Layer
        The model whose parameters are averaged.

    References
    ----------
    P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018, algorithm 1. The
    running statistics of batch normalization do not fit the averaged weights: to recompute them, run the model over
    training data in training mode.

    Examples
    --------
    >>> model = tgl.Sequential()
    >>> model.p = tgl.Parameter(np.array([0.0]))
    >>> average = StochasticWeightAverage(model)
    >>> for value in (4.0, 8.0):
    ...     model.p.assign(np.array([value]))
    ...     average.update()
    >>> average.weights()
    {'p': array([6.])}
    """

    def weight(self, count: int) -> float:
        """Return the newest weights' share of the mean."""
        return 1.0 / (count + 1)
