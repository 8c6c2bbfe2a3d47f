"""Each augmentation is compared with plain loops; some properties are tested for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tinygrad_lab.data import (
    Augmentation,
    Brightness,
    CenterCrop,
    ChannelShift,
    Compose,
    Contrast,
    Cutout,
    Dataset,
    Flip,
    Geometric,
    Mixup,
    Normalize,
    PCAColor,
    RandomCrop,
    Rotation,
    Shift,
    Zoom,
)
from tinygrad_lab.data.augment.color import color_statistics
from tinygrad_lab.errors import ConfigError, OptionError, PluginError
from tinygrad_lab.registry import augmentations

SEEDS = st.integers(0, 2**32)
Array = np.ndarray[Any, Any]


def made_images(seed: int = 0, count: int = 6, height: int = 8, width: int = 9, channels: int = 3) -> Array:
    return np.random.default_rng(seed).random((count, height, width, channels), np.float32)


def made_data(seed: int = 0) -> Dataset:
    pixels = np.random.default_rng(seed).integers(0, 256, (2500, 3, 2, 3), np.uint8)
    pixels[..., 1] = pixels[..., 0] // 2 + 3
    return Dataset(pixels, np.arange(2500) % 4)


ALL: dict[str, Augmentation] = {
    "brightness": Brightness(),
    "center_crop": CenterCrop(padding=1),
    "channel_shift": ChannelShift(),
    "contrast": Contrast(),
    "cutout": Cutout(size=3),
    "flip": Flip(vertical=0.5),
    "mixup": Mixup(classes=10),
    "normalize": Normalize().fit(made_data()),
    "pca_color": PCAColor().fit(made_data()),
    "random_crop": RandomCrop(padding=2),
    "rotation": Rotation(),
    "shift": Shift(),
    "zoom": Zoom(),
}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_registered_augmentation_is_tested() -> None:
    of_targets = {"standardize_targets"}  # which changes no image; see tests/train/test_regression.py
    assert {name for name in augmentations if "." not in name} == set(ALL) | of_targets
    assert all(type(step) is augmentations[name] for name, step in ALL.items())


@pytest.mark.parametrize("step", ALL.values(), ids=ALL)
class TestAll:
    def test_the_same_generator_gives_the_same_bits(self, step: Augmentation) -> None:
        images, labels = made_images(), np.arange(6)
        one, other, third = (step(images, labels, rng=generator(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert step.random == bool((one[0] != third[0]).any())

    def test_arguments_are_not_written(self, step: Augmentation) -> None:
        images, labels = made_images(), np.arange(6)
        before = images.copy()
        images.flags.writeable = labels.flags.writeable = False
        out, _ = step(images, labels, rng=generator())
        np.testing.assert_array_equal(images, before)
        assert not np.shares_memory(out, images)

    def test_results_are_float32(self, step: Augmentation) -> None:
        out, labels = step(made_images(), np.arange(6), rng=generator())
        assert out.dtype == np.float32
        assert labels.dtype == (np.float32 if isinstance(step, Mixup) else np.int64)
        assert len(out) == len(labels) == 6

    def test_brightness_stays_between_0_and_1(self, step: Augmentation) -> None:
        if not isinstance(step, Normalize):
            out, _ = step(made_images(count=50), np.arange(50) % 10, rng=generator())
            assert out.min() >= 0
            assert out.max() <= 1 + 1e-6

    def test_an_empty_batch(self, step: Augmentation) -> None:
        out, labels = step(made_images(count=0), np.arange(0), rng=generator())
        assert len(out) == len(labels) == 0

    def test_the_configuration_rebuilds_it(self, step: Augmentation) -> None:
        pipeline = Compose([step])
        assert Compose.from_config(pipeline.config()).steps == pipeline.steps


@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_flip(seed: int, horizontal: float, vertical: float) -> None:
    images = made_images(seed % 7)
    found = Flip(horizontal=horizontal, vertical=vertical).change(images, rng=generator(seed))
    draws = generator(seed).random((6, 2))
    for image, out, (v, h) in zip(images, found, draws, strict=True):
        image = image[::-1] if v < vertical else image
        np.testing.assert_array_equal(out, image[:, ::-1] if h < horizontal else image)


@given(SEEDS, st.integers(0, 3), st.integers(1, 8), st.integers(1, 9), st.sampled_from(["zero", "edge", "reflect"]))
def test_random_crop(seed: int, padding: int, height: int, width: int, fill: Any) -> None:
    images = made_images(seed % 7)
    found = RandomCrop(padding=padding, size=(height, width), fill=fill).change(images, rng=generator(seed))
    mode = {"zero": "constant", "edge": "edge", "reflect": "reflect"}[fill]
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=mode)
    room = (8 + 2 * padding - height, 9 + 2 * padding - width)
    places = generator(seed).integers(0, room, (6, 2), endpoint=True)
    assert found.shape == (6, height, width, 3)
    for image, out, (top, left) in zip(padded, found, places, strict=True):
        np.testing.assert_array_equal(out, image[top : top + height, left : left + width])


def test_random_crop_reaches_every_position() -> None:
    """All 25 windows of an image padded by 2 occur about equally often: chi-squared, 24 degrees of freedom."""
    images = np.zeros((5000, 3, 3, 1), np.float32)
    images[:, 1, 1] = 1
    found = RandomCrop(padding=2).change(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))), rng=generator())
    counts = found.sum(axis=(0, 3))[1:6, 1:6]
    assert counts.sum() == 5000
    assert ((counts - 200) ** 2 / 200).sum() < 60


def test_center_crop() -> None:
    images = made_images()
    np.testing.assert_array_equal(CenterCrop(size=(4, 4)).change(images, rng=generator()), images[:, 2:6, 2:6])
    padded = CenterCrop(padding=2).change(images, rng=generator())
    np.testing.assert_array_equal(padded, np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))))


def test_a_window_larger_than_the_image_is_refused() -> None:
    with pytest.raises(OptionError, match="a window of at most 10x11 for images of 8x9 padded by 1, got 12x4"):
        RandomCrop(padding=1, size=(12, 4)).change(made_images(), rng=generator())


@given(SEEDS, st.floats(0, 180))
def test_rotation(seed: int, degrees: float) -> None:
    """SciPy also rotates counterclockwise about the center."""
    images = made_images(seed % 7)
    found = Rotation(degrees=degrees, fill="zero").change(images, rng=generator(seed))
    angles = generator(seed).uniform(-np.deg2rad(degrees), np.deg2rad(degrees), 6)
    draws = generator(seed).uniform(-degrees, degrees, 6)
    np.testing.assert_allclose(np.deg2rad(draws), angles)
    for image, out, angle in zip(images, found, draws, strict=True):
        expected = ndimage.rotate(image, angle, axes=(0, 1), reshape=False, order=1, mode="grid-constant")
        np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_quarter_turn_is_counterclockwise() -> None:
    image = made_images(count=1, height=5, width=5)

    class Quarter:
        """A generator that always draws the largest number."""

        def uniform(self, low: float, high: float, size: int) -> Array:
            return np.full(size, high)

    found = Rotation(degrees=90).change(image, rng=Quarter())  # type: ignore[arg-type]  # a stand-in
    np.testing.assert_allclose(found[0], np.rot90(image[0]), atol=1e-5)


@given(SEEDS)
def test_shift(seed: int) -> None:
    images = made_images(seed % 7)
    found = Shift(height=0.5, width=0.25, fill="zero").change(images, rng=generator(seed))
    moves = generator(seed).uniform((-4, -2.25), (4, 2.25), (6, 2))
    for image, out, (down, right) in zip(images, found, moves, strict=True):
        expected = ndimage.shift(image, (-down, -right, 0), order=1, mode="grid-constant")
        np.testing.assert_allclose(out, expected, atol=1e-5)


@given(SEEDS)
def test_zoom(seed: int) -> None:
    images = made_images(seed % 7)
    found = Zoom(amount=0.5, fill="edge").change(images, rng=generator(seed))
    for image, out, zoom in zip(images, found, generator(seed).uniform(0.5, 1.5, 6), strict=True):
        center = np.array([3.5, 4.0, 0])
        matrix = np.diag([1 / zoom, 1 / zoom, 1])
        offset = center - matrix @ center
        expected = ndimage.affine_transform(image, matrix, offset, order=1, mode="nearest")
        np.testing.assert_allclose(out, expected, atol=1e-5)


def test_channel_shift() -> None:
    images = made_images()
    found = ChannelShift(amount=0.5).change(images, rng=generator(3))
    shift = generator(3).uniform(-0.5, 0.5, (6, 3))
    for n in range(6):
        for c in range(3):
            np.testing.assert_allclose(found[n, ..., c], (images[n, ..., c] + shift[n, c]).clip(0, 1), atol=1e-6)


def test_brightness_and_contrast() -> None:
    images = made_images()
    factors = generator(3).uniform(0.5, 1.5, 6)
    bright = Brightness(amount=0.5).change(images, rng=generator(3))
    contrast = Contrast(amount=0.5).change(images, rng=generator(3))
    for n, factor in enumerate(factors):
        np.testing.assert_allclose(bright[n], (images[n] * factor).clip(0, 1), atol=1e-6)
        mean = images[n].mean(axis=(0, 1))
        np.testing.assert_allclose(contrast[n], (mean + factor * (images[n] - mean)).clip(0, 1), atol=1e-6)


def test_color_statistics_match_numpy() -> None:
    data = made_data()
    pixels = data.images.reshape(-1, 3) / 255
    mean, covariance = color_statistics(data)
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(pixels, rowvar=False, bias=True), atol=1e-12)
    as_floats = Dataset((data.images / 255).astype(np.float32), data.labels)
    np.testing.assert_allclose(color_statistics(as_floats)[1], covariance, atol=1e-7)


def test_pca_color_spreads_along_the_principal_colors() -> None:
    """The covariance of the added noise is P diag((std * eigenvalue)^2) P'."""
    step = PCAColor(std=0.5).fit(made_data())
    assert step.eigenvalues is not None
    assert step.fit(Dataset(np.zeros((1, 1, 1, 3), np.uint8), np.zeros(1, int))) is step, "fitted steps stay"
    images = np.full((40_000, 1, 1, 3), 0.5, np.float32)
    noise = step.change(images, rng=generator()).reshape(-1, 3).astype(float) - 0.5
    vectors = np.array(step.eigenvectors)
    expected = vectors @ np.diag((0.5 * np.array(step.eigenvalues)) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(noise, rowvar=False), expected, atol=0.03 * expected.max())
    one = step.change(made_images(count=1), rng=generator(1)) - made_images(count=1)
    inner = (made_images(count=1) > 0.2) & (made_images(count=1) < 0.8)
    assert np.ptp(one[..., 0][inner[..., 0]]) < 1e-6, "one color for a whole image"


