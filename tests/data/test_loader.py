"""The loader is reproducible for any number of workers, resumes its position, and leaves nothing running."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.autograd.settings import SETTINGS, reference_only
from tinygrad_lab.data import Augmentation, ChannelShift, Compose, Dataset, Flip, Loader, Mixup, Position, RandomCrop
from tinygrad_lab.errors import CallError, OptionError, StateError

Array = np.ndarray[Any, Any]
PIPELINE = Compose([Flip(), RandomCrop(padding=1), ChannelShift()])


def made_data(count: int = 23) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return Dataset(images, np.arange(count) % 5, name="made")


def made_loader(**options: Any) -> Loader:
    return Loader(made_data(), **{"batch_size": 4, "augment": PIPELINE, **options})


def numbered(count: int) -> Dataset:
    """Return a data set whose image i has the label i."""
    return Dataset(np.zeros((count, 1, 1, 1), np.uint8), np.arange(count))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "loader" in thread.name]


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Any:
    yield
    assert not threads()


def assert_same(one: list[tuple[Array, Array]], other: list[tuple[Array, Array]]) -> None:
    assert len(one) == len(other)
    for (images, labels), (other_images, other_labels) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


def test_bytes_become_brightness() -> None:
    data = Dataset(np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1), np.arange(3))
    ((images, labels),) = Loader(data, shuffle=False)
    assert images.dtype == np.float32
    assert images.ravel().tolist() == [0, np.float32(0.2), 1]
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2]


@given(st.integers(1, 30), st.integers(1, 12), st.booleans(), st.booleans())
def test_an_epoch_shows_every_image_once(count: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
    if drop_last and count < batch_size:
        return
    loader = Loader(numbered(count), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, workers=0)
    batches = [labels.tolist() for _, labels in loader]
    shown = [label for batch in batches for label in batch]
    assert len(batches) == len(loader)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(set(shown)) == len(shown) == (count // batch_size * batch_size if drop_last else count)
    assert shuffle or shown == list(range(len(shown)))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [1, 3])
def test_any_number_of_workers_gives_the_same_bits(workers: int, prefetch: int) -> None:
    expected, found = (made_loader(workers=n, prefetch=p) for n, p in ((0, 1), (workers, prefetch)))
    for _ in range(2):
        assert_same(list(expected), list(found))


def test_batches_stay_in_order_if_workers_finish_out_of_order() -> None:
    class Dawdle(Augmentation):
        def change(self, images: Array, *, rng: np.random.Generator) -> Array:
            time.sleep(rng.uniform(0, 0.01))
            return images + rng.random(dtype=np.float32)

    loaders = [made_loader(workers=n, augment=Compose([Dawdle()])) for n in (0, 4)]
    assert_same(*map(list, loaders))


def test_epochs_and_seeds_differ_and_repeat() -> None:
    loader = Loader(numbered(50), batch_size=50)
    first, second = (next(iter(loader))[1].tolist() for _ in range(2))
    assert first == second, "after a break, the next loop begins again"
    loader.seek(1)
    third = next(iter(loader))[1].tolist()
    assert third != first
    assert next(iter(Loader(numbered(50), batch_size=50, seed=1)))[1].tolist() != first


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", range(7))
def test_a_loader_resumes_at_any_batch(workers: int, stop: int) -> None:
    """Another loader continues after any batch with the same bits, to the end of the next epoch."""
    expected = [*(whole := made_loader(workers=0)), *whole]
    loader = made_loader(workers=workers)
    seen = []
    for batch in loader:
        seen.append(batch)
        if len(seen) == stop:
            break
    state = loader.state()
    assert (state["epoch"], state["batch"]) == ((0, stop) if stop else (1, 0))
    other = made_loader(workers=workers)
    other.load_state(state)
    rest = [*other, *other] if other.position.epoch == 0 else list(other)
    assert_same(seen + rest, expected)


def test_the_position_is_the_next_batch() -> None:
    loader = made_loader(workers=2)
    assert loader.position == Position(0, 0)
    for number, _ in enumerate(loader):
        assert loader.position == Position(0, number + 1)
        assert loader.state()["batch"] == number + 1
    assert loader.position == Position(1, 0)


def test_the_end_of_an_epoch_is_a_position() -> None:
    """After a checkpoint at the last batch, the rest of the epoch is empty and the next epoch is complete."""
    loader = made_loader()
    loader.seek(3, len(loader))
    assert list(loader) == []
    assert loader.position == Position(4, 0)
    assert len(list(loader)) == len(loader)


def test_the_state_of_another_loader_is_refused() -> None:
    state = made_loader(seed=1).state()
    with pytest.raises(StateError, match=r"expected the position of a loader with .*'seed': 0"):
        made_loader().load_state(state)
    with pytest.raises(StateError):
        made_loader().load_state({})


@pytest.mark.parametrize(("epoch", "batch"), [(-1, 0), (0, -1), (0, 7)])
def test_a_position_out_of_range_is_refused(epoch: int, batch: int) -> None:
    with pytest.raises(OptionError, match="a batch from 0 to 6"):
        made_loader().seek(epoch, batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size of at least 1, got 0"),
        ({"workers": -1}, "workers of at least 0, got -1"),
        ({"prefetch": 0}, "prefetch of at least 1, got 0"),
        ({"seed": -1}, "seed of at least 0, got -1"),
        ({"batch_size": 24, "drop_last": True}, "expected 24 images for a batch, got 23"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        made_loader(**options)


def test_a_data_set_without_examples_is_refused() -> None:
    with pytest.raises(OptionError, match="expected at least one example, got none"):
        Loader(Dataset(np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, np.int64)))


class Failing(Augmentation):
    """An augmentation that fails on one batch."""

    def change(self, images: Array, *, rng: np.random.Generator) -> Array:
        if len(images) == 3:
            raise ArithmeticError("the last batch")
        return images


class TestShutdown:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_an_error_in_a_worker_reaches_the_consumer(self, workers: int) -> None:
        loader = made_loader(workers=workers, augment=Compose([Failing()]))
        seen = []
        with pytest.raises(ArithmeticError, match="the last batch"):
            seen.extend(iter(loader))
        assert len(seen) == 5, "batches before the error are returned"
        assert loader.position == Position(0, 5)
        assert not threads()

    def test_a_break_ends_the_threads(self) -> None:
        gc.disable()
        try:
            for _ in made_loader(workers=3):
                assert threads()
                break
            assert not threads(), "at once, without the garbage collector"
        finally:
            gc.enable()

    def test_an_error_of_the_consumer_ends_the_threads(self) -> None:
        def consume() -> None:
            for _ in made_loader(workers=3):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            consume()
        assert not threads()

    def test_close_ends_the_threads(self) -> None:
        loader = made_loader(workers=2)
        loop = iter(loader)
        next(loop)
        assert threads()
        loader.close()
        assert not threads()
        assert list(loop) == []
        loader.close()

    def test_a_new_loop_ends_the_one_before(self) -> None:
        loader = made_loader(workers=2)
        first = iter(loader)
        next(first)
        second = iter(loader)
        assert list(first) == []
        assert len(list(second)) == 6

    def test_work_ahead_is_bounded(self) -> None:
        made = []

        class Count(Augmentation):
            def change(self, images: Array, *, rng: np.random.Generator) -> Array:
                made.append(1)
                return images

        loop = iter(Loader(numbered(1000), batch_size=1, workers=2, prefetch=3, augment=Compose([Count()])))
        next(loop)
        time.sleep(0.05)  # workers without a limit would make all batches in this time
        assert 1 <= len(made) <= 8
        loop.close()


def test_workers_have_the_settings_of_the_consumer() -> None:
    seen = []

    class Look(Augmentation):
        def change(self, images: Array, *, rng: np.random.Generator) -> Array:
            seen.append(SETTINGS.get().providers)
            return images

    with reference_only():
        list(made_loader(workers=2, augment=Compose([Look()])))
    assert seen == [frozenset()] * 6


def test_mixup_turns_labels_into_probabilities() -> None:
    for images, labels in made_loader(augment=Compose([Mixup(classes=5)]), drop_last=True):
        assert images.shape == (4, 4, 4, 3)
        assert labels.shape == (4, 5)


def test_batches_are_copies() -> None:
    """Writing into a batch changes neither the data set nor other batches."""
    data = Dataset(np.zeros((4, 1, 1, 1), np.float32), np.arange(4))
    loader = Loader(data, batch_size=2, shuffle=False)
    for images, labels in loader:
        images += 1
        labels += 1
    assert data.images.sum() == 0
    assert data.labels.tolist() == [0, 1, 2, 3]


def test_wrong_arguments_are_refused_with_the_expected_ones() -> None:
    with pytest.raises(OptionError, match=r"Loader: expected dataset .*, got shape \(2, 3\) \(ndarray\)"):
        Loader(np.zeros((2, 3)))  # type: ignore[arg-type]
    with pytest.raises(CallError, match="num_workers"):
        Loader(made_data(), num_workers=2)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match=r"Compose: expected each step to be an augmentation, .*, got the class Flip"):
        Compose([Flip])  # type: ignore[list-item]


def test_a_list_of_augmentations_may_replace_a_pipeline() -> None:
    one, other = (Loader(made_data(), augment=steps, seed=3) for steps in ([Flip()], Compose([Flip()])))
    for (a, _), (b, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
