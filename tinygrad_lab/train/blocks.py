"""Steps in blocks: the images of a batch, shared by the ranks of a job, with sums in a fixed order.

A batch is divided into blocks (`tinygrad_lab.data.Shard`). Each rank computes the gradient of each of its blocks alone;
the gradients of all blocks are added in pairs by `tree_sum`. Neither depends on the number of ranks, so training gives
the same bits on 1, 2, 4 and 8 ranks. One process may train in blocks too. Its weights then differ in their last bits
from those of a plain run, which computes the gradient of the whole batch at once.
"""

from __future__ import annotations

import contextvars
import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_lab.autograd.tape import backward_pass, unbox
from tinygrad_lab.backend import Array, backend_of, device_name, namespace, transfer
from tinygrad_lab.data import Shard
from tinygrad_lab.distributed import Group, all_sum, tree_sum
from tinygrad_lab.errors import NonFiniteError
from tinygrad_lab.nn.parts import PART, Part
from tinygrad_lab.train.steps import PlainSteps, SteppedTraining
from tinygrad_lab.train.sums import of_batch
from tinygrad_lab.train.transaction import Transaction


@dataclass(frozen=True)
class Parallel:
    """How the ranks of a job share a training.

    Parameters
    ----------
    group : Group
        The ranks.
    sync_batch_norm : bool
        Whether batch normalization uses statistics of the whole batch; otherwise those of each block, of which the
        running statistics get the mean.
    fast_sums : bool
        Whether MPI chooses the order of additions. Weights then depend on the number of ranks, in their last bits.
    """

    group: Group
    sync_batch_norm: bool = False
    fast_sums: bool = False


@dataclass(frozen=True)
class _Found:
    """What blocks add up: gradients, and in float64 the loss, headline score, used parameters and buffers."""

    gradient: Array
    numbers: Array

    def __add__(self, other: _Found) -> _Found:
        return _Found(self.gradient + other.gradient, self.numbers + other.numbers)


class BlockSteps(PlainSteps):
    """Steps whose gradient is summed over the blocks of a batch, on one or several ranks.

    Parameters
    ----------
    trainer : SteppedTraining
        The trainer that takes the steps. Its loader has a shard.
    parallel : Parallel
        The ranks, and how they compute.
    """

    def __init__(self, trainer: SteppedTraining, parallel: Parallel) -> None:
        super().__init__(trainer)
        self.parallel, self.group = parallel, parallel.group
        self.results = 0  # how many numbers of a batch the trainer sums: its loss, and those of its headline score

    def take(self, x: Array, labels: Array, *, share: float, update: bool) -> Array:
        """Take a step with the images of this rank, and return the contribution of the whole batch to the sums."""
        trainer = self.trainer
        with Transaction(trainer) as before:
            mine, buffers = self._of_rank(x, labels)
            numbers = self.group.all_sum(mine.numbers)
            if not math.isfinite(numbers[0]):
                trainer.model.steps = before.steps  # so that the same random numbers are drawn again
                raise NonFiniteError(self._explain(x, labels, math.isfinite(mine.numbers[0])))
            gradient = self.group.all_sum(mine.gradient, fast=self.parallel.fast_sums)
            self._assign(gradient * gradient.dtype.type(share), numbers[self.results :], buffers, device_name(x))
            trainer.check_gradients()
        if update:
            trainer.update()
        return transfer(numbers[: self.results].copy(), device_name(x))

    def _of_rank(self, x: Array, labels: Array) -> tuple[_Found, list[Any]]:
        """Return the sum over the blocks of this rank, and the buffers that they change."""
        whole = self.trainer.batches.images_in(self.trainer.batches.position.batch - 1)
        cuts = (self.trainer.batches.shard or Shard()).blocks_of(whole)
        start, step, changed = cuts[0][0], self.trainer.model.steps, list[Any]()

        def block(first: int, end: int, add: Callable[[Any], Any] | None) -> _Found:
            self.trainer.model.steps = step
            part = Part(first, end - first, whole, add)
            token = PART.set(part)
            try:
                found = self._of_block(x[first - start : end - start], labels[first - start : end - start], part)
            finally:
                PART.reset(token)
            changed[:] = [buffer for buffer, _ in part.updates.values()]
            return found

        if self.parallel.sync_batch_norm:
            results: Iterator[_Found] = iter(_Lockstep(self.group, len(cuts)).run(block, cuts))
        else:
            results = (block(first, end, None) for first, end in cuts)
        return tree_sum(results), changed

    def _of_block(self, x: Array, labels: Array, part: Part) -> _Found:
        """Return the weighted gradient of the mean loss of a block, and its numbers."""
        nodes = [parameter.node for parameter in self._learned()]
        loss, logits = self.trainer.forward(x, labels)
        weight = part.images / part.whole
        xp, value = namespace(x), unbox(loss)
        found = {} if loss.node is None else backward_pass({loss.node: xp.full((), weight, value.dtype)}, wanted=nodes)
        gradients = [found.get(node) for node in nodes]
        flat = [
            np.zeros(math.prod(node.shape), node.dtype) if g is None else backend_of(g).to_numpy(g).reshape(-1)
            for node, g in zip(nodes, gradients, strict=True)
        ]
        result = of_batch(value, logits, labels, self.trainer.headline)
        self.results = len(result)
        changes = [backend_of(new).to_numpy(new).astype(float).reshape(-1) for _, new in part.updates.values()]
        numbers = [
            backend_of(result).to_numpy(result),
            np.array([float(g is not None) for g in gradients]),
            *(change * weight for change in changes),
        ]
        return _Found(np.concatenate(flat), np.concatenate(numbers))

    def _learned(self) -> list[Any]:
        return [p for p in self.trainer.optimizer.parameters.values() if p.node is not None]

    def _assign(self, gradient: Array, numbers: Array, buffers: Sequence[Any], device: str) -> None:
        """Add the summed gradients to those of the parameters, and assign the mean of the buffers' new values."""
        learned = self._learned()
        used, means = numbers[: len(learned)], numbers[len(learned) :]
        pieces = _split(gradient, [p.value.size for p in learned])
        for parameter, piece, uses in zip(learned, pieces, used, strict=True):
            node = parameter.node
            if uses:
                piece = transfer(piece.reshape(node.shape).astype(node.dtype), device)
                node.grad = piece if node.grad is None else node.grad + piece
        for buffer, piece in zip(buffers, _split(means, [b.value.size for b in buffers]), strict=True):
            buffer.assign(transfer(piece.reshape(buffer.shape).astype(buffer.dtype), device))

    def _explain(self, x: Array, labels: Array, finite: bool) -> str:
        """Return the message of the first rank whose own loss is not finite."""
        found = self.group.gather_objects(None if finite else self.trainer.explain(x, labels))
        return next((text for text in found if text is not None), "loss: expected a finite sum over all ranks")


