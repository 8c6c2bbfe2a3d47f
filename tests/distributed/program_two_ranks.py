"""What a job of two ranks finds: exchanges, their derivatives by the kit, and trainings."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.distributed.ranks import write
from tests.distributed.trainings import bits, lenet, train_all, trainer
from tinygrad_lab import distributed
from tinygrad_lab.conformance import check_function
from tinygrad_lab.distributed import expect_alike, init
from tinygrad_lab.errors import DistributedError

settings.register_profile("ranks", derandomize=True, deadline=None, database=None)
settings.load_profile("ranks")
world = init()


@tgl.primitive
def own(xp: Any, whole: Any) -> Any:
    """Return this rank's column of an array that all ranks have."""
    return whole[..., world.rank]


@tgl.primitive
def whole(xp: Any, own: Any) -> Any:
    """Return the columns of all ranks: the inverse of `own`."""
    return xp.moveaxis(world.all_gather(own), 0, -1)


own.defvjp(whole=lambda g: whole(g))
whole.defvjp(own=lambda g: own(g))


def exchanged(exchange: Any) -> Any:
    """Return the exchange as a function that all ranks evaluate alike, from columns of all ranks to results of all."""
    return lambda columns: whole(exchange(own(columns)))


def swap(x: Any) -> Any:
    """Return what the other rank sends, by `send` and `receive`."""
    if world.rank == 0:
        receipt = distributed.send(x, to=1)
        return distributed.receive(x * 1.0, source=1) + receipt
    found = distributed.receive(x * 1.0, source=0)
    return found + distributed.send(x, to=0)


EXCHANGES: dict[str, Any] = {
    "all_sum": distributed.all_sum,
    "broadcast": lambda x: distributed.broadcast(x, root=1),
    "sum_at": lambda x: distributed.sum_at(x, root=1),
    "all_gather": distributed.all_gather,
    "reduce_scatter": lambda x: distributed.reduce_scatter(tgl.stack([x, x * 2.0])),
    "send and receive": swap,
}
def differing() -> str:
    """Return the message of ranks whose facts differ."""
    try:
        expect_alike(world, {"recipe": "lenet5", "version of NumPy": f"2.{world.rank}"})
    except DistributedError as error:
        return str(error)
    return ""


x = np.arange(6.0).reshape(2, 3) * (1 + world.rank)
values = {name: np.asarray(exchange(x)).tolist() for name, exchange in EXCHANGES.items()}
for exchange in EXCHANGES.values() if "kit" in sys.argv else ():
    check_function(exchanged(exchange), st.just((2, 2)), examples=1, complex_safe=True)
before = world.sent
world.all_sum(np.zeros(1000, np.float32))
sent = world.sent - before
fast = trainer(lenet(), world, blocks=2, fast_sums=True)
fast.train(1)
write(
    sys.argv[1],
    world.rank,
    {
        "values": values,
        "sent": sent,
        "differing": differing(),
        "any": [world.any(world.rank == 1), world.any(False)],
        "large": float(np.abs(world.all_sum(np.arange(600_000.0)) - 2 * np.arange(600_000.0)).max()),
        "trainings": train_all(world),
        "fast": [bits(fast), fast.history[-1]["loss"]],
    },
)
