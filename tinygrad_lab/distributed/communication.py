r"""Exchange of arrays between ranks as primitives, in adjoint pairs.

The ranks compute the sum of their losses, :math:`L = \sum_r L_r`. An exchange is a linear map of the arrays of all
ranks together, so its derivative is the adjoint map, which is an exchange too:

================  ==============================================  ====================
exchange          result on rank r                                adjoint
================  ==============================================  ====================
`all_sum`         the sum over all ranks                          `all_sum`
`broadcast`       the root's array                                `sum_at`
`sum_at`          on the root the sum over all ranks, 0 elsewhere `broadcast`
`all_gather`      the arrays of all ranks, stacked                `reduce_scatter`
`reduce_scatter`  entry r of the sum over all ranks               `all_gather`
`send`            an empty receipt                                `receive`
`receive`         the array that another rank sends               `send`
================  ==============================================  ====================

All ranks must call the same exchanges in the same order, in the backward pass too: each rank calls ``backward`` on its
own loss. A loss that all ranks compute alike counts once for each rank; divide it by their number.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.autograd.forward import linear
from tinygrad_lab.autograd.primitive import primitive
from tinygrad_lab.backend import device_name, transfer
from tinygrad_lab.distributed.group import Group, init
from tinygrad_lab.ops.shaping import broadcast_to


def _group(group: Group | None) -> Group:
    return init() if group is None else group


def _beside(x: Any, found: Any) -> Any:
    return transfer(found, device_name(x))


@primitive
def all_sum(xp: Any, x: Any, *, group: Group | None = None) -> Any:
    """Return the sum of the arrays of all ranks, on every rank; the order of additions is fixed.

    Shapes
    ------
    x : any, the same on all ranks; result : same shape as x
    """
    return _beside(x, _group(group).all_sum(x))


@primitive
def broadcast(xp: Any, x: Any, *, root: int = 0, group: Group | None = None) -> Any:
    """Return the array of rank `root`, on every rank; the arrays of the others give only its shape.

    Shapes
    ------
    x : any, the same on all ranks; result : same shape as x
    """
    return _beside(x, _group(group).broadcast(x, root))


@primitive
def sum_at(xp: Any, x: Any, *, root: int = 0, group: Group | None = None) -> Any:
    """Return the sum of the arrays of all ranks on rank `root`, and zeros on the others.

    Shapes
    ------
    x : any, the same on all ranks; result : same shape as x
    """
    group = _group(group)
    total = group.all_sum(x)
    return _beside(x, total) if group.rank == root else xp.zeros_like(x)


@primitive
def all_gather(xp: Any, x: Any, *, group: Group | None = None) -> Any:
    """Return the arrays of all ranks, stacked by rank, on every rank.

    Shapes
    ------
    x : (...), the same on all ranks; result : (size, ...)
    """
    return _beside(x, _group(group).all_gather(x))


@primitive
def reduce_scatter(xp: Any, x: Any, *, group: Group | None = None) -> Any:
    """Return this rank's entry of the sum of the arrays of all ranks.

    Shapes
    ------
    x : (size, ...), the same on all ranks; result : (...)
    """
    return _beside(x, _group(group).reduce_scatter(x))


@primitive
def send(xp: Any, x: Any, *, to: int, group: Group | None = None) -> Any:
    """Send an array to a rank that calls `receive`, and return a receipt.

    The receipt is a zero without content. Add it to the loss of this rank, so that its backward pass waits for the
    gradient that the other rank returns.

    Shapes
    ------
    x : any; receipt : ()
    """
    _group(group).send(x, to)
    return xp.zeros((), x.dtype)


@primitive
def receive(xp: Any, like: Any, *, source: int, group: Group | None = None) -> Any:
    """Return the array that another rank sends; it has the shape and dtype of `like`, whose values are not used.

    The backward pass returns the gradient to the sender if `like` requires a gradient, which is 0.

    Shapes
    ------
    like : any; result : same shape as like
    """
    return _beside(like, _group(group).receive(like, source))


def _receive_rule(g: Any, source: int, group: Group | None) -> Any:
    return broadcast_to(send(g, to=source, group=group), shape=g.shape)


def _send_rule(g: Any, x_like: Any, to: int, group: Group | None) -> Any:
    return receive(broadcast_to(g, shape=x_like.shape), source=to, group=group)


all_sum.defvjp(x=lambda g, group: all_sum(g, group=group))
broadcast.defvjp(x=lambda g, root, group: sum_at(g, root=root, group=group))
sum_at.defvjp(x=lambda g, root, group: broadcast(g, root=root, group=group))
all_gather.defvjp(x=lambda g, group: reduce_scatter(g, group=group))
reduce_scatter.defvjp(x=lambda g, group: all_gather(g, group=group))
send.defvjp(x=_send_rule)
receive.defvjp(like=_receive_rule)

linear(all_sum, broadcast, sum_at, all_gather, reduce_scatter, send, receive)
