"""Training in blocks on one process: the same mathematics as a plain run, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.distributed.trainings import CLASSES, SIZE, images, lenet, residual, trainer
from tinygrad_lab.autograd.settings import reference_only
from tinygrad_lab.data import Loader, Shard
from tinygrad_lab.distributed import Group
from tinygrad_lab.errors import ConfigError, NonFiniteError, OptionError
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.optim import SGD
from tinygrad_lab.registry import layers
from tinygrad_lab.train.blocks import Parallel
from tinygrad_lab.train.build import shard_of, with_blocks
from tinygrad_lab.train.recipe import find_recipe
from tinygrad_lab.train.trainer import Trainer


class Rank(Group):
    """A rank of several, without the others."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self.rank, self.size = rank, size


@pytest.mark.parametrize(("network", "options"), [(lenet, {}), (residual, {"sync_batch_norm": True})])
def test_blocks_train_what_the_whole_batch_trains(network: Any, options: dict[str, Any]) -> None:
    """The masks of dropout and the augmentation are those of the whole batch too."""
    with reference_only():  # 37 images in batches of 19 and 18, which are no multiples of 8
        plain = trainer(network(), None, batch_size=19)
        blocks = trainer(network(), Group(), blocks=8, batch_size=19, **options)
        plain.train(1)
        blocks.train(1)
    assert blocks.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-5)
    assert blocks.model.steps == plain.model.steps == 2
    for path, expected in plain.model.state().items():
        np.testing.assert_allclose(blocks.model.state()[path], expected, rtol=1e-3, atol=1e-5, err_msg=path)


def test_running_statistics_are_the_mean_over_blocks() -> None:
    model = Sequential(layers["batch_norm"](3, momentum=0.0), layers["flatten"](), layers["dense"](192, CLASSES, rng=0))
    shard = Shard(blocks=2)
    loader = Loader(images(9), batch_size=9, shuffle=False, shard=shard)
    optimizer = SGD(model.parameters(), lr=0.1)
    Trainer(model, softmax_cross_entropy, optimizer, loader, parallel=Parallel(Group())).train(1)
    x = images(9).images.astype(np.float32) / 255
    blocks = [x[first:end].reshape(-1, 3) for first, end in shard.blocks_of(9)]  # 4 and 5 images
    expected = {
        "0.running_mean": sum(len(block) * block.mean(0) for block in blocks),
        "0.running_var": sum(len(block) * block.var(0, ddof=1) for block in blocks),
    }
    for path, total in expected.items():
        np.testing.assert_allclose(model.state()[path], total / (9 * SIZE * SIZE), rtol=1e-5, err_msg=path)


def test_a_loss_that_is_not_finite_names_its_layer_and_undoes_the_step() -> None:
    trained = trainer(lenet(), Group())
    weights = trained.model.state()["0.weight"].copy()
    weights[0, 0, 0, 0] = np.inf
    trained.model[0].weight.assign(weights)
    with reference_only(), np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="in layer '0'"):
        trained.train(1)
    assert trained.steps == trained.model.steps == 0


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (10, {"blocks": 8}, "at least one image for each of 8 blocks in every batch, got a batch of 5"),
        (9, {"blocks": 4, "capture": True}, "without captured graphs"),
        (9, {"blocks": 4, "precision": "float16"}, "without float16"),
        (9, {"blocks": 4, "rank": Rank(0, 2)}, "expected a batch that 2 ranks divide, got 9 images; use 8"),
        (9, {"blocks": 4, "shard": None}, "parallel together with a loader that has a shard"),
        (9, {"blocks": 4, "shard": Shard(1, 2, 4)}, "expected a shard of Group"),
    ],
)
def test_misfits_are_refused(size: int, options: dict[str, Any], message: str) -> None:
    group = options.pop("rank", Group())
    shard = Shard(group.rank, group.size, options.pop("blocks"))
    loader = Loader(images(45), batch_size=size, shard=options.pop("shard", shard))
    model = lenet()
    with pytest.raises(OptionError, match=message):
        Trainer(
            model, softmax_cross_entropy, SGD(model.parameters(), lr=0.1), loader, parallel=Parallel(group), **options
        )


def test_the_number_of_blocks_is_a_setting_of_the_recipe() -> None:
    plain = find_recipe("lenet5")
    assert with_blocks(plain, None) is plain
    assert [with_blocks(plain, Rank(0, size))["training"]["blocks"] for size in (1, 2, 4, 8, 3)] == [8, 8, 8, 8, 3]
    three = plain.override(["training.blocks=3"])
    assert shard_of(three, None) == Shard(0, 1, 3)
    with pytest.raises(ConfigError, match=r"can share training.blocks = 3 \(1, 3\), got 2 ranks"):
        shard_of(three, Rank(0, 2))
    fast = plain.override(["training.fast_sums=true"])
    assert shard_of(fast, Rank(1, 2)) == Shard(1, 2, 2)
