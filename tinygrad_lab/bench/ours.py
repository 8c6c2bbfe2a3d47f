"""Networks of this framework in the benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab import registry
from tinygrad_lab.bench.networks import Network
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.train.allocator import keep_freed_memory


class Subject:
    """A network with a batch, and the steps that are measured."""

    def __init__(self, network: Network, variant: str) -> None:
        keep_freed_memory()  # as the trainer does
        options = {"image": network.image, "classes": network.classes, "rng": 0}
        self.model = registry.models[network.name](**options)
        self.optimizer = SGD(self.model.parameters(), lr=1e-5, momentum=0.9)
        self.optimizer.in_place = True
        rng = np.random.default_rng(0)
        self.x = tgl.tensor(rng.standard_normal((network.batch, *network.image), np.float32))
        self.labels = rng.integers(0, network.classes, network.batch)

    def parameters(self) -> int:
        """Return the number of parameters."""
        return sum(int(p.value.size) for p in self.model.parameters().values())

    def train(self) -> float:
        """Take one step: forward, loss, backward, momentum; return the loss."""
        self.model.train()
        loss = softmax_cross_entropy(self.model(self.x), self.labels)
        loss.backward()
        self.optimizer.step()
        return float(loss.numpy())

    def infer(self) -> Any:
        """Return the logits, without a tape."""
        self.model.eval()
        with tgl.no_grad():
            return self.model(self.x).numpy()


def multiply_adds(network: Network) -> tuple[int, int]:
    """Return the multiply-adds of a training step and of an inference step, for convolutions and dense layers.

    A training step needs three times as many as a forward pass, because the gradient of the input and the gradient of
    the weights each take as many again. The first layer needs only twice as many, because its input, the image, needs
    no gradient.
    """
    from tinygrad_lab.nn.initializers import shapes_only

    with shapes_only():
        model = registry.models[network.name](image=network.image, classes=network.classes, rng=0)
    shape = (network.batch, *network.image)
    forward = int(model.multiply_adds(shape))
    return 3 * forward - int(model[0].multiply_adds(shape)), forward
