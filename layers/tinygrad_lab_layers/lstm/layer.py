r"""Long short-term memory.

.. math:: c_t = f_t\, c_{t-1} + i_t\, g_t, \qquad h_t = o_t \tanh c_t
"""

from __future__ import annotations

import functools
import math
from typing import Any

import tinygrad_lab as tgl


@functools.cache
def unstack(steps: int) -> tgl.Primitive:
    """Return the primitive that splits (N, T, F) into T arrays (N, F).

    Its derivative joins the T gradients once. Indexing step by step would create T gradients of the whole size.
    """

    def take_apart(xp: Any, x: Any) -> Any:
        return tuple(x[:, t] for t in range(steps))

    op: tgl.Primitive = tgl.primitive(outputs=[f"step_{t}" for t in range(steps)])(take_apart)
    op.defvjp(x=lambda g: tgl.stack(g, axis=1))
    return op


class LSTM(tgl.Layer):
    r"""Recurrent layer with a memory c. Gates write (i), keep (f) and read (o) the memory; the layer returns all h_t.

    .. math::
        [i_t, f_t, o_t] &= \sigma(x_t W_{ifo} + h_{t-1} U_{ifo} + b_{ifo}), \qquad
        g_t = \tanh(x_t W_g + h_{t-1} U_g + b_g) \\
        c_t &= f_t\, c_{t-1} + i_t\, g_t, \qquad h_t = o_t \tanh c_t, \qquad h_0 = c_0 = 0

    Parameters
    ----------
    in_features, features : int
        D and H, the lengths of x_t and of h_t.
    forget_bias : float
        The initial value of b_f; a positive value keeps the memory until the gate has learned to forget.
    init : str or float
        The initializer of each gate's weights, or their standard deviation. The other biases start at 0.
    rng : int or numpy.random.Generator
        Seed or generator for the weights.

    Shapes
    ------
    x : (N, T, D); y : (N, T, H); W (input_weight) : (D, 4H); U (state_weight) : (H, 4H); b (bias) : (4H,).
    The columns are those of i, f, g and o, in this order.

    Raises
    ------
    ShapeError
        x is not (N, T, D), or T is 0.
    OptionError
        A number of features is below 1.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, section 4; the forget gate:
    F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget: continual prediction with LSTM", Neural Computation
    12(10), 2000, section 3. Two deviations are common today: the squashing functions are tanh, and the gradient is
    not truncated at the gates.

    Examples
    --------
    >>> import numpy as np
    >>> LSTM(3, 5, rng=0)(np.zeros((2, 7, 3), "float32")).shape
    (2, 7, 5)
    """

    integers = False

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        forget_bias: float = 1.0,
        init: str | float = "glorot_uniform",
        rng: Any = None,
    ) -> None:
        if in_features < 1 or features < 1:
            raise tgl.errors.OptionError(
                f"LSTM: expected in_features and features >= 1, got {in_features} and {features}"
            )
        self.in_features, self.features = in_features, features
        rng = tgl.initializers.as_rng(rng)
        self.input_weight = self._draw(init, in_features, rng)
        self.state_weight = self._draw(init, features, rng)
        zeros, forget = (tgl.initializers.constant((features,), value) for value in (0.0, forget_bias))
        self.bias = tgl.Parameter(tgl.concatenate([zeros, forget, zeros, zeros]))

    def _draw(self, init: str | float, before: int, rng: Any) -> tgl.Parameter:
        """Return the weights of the four gates side by side, each drawn separately."""
        gates = [tgl.initializers.draw(init, (before, self.features), rng=rng) for _ in "ifgo"]
        return tgl.Parameter(tgl.concatenate(gates, axis=1))

    def forward(self, x: Any) -> Any:
        """Return h_1 ... h_T."""
        _, steps, _ = self.output_shape(x.shape)
        driven = tgl.matmul(x, self.input_weight) + self.bias  # (N, T, D) -> (N, T, 4H)
        states: list[Any] = []
        memory = None
        for z in unstack(steps)(driven):
            if states:
                z = z + tgl.matmul(states[-1], self.state_weight)
            write, keep, new, read = tgl.split(z, 4, axis=1)  # (N, 4H) -> 4 times (N, H)
            written = tgl.sigmoid(write) * tgl.tanh(new)
            memory = written if memory is None else tgl.sigmoid(keep) * memory + written
            states.append(tgl.sigmoid(read) * tgl.tanh(memory))
        return tgl.stack(states, axis=1)  # T times (N, H) -> (N, T, H)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, T, H)."""
        if len(shape) != 3 or shape[2] != self.in_features or shape[1] == 0:
            raise tgl.errors.ShapeError(
                f"{self}: expected sequences (N, T, {self.in_features}) of at least one step, got x.shape == {shape}"
            )
        return (*shape[:2], self.features)

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return 4 H (D + H) for each step of each sequence."""
        return math.prod(self.output_shape(shape)) * 4 * (self.in_features + self.features)
