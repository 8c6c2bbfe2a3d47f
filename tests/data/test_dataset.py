"""The data set in memory: classes, limits, splits."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lab.data import Compose, Dataset, Flip, Loader, Normalize, dataset, pad_sequences
from tinygrad_lab.data.resizing import resize_bilinear
from tinygrad_lab.errors import DTypeError, OptionError, ShapeError

SEEDS = st.integers(0, 2**32)


def make(labels: list[int], classes: tuple[str, ...] = ("a", "b", "c")) -> Dataset:
    """Return a data set whose image i has the value i."""
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Dataset(images, np.array(labels, int), classes=classes, name="made")


def shown(data: Dataset) -> list[int]:
    return data.images.ravel().tolist()


LABELS = st.lists(st.integers(0, 2), min_size=3, max_size=60)


def test_a_dataset_keeps_images_labels_and_classes() -> None:
    data = make([0, 1, 2, 2])
    assert len(data) == 4
    assert data.shape == (1, 1, 1)
    assert data.counts() == {"a": 1, "b": 1, "c": 2}
    assert data.labels.dtype == np.int64
    assert repr(data) == "Dataset(made: 4 images 1x1x1 uint8, 3 classes)"


def test_a_dataset_is_read_only() -> None:
    data = make([0, 1])
    for array in (data.images, data.labels, data.index):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_the_given_array_stays_writable() -> None:
    images = np.zeros((1, 1, 1, 1), np.uint8)
    data = Dataset(images, np.zeros(1, int))
    images[...] = 1
    assert images.flags.writeable
    assert not data.images.flags.writeable


def test_classes_by_default_are_numbers() -> None:
    assert Dataset(np.zeros((2, 1, 1, 1), np.float32), np.array([0, 2])).classes == ("0", "1", "2")
    assert Dataset(np.zeros((0, 1, 1, 1), np.float32), np.zeros(0, int)).counts() == {}


def test_floats_in_the_range_of_bytes_are_refused() -> None:
    pixels = np.array([0.0, 255.0], np.float32).reshape(1, 1, 2, 1)
    with pytest.raises(OptionError, match=r"brightness 0 to 1, got 0 to 255; divide by 255"):
        Dataset(pixels, np.zeros(1, int))
    Dataset((pixels - 128) / 64, np.zeros(1, int))  # standardized images may have any range


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"images \(N, H, W, C\), or .* targets \(N, K\) .*, got \(2, 3, 3\)"):
        Dataset(np.zeros((2, 3, 3), np.uint8), np.zeros(2, int))
    with pytest.raises(ShapeError, match="labels"):
        Dataset(np.zeros((2, 1, 1, 1), np.uint8), np.zeros(3, int))
    with pytest.raises(DTypeError, match="uint8 or float32"):
        Dataset(np.zeros((2, 1, 1, 1)), np.zeros(2, int))
    with pytest.raises(DTypeError, match="uint8 or float32"):
        Dataset(np.zeros((2, 3)), np.zeros(2, int))
    with pytest.raises(DTypeError, match="uint8 or float32"):
        Dataset(np.zeros((2, 1, 1, 1), int), np.zeros(2, int))
    with pytest.raises(DTypeError, match=r"labels that are integers \(classes\) or floats"):
        Dataset(np.zeros((2, 1, 1, 1), np.uint8), np.array(["a", "b"]))
    with pytest.raises(OptionError, match="labels from 0 to 0, got 0 to 1"):
        Dataset(np.zeros((2, 1, 1, 1), np.uint8), np.array([0, 1]), classes=("a",))
    with pytest.raises(OptionError, match="got -1"):
        Dataset(np.zeros((1, 1, 1, 1), np.uint8), np.array([-1]), classes=("a",))


@given(LABELS, st.permutations(["a", "b", "c"]), st.integers(1, 3))
def test_chosen_classes_are_renumbered_in_order(labels: list[int], order: list[str], count: int) -> None:
    chosen = order[:count]
    data = make(labels).keep_classes(chosen)
    assert shown(data) == [i for i, label in enumerate(labels) if "abc"[label] in chosen]
    assert [chosen[label] for label in data.labels] == ["abc"[labels[i]] for i in shown(data)]
    assert data.classes == tuple(chosen)


@pytest.mark.parametrize("classes", [["a", "x"], ["a", "a"], [], "a"])
def test_bad_classes_are_refused(classes: list[str]) -> None:
    with pytest.raises(OptionError, match="expected different names from"):
        make([0, 1]).keep_classes(classes)


@given(LABELS, st.floats(0.01, 0.99), SEEDS)
def test_a_split_is_stratified_and_complete(labels: list[int], fraction: float, seed: int) -> None:
    data = make(labels)
    rest, out = data.split(fraction, seed=seed)
    assert sorted(shown(rest) + shown(out)) == list(range(len(labels)))
    assert shown(rest) == sorted(shown(rest))
    for name, count in data.counts().items():
        if count:
            assert out.counts()[name] == min(int(fraction * count + 0.5), count - 1)


@given(LABELS, st.floats(0.01, 0.99), SEEDS)
def test_a_split_and_a_choice_of_classes_commute(labels: list[int], fraction: float, seed: int) -> None:
    one = make(labels).split(fraction, seed=seed)[1].keep_classes(["c", "a"])
    other = make(labels).keep_classes(["c", "a"]).split(fraction, seed=seed)[1]
    assert shown(one) == shown(other)
    assert one.index.tolist() == other.index.tolist() == shown(one)


@given(st.integers(4, 30), SEEDS)
def test_limits_are_nested_and_disjoint_from_the_held_out_part(count: int, seed: int) -> None:
    data = make([0, 1, 2] * count)
    rest, out = data.split(0.2, seed=seed)
    few, more = rest.limit(2, seed=seed), rest.limit(3, seed=seed)
    assert set(shown(few)) < set(shown(more)) <= set(shown(rest))
    assert not set(shown(more)) & set(shown(out))
    assert few.counts() == {"a": 2, "b": 2, "c": 2}


def test_the_split_never_changes() -> None:
    """Pinned: results of earlier versions stay comparable."""
    rest, out = make([0, 1] * 10, ("a", "b")).split(0.3, seed=5)
    assert shown(out) == [0, 1, 6, 9, 11, 12]
    assert shown(rest.limit(2, seed=5)) == [7, 8, 13, 18]


def test_another_seed_gives_another_split() -> None:
    data = make([0] * 50, ("a",))
    assert shown(data.split(0.5, seed=0)[1]) != shown(data.split(0.5, seed=1)[1])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_bad_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        make([0, 1]).split(fraction)


@pytest.mark.parametrize("per_class", [0, 3])
def test_bad_limits_are_refused(per_class: int) -> None:
    with pytest.raises(OptionError, match=f"expected 1 to 1 images a class, got {per_class}"):
        make([0, 1, 1, 2]).limit(per_class)


def test_resizing_keeps_the_index() -> None:
    data = make([0, 1, 2]).resize((2, 3))
    assert data.shape == (2, 3, 1)
    assert data.index.tolist() == [0, 1, 2]


def test_images_are_contiguous_in_any_layout_of_the_file() -> None:
    """If images were stored plane by plane, each batch would need a copy of all of them."""
    planes = np.arange(4 * 3 * 2 * 5, dtype=np.uint8).reshape(4, 3, 2, 5)
    data = Dataset(planes.transpose(0, 2, 3, 1), np.zeros(4, np.int64))
    assert data.images.flags.c_contiguous
    assert data.take(np.array([2, 0])).images.flags.c_contiguous
    assert np.array_equal(data.images[1, :, :, 2], planes[1, 2])


def pictures(count: int = 30, side: int = 8) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    return Dataset(images, np.arange(count) % 3, classes=("a", "b", "c"), name="pictures")


PARTS = {
    "whole": lambda data: data,
    "classes": lambda data: data.keep_classes(["c", "a"]),
    "limit": lambda data: data.limit(4, seed=1),
    "rest": lambda data: data.split(0.3)[0],
    "held out": lambda data: data.split(0.3)[1].keep_classes(["b"]),
    "again": lambda data: data.resize((5, 6)),
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("most", [0, 1 << 30])
def test_parts_of_a_resized_set_are_resized_parts(
    part: Callable[[Dataset], Dataset], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that are resized on use equal, bit for bit, those that were resized all at once."""
    monkeypatch.setattr(dataset, "_HELD", most)
    expected = part(replace(pictures(), images=resize_bilinear(pictures().images, (20, 11))))
    found = part(pictures().resize((20, 11)))
    assert repr(found) == repr(expected)
    assert (found.shape, found.dtype, len(found)) == (expected.shape, expected.dtype, len(expected))
    chosen = np.array([2, 0, 2])
    np.testing.assert_array_equal(found.batch(chosen), expected.images[chosen])
    for name in ("labels", "index", "images"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(found.batch(slice(2)), expected.images[:2])
    assert not found.images.flags.writeable


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_a_loader_gives_the_same_batches_of_images_resized_on_use(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_HELD", most)
    before = Loader(replace(pictures(), images=resize_bilinear(pictures().images, (20, 11))), batch_size=8)
    augment = Compose([Flip(), Normalize()])
    found = pictures().resize((20, 11))
    assert augment.fit(found).config() == augment.fit(before.dataset).config()
    for (images, labels), (expected, numbers) in zip(Loader(found, batch_size=8), before, strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, numbers)


def test_images_that_are_not_used_are_not_resized() -> None:
    """Only a batch, or a few images of each class, is resized; all 3,000 would take 460 MB in AlexNet's size."""
    data = pictures(3000)
    tracemalloc.start()
    resized = data.resize((227, 227))
    next(iter(Loader(data.resize((800, 800)), batch_size=2, workers=0)))
    assert resized.limit(10).images.shape == (30, 227, 227, 3)
    assert resized.batch(np.arange(8)).shape == (8, 227, 227, 3)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_sequences_and_rows_are_examples_too() -> None:
    numbers = Dataset(np.array([[3, 1, 0], [2, 2, 5]], np.int8), np.array([0, 1]), name="numbers")
    assert repr(numbers) == "Dataset(numbers: 2 sequences 3 int64, 2 classes)"
    assert numbers.take(np.array([1])).images.tolist() == [[2, 2, 5]]
    rows = Dataset(np.array([[300.0, -4.0]], np.float32), np.array([0]), name="table")
    assert (rows.noun, rows.shape) == ("rows", (2,))
    for data in (numbers, rows):
        with pytest.raises(OptionError, match=f"resize: expected images, got {data.noun}"):
            data.resize((2, 2))
        assert len(Loader(data, batch_size=2)) == 1
    (batch, labels), *_ = Loader(numbers, batch_size=2, shuffle=False)
    assert (batch.dtype, batch.tolist(), labels.tolist()) == (np.int64, [[3, 1, 0], [2, 2, 5]], [0, 1])


@pytest.mark.parametrize(
    ("sequences", "length", "error", "message"),
    [
        ([[1, 2, 3]], 2, ShapeError, "expected at most 2 numbers in a sequence, got 3"),
        ([[1.5]], None, DTypeError, "expected integers, got float64 in sequence 0"),
        ([[1], [-2]], None, OptionError, "expected numbers from 0, got -2 in sequence 1"),
        ([[[1]]], None, ShapeError, r"got shape \(1, 1\) as number 0"),
        ([3], None, ShapeError, r"got shape \(\) as number 0"),
    ],
)
def test_wrong_sequences_are_refused(sequences: Any, length: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pad_sequences(sequences, length)


@given(st.lists(st.lists(st.integers(1, 99), max_size=5), max_size=4), st.integers(5, 7))
def test_padded_sequences_are_restored(sequences: list[list[int]], length: int) -> None:
    padded = pad_sequences(sequences, length)
    assert padded.shape == (len(sequences), length)
    assert [[n for n in row if n] for row in padded.tolist()] == sequences
    np.testing.assert_array_equal(pad_sequences(padded, length), padded)
