"""What a job of two ranks finds: exchanges, their derivatives by the kit, and trainings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import tinygrad_lab as tgl
from tests.distributed.ranks import write
from tests.distributed.trainings import bits, lenet, residual, small_alexnet, train_all, trainer
from tinygrad_lab import distributed
from tinygrad_lab.conformance import check_function
from tinygrad_lab.distributed import expect_alike, init
from tinygrad_lab.errors import DistributedError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.train.checkpoint import save
from tinygrad_lab.zoo.divided import Exchange, divided

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


def halves() -> dict[str, Any]:
    """Return how much a network on two ranks differs from the same one on one rank, and the bytes that are sent."""
    x, labels = np.random.default_rng(0).standard_normal((6, 19, 19, 3)), np.arange(6) % 4
    whole, part = small_alexnet(), divided(small_alexnet(), world)
    optimizers = [SGD(network.parameters(), lr=0.1, momentum=0.9) for network in (whole, part)]
    before, found = world.sent, {}
    for step in range(2):
        logits = [network(tgl.tensor(x)) for network in (whole, part)]
        for one in logits:
            softmax_cross_entropy(one, labels).backward()
        found[f"logits {step}"] = float(abs(logits[0].numpy() - logits[1].numpy()).max())
        found[f"gradients {step}"] = farthest(whole, part, lambda parameter: parameter.grad.numpy())
        for optimizer in optimizers:
            optimizer.step()
        found[f"weights {step}"] = farthest(whole, part, lambda parameter: parameter.numpy())
    shape, ideal = x.shape, 0
    for layer in part.children().values():
        ideal += layer.exchanged(shape) * x.itemsize if isinstance(layer, Exchange) else 0
        shape = layer.output_shape(shape)
    return found | {"bytes": world.sent - before, "ideal": 2 * ideal}


def farthest(whole: tgl.Layer, part: tgl.Layer, of: Any) -> float:
    """Return the largest difference between this rank's arrays and its share of the whole network's."""
    pairs = [(of(whole.parameters()[path]), of(own)) for path, own in part.parameters().items()]
    return max(float(abs(a[..., world.rank * len(b.T) :][..., : len(b.T)] - b).max()) for a, b in pairs)


# Properties that also run forward mode are left out: in some, the two ranks wait for each other without end.
PROPERTIES = ["forward", "gradients", "second_order", "accumulation"]
x = np.arange(6.0).reshape(2, 3) * (1 + world.rank)
values = {name: np.asarray(exchange(x)).tolist() for name, exchange in EXCHANGES.items()}
for exchange in EXCHANGES.values() if "kit" in sys.argv else ():
    check_function(exchanged(exchange), st.just((2, 2)), examples=1, complex_safe=True, properties=PROPERTIES)
before = world.sent
world.all_sum(np.zeros(1000, np.float32))
sent = world.sent - before
half = trainer(residual(), world)
half.train(1)
if world.rank == 0:
    save(Path(sys.argv[1]) / "half.safetensors", half.state())
fast = trainer(lenet(), world, blocks=2, fast_sums=True)
fast.train(1)
write(
    sys.argv[1],
    world.rank,
    {
        "values": values,
        "sent": sent,
        "halves": halves(),
        "differing": differing(),
        "any": [world.any(world.rank == 1), world.any(False)],
        "large": float(np.abs(world.all_sum(np.arange(600_000.0)) - 2 * np.arange(600_000.0)).max()),
        "trainings": train_all(world),
        "fast": [bits(fast), fast.history[-1]["loss"]],
    },
)