def test_normalize() -> None:
    data = made_data()
    step = Normalize().fit(data)
    out = step.change((data.images / 255).astype(np.float32), rng=generator())
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2)), 1, atol=1e-4)
    flat = Normalize().fit(Dataset(np.full((2, 1, 1, 1), 51, np.uint8), np.zeros(2, int)))
    assert flat == Normalize(mean=(0.2,), std=(1.0,)), "a channel that never varies is only shifted"


@given(SEEDS, st.integers(1, 12))
def test_cutout(seed: int, size: int) -> None:
    images = made_images(seed % 7) + 1
    found = Cutout(size=size, value=-1).change(images, rng=generator(seed))
    for image, out, (row, column) in zip(images, found, generator(seed).integers(0, (8, 9), (6, 2)), strict=True):
        for i in range(8):
            for j in range(9):
                covered = 0 <= i - row + size // 2 < size and 0 <= j - column + size // 2 < size
                np.testing.assert_array_equal(out[i, j], -1 if covered else image[i, j])


@given(SEEDS, st.floats(0.1, 4))
def test_mixup(seed: int, alpha: float) -> None:
    images, labels = made_images(seed % 7), np.array([0, 1, 2, 0, 1, 2])
    mixed, probabilities = Mixup(classes=4, alpha=alpha)(images, labels, rng=generator(seed))
    rng = generator(seed)
    weight, other = rng.beta(alpha, alpha, 6), rng.permutation(6)
    for n in range(6):
        expected = weight[n] * images[n] + (1 - weight[n]) * images[other[n]]
        np.testing.assert_allclose(mixed[n], expected, atol=1e-6)
        label = np.zeros(4)
        label[labels[n]] += weight[n]
        label[labels[other[n]]] += 1 - weight[n]
        np.testing.assert_allclose(probabilities[n], label, atol=1e-6)
    again = Mixup(classes=4)(mixed, probabilities, rng=generator(seed))[1]
    np.testing.assert_allclose(again.sum(axis=1), 1, atol=1e-5)