def _split(flat: Array, sizes: Sequence[int]) -> list[Array]:
    return np.split(flat, np.cumsum(sizes)[:-1]) if sizes else []


class _Lockstep:
    """Threads, one for each block of a rank, that run in turn from one sum over the batch to the next.

    A sum needs the blocks' arrays at the same point of the network, in the forward and in the backward pass.
    """

    def __init__(self, group: Group, blocks: int) -> None:
        self.group, self.turn = group, threading.Lock()
        self.arrays: list[Any] = [None] * blocks
        self.total: Any = None
        self.barrier = threading.Barrier(blocks, self._add)

    def _add(self) -> None:
        self.total = self.group.all_sum(tree_sum(self.arrays))

    def sum(self, block: int, x: Array) -> Array:
        """Return the sum over all blocks of the batch; the other threads work while this one waits for them."""
        self.arrays[block] = backend_of(x).to_numpy(x)
        self.turn.release()
        try:
            self.barrier.wait()
        finally:
            self.turn.acquire()
        return self.total

    def run(self, work: Callable[..., _Found], cuts: Sequence[tuple[int, int]]) -> list[_Found]:
        """Return the results of all blocks, or raise the error of one that failed."""
        results: list[Any] = [None] * len(cuts)
        errors: list[BaseException] = []

        def run(block: int) -> None:
            add = functools.partial(all_sum, group=_OneBlock(self, block))
            with self.turn:
                try:
                    results[block] = work(*cuts[block], add)
                except BaseException as error:
                    errors.append(error)
                    self.barrier.abort()

        contexts = [contextvars.copy_context() for _ in cuts]
        threads = [threading.Thread(target=context.run, args=(run, i)) for i, context in enumerate(contexts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
        return results


class _OneBlock(Group):
    """A block among all blocks of the batch, as a group for `all_sum`."""

    def __init__(self, lockstep: _Lockstep, block: int) -> None:
        super().__init__()
        self.lockstep, self.block = lockstep, block

    def all_sum(self, x: Array, *, fast: bool = False) -> Array:
        """Return the sum over all blocks."""
        return self.lockstep.sum(self.block, x)
