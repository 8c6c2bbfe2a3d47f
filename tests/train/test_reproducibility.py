"""The same seed gives the same bits: whatever the number of threads that compute, and of those that load."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_lab.data import Compose, Dataset, Flip, Loader, RandomCrop, Rotation
from tinygrad_lab.kernels import using_threads
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import models
from tinygrad_lab.train import Trainer

NETWORKS = {  # each with kernels of its own: tiles and fused ReLU; normalisation; local response; dropout
    "alexnet_small": {"classes": 10},
    "resnet_cifar": {"depth": 8},
    "cuda_convnet": {},
    "vgg_small": {},
}


def trained(name: str, *, threads: int, workers: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (96, 32, 32, 3)).astype(np.uint8), np.arange(96) % 10, name="made")
    augment = Compose([Flip(), RandomCrop(padding=4), Rotation(degrees=10)])
    with using_threads(threads):
        model = models[name](rng=0, **NETWORKS[name])
        model.seed = 0
        batches = Loader(data, batch_size=32, seed=0, augment=augment, workers=workers)
        optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
        Trainer(model, softmax_cross_entropy, optimizer, batches).train_epoch()
    return {path: np.asarray(value) for path, value in model.state().items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_threads_leave_no_trace_in_the_bits(name: str) -> None:
    alone = trained(name, threads=1, workers=0)
    for threads, workers in ((2, 1), (5, 3)):
        together = trained(name, threads=threads, workers=workers)
        assert all(np.array_equal(alone[path], together[path]) for path in alone), (threads, workers)