def test_labels_must_have_a_class() -> None:
    with pytest.raises(OptionError, match="Mixup: expected labels below 2 classes, got up to 2"):
        Mixup(classes=2)(made_images(), np.array([0, 1, 2, 0, 1, 2]), rng=generator())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(horizontal=1.5), "Flip: expected horizontal to be a probability, got 1.5"),
        (lambda: RandomCrop(padding=-1), "RandomCrop: expected padding of at least 0, got -1"),
        (lambda: Rotation(fill="wrap"), "Rotation: expected fill to be one of .*, got 'wrap'"),
        (lambda: Rotation(degrees=-1.0), "Rotation: expected degrees from 0 to 360"),
        (lambda: Shift(height=-0.1), "Shift: expected height from 0 to 1"),
        (lambda: Shift(width=float("nan")), "Shift: expected width from 0 to 1"),
        (lambda: ChannelShift(amount=-0.1), "ChannelShift: expected amount of at least 0"),
        (lambda: Brightness(amount=-0.1), "Brightness: expected amount of at least 0"),
        (lambda: Contrast(amount=-0.1), "Contrast: expected amount of at least 0"),
        (lambda: PCAColor(std=-0.1), "PCAColor: expected std of at least 0"),
        (lambda: Zoom(amount=1.0), "Zoom: expected amount from 0 to below 1, got 1.0"),
        (lambda: Mixup(classes=2, alpha=0.0), "Mixup: expected alpha above 0"),
        (lambda: Mixup(classes=0), "Mixup: expected classes of at least 1"),
        (lambda: Cutout(size=0), "Cutout: expected size of at least 1, got 0"),
        (lambda: Normalize(mean=(0.5,)), "Normalize: expected std to be given if and only if mean is"),
        (lambda: Normalize(mean=(0.5,), std=(0.0,)), "Normalize: expected std above 0"),
        (lambda: Normalize(mean=(0.5,), std=(1.0, 1.0)), "Normalize: expected std for 1 channels"),
        (lambda: Normalize().change(made_images(), rng=generator()), "use the result of fit"),
        (
            lambda: Normalize(mean=(0.5,), std=(1,)).change(made_images(), rng=generator()),
            "images of 1 channels, got 3",
        ),
        (lambda: PCAColor().change(made_images(), rng=generator()), "use the result of fit"),
        (lambda: Compose([Normalize(), Brightness()]), "expected Brightness before Normalize"),
        (lambda: Normalize().fit(made_data().take([])), "expected images to measure, got none"),
    ],
)
def test_bad_options_are_refused(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


class TestCompose:
    def test_steps_run_in_order(self) -> None:
        images, labels = made_images(), np.arange(6)
        steps = [ChannelShift(), Cutout(size=3), Normalize(mean=(0.5,) * 3, std=(0.2,) * 3), Mixup(classes=6)]
        found = Compose(steps)(images, labels, rng=generator(1))
        rng = generator(1)
        for step in steps:
            images, labels = step(images, labels, rng=rng)
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)

    def test_consecutive_geometric_steps_are_one_warp(self) -> None:
        """A shift out of the image and back loses no pixels; two separate warps would lose some."""

        @dataclass(frozen=True, kw_only=True)
        class Push(Geometric):
            by: float

            def maps(self, count: int, size: tuple[int, int], *, rng: np.random.Generator) -> Array:
                maps = np.tile(np.eye(2, 3), (count, 1, 1))
                maps[:, 0, 2] = self.by
                return maps

        images = made_images()
        there_and_back = Compose([Push(by=6), Push(by=-6)])
        np.testing.assert_array_equal(there_and_back(images, np.arange(6), rng=generator())[0], images)

    def test_one_warp_equals_geometric_steps_in_order(self) -> None:
        """Flip, crop and flip in one warp give the same image as one after another."""
        images = made_images()
        steps = [Flip(), RandomCrop(padding=2, size=(5, 4)), Flip(vertical=1.0)]
        together = Compose(steps)(images, np.arange(6), rng=generator(4))[0]
        rng, apart = generator(4), images
        for step in steps:
            apart = step.change(apart, rng=rng)
        np.testing.assert_array_equal(together, apart)

    def test_steps_with_different_fill_are_separate_warps(self) -> None:
        images = made_images()
        steps = [RandomCrop(padding=3, fill="edge"), Flip(), RandomCrop(padding=3, fill="zero")]
        together = Compose(steps)(images, np.arange(6), rng=generator(4))[0]
        rng, apart = generator(4), images
        for step in steps:
            apart = step.change(apart, rng=rng)
        np.testing.assert_array_equal(together, apart)

    def test_evaluation_has_no_random_steps(self) -> None:
        pipeline = Compose([CenterCrop(padding=2), RandomCrop(), Flip(), ChannelShift(), Normalize()]).fit(made_data())
        evaluation = pipeline.for_evaluation()
        assert [type(step) for step in evaluation.steps] == [CenterCrop, Normalize]
        normalize = evaluation.steps[1]
        assert isinstance(normalize, Normalize)
        assert normalize.mean is not None, "the fitted mean is kept"

    def test_an_empty_pipeline_changes_nothing(self) -> None:
        images = made_images()
        np.testing.assert_array_equal(Compose()(images, np.arange(6), rng=generator())[0], images)

    def test_configurations_are_plain_values(self) -> None:
        assert Compose([Flip(), RandomCrop(padding=4)]).config() == [
            {"name": "flip", "horizontal": 0.5, "vertical": 0.0},
            {"name": "random_crop", "fill": "zero", "padding": 4, "size": None},
        ]
        from_toml = Compose.from_config([{"name": "random_crop", "size": [24, 24]}])
        assert from_toml.steps == (RandomCrop(size=(24, 24)),)

    def test_bad_configurations_are_refused(self) -> None:
        with pytest.raises(
            ConfigError, match=r"option of 'flip': expected a known name, got 'chance'; there are horizontal, vert"
        ):
            Compose.from_config([{"name": "flip", "chance": 1}])
        with pytest.raises(ConfigError, match="augmentations: expected a table with the name of a plugin, got"):
            Compose.from_config([{"horizontal": 1}])
        with pytest.raises(PluginError, match="rotate"):
            Compose.from_config([{"name": "rotate"}])


def test_mixup_refuses_a_data_set_of_more_classes() -> None:
    data = Dataset(np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 2, 7]), name="made")
    with pytest.raises(OptionError, match="above the largest label, 7"):
        Mixup(classes=4).fit(data)
    assert Mixup(classes=8).fit(data) == Mixup(classes=8)


def test_mixup_takes_the_number_of_classes_from_the_training_images() -> None:
    data = Dataset(np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 1]), classes=("cat", "dog", "eel"))
    assert Mixup(alpha=0.4).fit(data) == Mixup(alpha=0.4, classes=3)
    with pytest.raises(OptionError, match=r"Mixup: expected the number of classes, got none; give it, or use"):
        Mixup()(made_images(), np.array([0, 1, 2, 0, 1, 2]), rng=generator())
