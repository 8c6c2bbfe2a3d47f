"""Loader of batches in a reproducible order, prepared ahead of time by threads."""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from tinygrad_lab.arguments import Checked, check_state, expect
from tinygrad_lab.backend import Array, namespace, transfer
from tinygrad_lab.data.augment import Augmentation, Compose
from tinygrad_lab.data.dataset import Dataset
from tinygrad_lab.data.sampling import batch_generator, epoch_order
from tinygrad_lab.data.shards import BlockGenerator, Shard
from tinygrad_lab.errors import OptionError, StateError

Batch = tuple[Array, Array]


@dataclass(frozen=True)
class Position:
    """Position in the stream of batches: the next one is number `batch` of epoch `epoch`."""

    epoch: int = 0
    batch: int = 0


class Loader(metaclass=Checked):
    """Batches of a data set, epoch after epoch.

    A ``for`` loop over the loader yields one epoch of pairs (images, labels). Images are float32 with brightness from 0
    to 1 (unless the pipeline normalizes them), labels int64 (or probabilities, after `Mixup`).

    A batch depends only on (seed, epoch, batch number): these determine the order of an epoch and the random numbers of
    each batch's augmentation. Any number of workers therefore yields the same batches in the same order, and a loader
    that is set to a position continues as if it had never stopped.

    Parameters
    ----------
    dataset : Dataset
        The data set.
    batch_size : int
        The number of images in a batch.
    shuffle : bool
        Whether each epoch has its own random order; otherwise the order is that of the data set.
    seed : int
        The seed of the orders and of the augmentation.
    augment : Compose or sequence of Augmentation, optional
        The augmentation of each batch. Fit it first (`Compose.fit`); for evaluation use `Compose.for_evaluation`.
    workers : int
        The number of threads that prepare batches ahead; 0 prepares each batch when it is needed.
    prefetch : int
        The number of finished batches that each worker may hold.
    drop_last : bool
        Whether to leave out a last batch that is not full.
    device : str
        The device on which batches are made. A GPU gets the whole data set once, and gathers and augments the batches
        itself. The order is sent once an epoch, and the random numbers of the augmentation for each batch. There are no
        workers then, because the device works asynchronously.
    shard : Shard, optional
        The blocks of each batch that this loader makes, for one of several ranks. The augmentation then works block by
        block.

    Shapes
    ------
    images (N, H, W, C), labels (N,)

    Raises
    ------
    OptionError
        A number is too small, or there are not enough images for one batch.

    Examples
    --------
    >>> from tinygrad_lab.data import Compose, Flip
    >>> data = Dataset(np.zeros((10, 8, 8, 3), np.uint8), np.arange(10) % 2)
    >>> loader = Loader(data, batch_size=4, shuffle=True, seed=0, augment=Compose([Flip()]), workers=1)
    >>> [images.shape for images, labels in loader]
    [(4, 8, 8, 3), (4, 8, 8, 3), (2, 8, 8, 3)]
    >>> loader.position
    Position(epoch=1, batch=0)
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int = 128,
        shuffle: bool = True,
        seed: int = 0,
        augment: Compose | Sequence[Augmentation] | None = None,
        workers: int = 1,
        prefetch: int = 2,
        drop_last: bool = False,
        device: str = "cpu",
        shard: Shard | None = None,
    ) -> None:
        expect("Loader", "dataset", dataset, Dataset, "a Dataset, such as Dataset(images, labels)")
        least = {"batch_size": (batch_size, 1), "workers": (workers, 0), "prefetch": (prefetch, 1), "seed": (seed, 0)}
        for option, (value, smallest) in least.items():
            if value < smallest:
                raise OptionError(f"Loader({dataset.name}): expected {option} of at least {smallest}, got {value}")
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.augment = augment if isinstance(augment, Compose) else Compose(augment or ())
        self.prefetch, self.drop_last, self.device, self.shard = prefetch, drop_last, device, shard
        self.workers = workers if device == "cpu" else 0
        in_batches = device == "cpu" and not dataset.held
        self._images = None if in_batches else transfer(dataset.images, device)
        self._labels = transfer(dataset.labels, device)
        if not len(self):
            what = f"{batch_size} images for a batch" if len(dataset) else "at least one example"
            raise OptionError(f"Loader({dataset.name}): expected {what}, got {len(dataset) or 'none'}")
        self._position = self._begin = Position()  # the next batch; the start of the next loop
        self._loop: Callable[[], Generator[Batch, None, None] | None] = lambda: None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        count, rest = divmod(len(self.dataset), self.batch_size)
        return count + (rest > 0 and not self.drop_last)

    def images_in(self, number: int) -> int:
        """Return the number of images in batch `number`, counted from 0, of all ranks together."""
        return min(self.batch_size, len(self.dataset) - number * self.batch_size)

    def __repr__(self) -> str:
        return f"Loader({self.dataset!r}, batch_size={self.batch_size}: {len(self)} batches an epoch, {self._position})"

    @property
    def position(self) -> Position:
        """The position of the next batch; while a batch is in use, the next batch is the one after it."""
        return self._position

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Make the next loop begin at a batch; a running loop ends.

        Parameters
        ----------
        epoch, batch : int
            As in `Position`. If `batch` is the number of batches in an epoch, the next loop yields nothing, and the one
            after it begins the next epoch.

        Raises
        ------
        OptionError
            The batch does not exist.
        """
        if epoch < 0 or not 0 <= batch <= len(self):
            raise OptionError(
                f"Loader({self.dataset.name}): expected an epoch of at least 0 and a batch from 0 to {len(self)}, "
                f"got epoch {epoch}, batch {batch}"
            )
        self.close()
        self._position = self._begin = Position(epoch, batch)

    def state(self) -> dict[str, int]:
        """Return the position and the settings that determine the batches, as plain numbers."""
        return {**asdict(self._position), **self._identity()}

    def load_state(self, state: dict[str, int]) -> None:
        """Continue from a `state`.

        Raises
        ------
        StateError
            The state belongs to a loader with other batches.
        """
        expected = self._identity()
        check_state(f"Loader({self.dataset.name})", state, dict.fromkeys(self.state(), int))
        given = {name: state.get(name) for name in expected}
        if given != expected:
            raise StateError(
                f"Loader({self.dataset.name}): expected the position of a loader with {expected}, got {state}; "
                "resume with the data set, batch size and seed that it began with"
            )
        self.seek(state["epoch"], state["batch"])

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "images": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
        }

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the rest of the epoch, from the position that was set or restored, or else from its beginning.

        Leaving a loop early stops its threads. The next loop restarts that epoch, unless the position is restored with
        ``loader.load_state(loader.state())``. There is one loop at a time: a new one ends the one before.
        """
        self.close()
        loop = self._epoch()
        self._loop = weakref.ref(loop)  # weak, so that leaving a loop ends it immediately
        return loop

    def close(self) -> None:
        """End a running loop and its threads, if there is one."""
        loop = self._loop()
        if loop is not None:
            loop.close()

    def _epoch(self) -> Generator[Batch, None, None]:
        epoch, first = self._begin.epoch, self._begin.batch
        self._position, self._begin = self._begin, Position(epoch)
        order = epoch_order(len(self.dataset), self.seed, epoch) if self.shuffle else np.arange(len(self.dataset))
        order = transfer(order, self.device)
        numbers = range(first, len(self))
        with contextlib.closing(self._batches(order, epoch, numbers)) as batches:
            for number, batch in zip(numbers, batches, strict=True):
                self._position = Position(epoch, number + 1)
                yield batch
        self._position = self._begin = Position(epoch + 1)

    def _batches(self, order: Array, epoch: int, numbers: range) -> Generator[Batch, None, None]:
        """Yield the batches of these numbers in order, although the workers make them in any order."""
        if not self.workers:
            for number in numbers:
                yield self._make(order, epoch, number)
            return
        ahead = self.workers * self.prefetch
        pending: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tinygrad_lab-loader")
        try:
            for number in numbers:
                context = contextvars.copy_context()  # the workers use the same kernels
                pending.append(pool.submit(context.run, self._make, order, epoch, number))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _make(self, order: Array, epoch: int, number: int) -> Batch:
        chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
        if self.shard is None:
            return self._prepare(chosen, batch_generator(self.seed, epoch, number))
        blocks = [
            self._prepare(
                chosen[first:end],
                BlockGenerator(batch_generator(self.seed, epoch, number), first, end - first, len(chosen)),
            )
            for first, end in self.shard.blocks_of(len(chosen))
        ]
        xp = namespace(blocks[0][0])
        images, labels = (xp.concatenate(parts) for parts in zip(*blocks, strict=True))
        return images, labels

    def _prepare(self, chosen: Array, rng: np.random.Generator) -> Batch:
        """Return the chosen images, augmented, and their labels."""
        images = self.dataset.batch(chosen) if self._images is None else self._images.take(chosen, axis=0)
        labels = self._labels[chosen]
        xp = namespace(images)
        if images.dtype == np.uint8:
            images = xp.divide(images, 255, dtype=xp.float32)
        return self.augment(images, labels, rng=rng)
