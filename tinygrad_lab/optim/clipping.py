"""Gradient clipping, between the backward pass and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tinygrad_lab.autograd.tape import Node
from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn.variables import Parameter


def _with_gradient(parameters: Mapping[str, Parameter]) -> list[tuple[Node, Array]]:
    """Return the leaves that have a gradient, with their gradients."""
    return [(p.node, p.node.grad) for p in parameters.values() if p.node is not None and p.node.grad is not None]


def gradient_norm(parameters: Mapping[str, Parameter]) -> float:
    """Return the Euclidean norm of all gradients together, summed in float64; missing gradients count as 0.

    Examples
    --------
    >>> p = tgl.Parameter(np.array([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> gradient_norm({"p": p})
    10.0
    """
    total: Any = 0.0
    for _, g in _with_gradient(parameters):
        xp = namespace(g)
        total = total + xp.sum(xp.square(g, dtype=xp.float64))
    return math.sqrt(float(total))


def clip_by_norm(parameters: Mapping[str, Parameter], max_norm: float) -> float:
    r"""Scale all gradients by one factor so that their joint norm is at most `max_norm`.

    .. math:: g \leftarrow g \cdot \min\left(1, \frac{c}{\lVert g \rVert}\right)

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters whose gradients are clipped; those without a gradient are skipped.
    max_norm : float
        c.

    Returns
    -------
    float
        The norm before scaling. If it is not finite, nothing was scaled, because no factor would help.

    Raises
    ------
    OptionError
        `max_norm` is not positive.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1.

    Examples
    --------
    >>> p = tgl.Parameter(np.array([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> clip_by_norm({"p": p}, 1.0)
    10.0
    >>> print(p.grad.numpy())
    [0.6 0.8]
    """
    if not max_norm > 0:
        raise OptionError(f"clip_by_norm: expected max_norm above 0, got {max_norm}")
    norm = gradient_norm(parameters)
    if max_norm < norm < math.inf:
        for node, g in _with_gradient(parameters):
            node.grad = g * (float(max_norm) / norm)
    return norm


def clip_by_value(parameters: Mapping[str, Parameter], limit: float) -> None:
    """Clip every element of every gradient to the range from -limit to limit; NaN stays NaN.

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters whose gradients are clipped; those without a gradient are skipped.
    limit : float
        The bound.

    Raises
    ------
    OptionError
        The limit is not positive.

    References
    ----------
    T. Mikolov, "Statistical language models based on neural networks", 2012, section 3.2.2.

    Examples
    --------
    >>> p = tgl.Parameter(np.array([3.0, 0.25]))
    >>> (p * p).sum().backward()
    >>> clip_by_value({"p": p}, 1.0)
    >>> print(p.grad.numpy())
    [1.  0.5]
    """
    if not limit > 0:
        raise OptionError(f"clip_by_value: expected a limit above 0, got {limit}")
    for node, g in _with_gradient(parameters):
        node.grad = namespace(g).clip(g, -float(limit), float(limit))
