"""Sums in a fixed order, groups of one rank, blocks of batches, and jobs that cannot start."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.distributed.ranks import ROOT, run
from tinygrad_lab import distributed
from tinygrad_lab.cli import main
from tinygrad_lab.data import Shard
from tinygrad_lab.data.sampling import batch_generator
from tinygrad_lab.data.shards import BlockGenerator, numbers_of_ranks
from tinygrad_lab.distributed import init, launcher, tree_sum
from tinygrad_lab.distributed.watch import Watch
from tinygrad_lab.errors import ConfigError, DistributedError, OptionError, ShapeError
from tinygrad_lab.nn.parts import PART, Part
from tinygrad_lab.nn.randomness import Random


class Term:
    """A term that writes its additions down."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: Term) -> Term:
        return Term(f"({self.text}+{other.text})")


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_sums_of_ranks_add_in_the_order_of_one_process(ranks: int) -> None:
    parts = np.array_split([str(term) for term in range(8)], ranks)
    total = tree_sum([tree_sum(map(Term, part)) for part in parts])
    assert total.text == "(((0+1)+(2+3))+((4+5)+(6+7)))"


@pytest.mark.parametrize("blocks", [3, 6, 8, 12, 24])
def test_all_numbers_of_ranks_that_can_share_blocks_add_them_in_one_order(blocks: int) -> None:
    one = tree_sum(map(Term, map(str, range(blocks)))).text
    for ranks in numbers_of_ranks(blocks):
        shards = [Shard(rank, ranks, blocks).blocks_of(blocks) for rank in range(ranks)]  # one image in each block
        own = [tree_sum(Term(str(first)) for first, _ in cuts) for cuts in shards]
        assert tree_sum(own).text == one


def test_a_group_of_one_changes_nothing() -> None:
    world, x = init(), np.arange(6.0).reshape(2, 3)
    assert (world.rank, world.size, world.sent) == (0, 1, 0)
    assert distributed.all_sum(x) is x
    assert distributed.broadcast(x) is x
    assert distributed.sum_at(x) is x
    assert distributed.all_gather(x).shape == (1, 2, 3)
    assert distributed.reduce_scatter(x[None]).shape == (2, 3)
    with pytest.raises(ShapeError, match=r"a first axis of 1, an entry for each rank, got shape \(2, 3\)"):
        distributed.reduce_scatter(x)
    with pytest.raises(DistributedError, match="expected a rank below 1"):
        distributed.send(x, to=1)


def test_blocks_are_the_same_for_any_number_of_ranks() -> None:
    for images in (8, 37, 512):
        cuts = [[Shard(r, ranks, 8).blocks_of(images) for r in range(ranks)] for ranks in (1, 2, 4, 8)]
        joined = [[cut for rank in one for cut in rank] for one in cuts]
        assert joined == [joined[0]] * 4
        assert joined[0][0][0] == 0
        assert joined[0][-1][1] == images
    with pytest.raises(OptionError, match=r"the same number of blocks for each rank, .*, got 8 blocks for 3 ranks"):
        Shard(0, 3, 8)
    with pytest.raises(OptionError, match=r"1 or 2 or 4 or 8 \.\.\., got 6 blocks for 2 ranks"):
        Shard(0, 2, 6)
    with pytest.raises(OptionError, match="a rank from 0 to 1, got 2"):
        Shard(2, 2, 8)


def test_a_block_draws_the_numbers_of_its_images() -> None:
    def drawn(rng: np.random.Generator, count: int) -> list[np.ndarray]:
        some = np.int64(count)  # as the number of elements in a mask
        return [
            rng.random((count, 2)), rng.uniform(-1, 1, some), rng.integers(0, 9, (some, 2), endpoint=True),
            rng.choice(5, count), rng.choice(5, some, True),
        ]  # fmt: skip

    whole = drawn(batch_generator(0, 1, 2), 10)
    part = drawn(BlockGenerator(batch_generator(0, 1, 2), 3, 4, 10), 4)
    for expected, found in zip(whole, part, strict=True):
        np.testing.assert_array_equal(found, expected[3:7])
    block = BlockGenerator(batch_generator(0, 1, 2), 3, 4, 10)
    assert block.random(np.int64(3)).shape == (3,)  # not of all images
    for order in (block.permutation(4), block.permutation(np.int64(4)), block.choice(4, 4, replace=False)):
        assert sorted(order.tolist()) == [0, 1, 2, 3]


def test_a_part_of_a_batch_drops_what_the_whole_batch_drops() -> None:
    x = np.zeros((10, 3), np.float32)
    whole, weights = Random(7, x).uniform(), Random(7, x).uniform((5, 2))
    token = PART.set(Part(3, 4, 10))
    try:
        np.testing.assert_array_equal(Random(7, x[:4]).uniform(), whole[3:7])
        np.testing.assert_array_equal(Random(7, x[:4]).uniform((5, 2)), weights)  # not of images
    finally:
        PART.reset(token)


class Silent:
    """A communicator, and the module of MPI, of a rank whose neighbor sends no beats."""

    REQUEST_NULL = SimpleNamespace(Test=lambda: True)

    def __init__(self) -> None:
        self.COMM_WORLD, self.aborted = self, False

    def Dup(self) -> Silent:
        return self

    def Get_rank(self) -> int:
        return 0

    def Get_size(self) -> int:
        return 2

    def allgather(self, value: Any) -> list[Any]:
        return [value, value]

    def Isend(self, *message: Any) -> Any:
        return self.REQUEST_NULL

    def Iprobe(self, source: int) -> bool:
        return False

    def Abort(self, code: int) -> None:
        self.aborted = True


@pytest.mark.parametrize(("seconds", "lost"), [([0.5] * 14, True), ([0.5, 3600.0, 0.5, 0.5], False)])
def test_a_silent_rank_is_lost_unless_the_job_was_suspended(
    seconds: list[float], lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mpi, passed = Silent(), list[float]()
    watch = Watch(mpi)
    left = iter(seconds)

    def wait(beat: float) -> bool:
        passed.append(next(left, 0.0))
        return not passed[-1]

    monkeypatch.setattr(watch.ended, "wait", wait)
    monkeypatch.setattr("tinygrad_lab.distributed.watch.time", SimpleNamespace(monotonic=lambda: sum(passed)))
    watch.run()
    assert mpi.aborted is lost


def test_ranks_need_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="expected the package mpi4py, which is missing; install it with"):
        launcher.launch(1, ["train"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranks", "0"], "--ranks: expected at least 1, got 0"),
        (["--ranks", "100000"], "the number of cores, got 100000; add --oversubscribe"),
        (["--ranks", "2", "--dry-run"], "expected a training, got --dry-run"),
    ],
)
def test_bad_ranks_take_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "lenet5", "--runs", str(tmp_path), *arguments]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_ranks_without_dash_m_mpi4py_are_refused() -> None:
    code = "from tinygrad_lab.distributed import init; init()"
    status, _, errors = run([sys.executable, "-c", code], PMI_SIZE="2", PYTHONPATH=str(ROOT))
    assert status == 1
    assert "ranks started without -m mpi4py" in errors
