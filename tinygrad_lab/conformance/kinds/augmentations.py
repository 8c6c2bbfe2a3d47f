"""Checks of augmentations: their images and labels must depend only on the given ones and on random numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.backend import Array
from tinygrad_lab.conformance.cases.case import Case, Input
from tinygrad_lab.conformance.cases.plugins import AugmentationCases
from tinygrad_lab.conformance.checks import conclude
from tinygrad_lab.conformance.kinds.kind import Kind, accepted, drawn_options, rng_of, without_options
from tinygrad_lab.conformance.runner import Run
from tinygrad_lab.conformance.trials.options import Keywords
from tinygrad_lab.conformance.trials.results import LayerResult
from tinygrad_lab.conformance.trials.subject import read_only
from tinygrad_lab.conformance.trials.trial import BaseTrial
from tinygrad_lab.conformance.trials.verdict import Measure, Violation, agree, demand, demand_finite
from tinygrad_lab.data import Augmentation, Dataset, Loader
from tinygrad_lab.registry import augmentations

CLASSES = 5
COPIES = 6  # images of a batch that are alike
SEEDS = 16  # batches with different random numbers that are compared
ROUNDING = 1e-5  # of float32 brightness

Images = tuple[Array, Array]


class AugmentationTrial(BaseTrial):
    """An augmentation that was fitted, and a batch of images with labels.

    Parameters
    ----------
    make : callable
        The augmentation's class.
    case : Case
        The options, the shape of the images (N, H, W, C), and the seed.
    cases : AugmentationCases
        What the author states.
    """

    def __init__(self, make: Callable[..., Any], case: Case, cases: AugmentationCases) -> None:
        rng = rng_of(case, 1)
        shape = case.inputs[0].shape if case.inputs else (2, 4, 4, 1)
        super().__init__(case, [read_only(rng.random(shape, dtype=np.float32))])
        self.make, self.cases = make, cases
        self.images, self.labels = self.inputs[0], read_only(self.made_labels(shape[0]))
        pixels = rng.integers(0, 256, (2 * CLASSES, *shape[1:]), np.uint8)
        self.data = Dataset(pixels, self.made_labels(2 * CLASSES))
        self.augmentation = self.fitted(case.options)

    def made_labels(self, count: int) -> Array:
        """Return labels of images: classes, or two target numbers for each."""
        numbers = np.arange(count)
        if self.cases.targets:
            return np.stack([numbers * 3.0 + 100, numbers % CLASSES / 7], axis=1).astype(np.float32)
        return numbers % CLASSES

    def fitted(self, options: Any) -> Any:
        """Return an augmentation with the given options, fitted to the training images."""
        return self.make(**options).fit(self.data)

    @property
    def compared(self) -> int:
        """The number of pixels."""
        return int(self.images.size)

    def exercise(self) -> None:
        """Augment the batch."""
        self.augmented(self.images, self.labels)

    def augmented(self, images: Array, labels: Array, seed: int = 0, augmentation: Any = None) -> Images:
        """Return images and labels, augmented with the random numbers of a seed.

        Raises
        ------
        Violation
            The result is not a pair of arrays.
        """
        rng = np.random.default_rng([self.case.seed, 2, seed])
        found: Any = (augmentation or self.augmentation)(images, labels, rng=rng)
        pair = isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, np.ndarray) for part in found)
        demand(pair, f"expected a pair of arrays, images and labels, got {type(found).__name__}")
        return found[0], found[1]


def images(trial: AugmentationTrial) -> Measure:
    """The images are float32 and finite, within the stated range, and keep their number and channels."""
    found, _ = trial.augmented(trial.images, trial.labels)
    count, _, _, channels = trial.images.shape
    demand(
        found.ndim == 4 and found.shape[0] == count and found.shape[3] == channels,
        f"images {trial.images.shape}: expected {count} images (N, H, W, {channels}), got shape {found.shape}",
    )
    demand(
        found.dtype == np.float32,
        f"expected float32 images, got {found.dtype}; random numbers are float64: use .astype(np.float32)",
    )
    demand_finite("the augmented images", found)
    low, high = trial.cases.low, trial.cases.high
    for bound, worst, beyond in ((low, found.min(initial=1.0), -1), (high, found.max(initial=0.0), 1)):
        demand(
            bound is None or beyond * (worst - bound) <= ROUNDING,
            f"expected brightness from {low} to {high}, got {worst:.6g}; clip it, or state another range in the cases "
            "(AugmentationCases(low=None, high=None) if there is none)",
        )
    return Measure()


def sizes(trial: AugmentationTrial) -> Measure:
    """All batches have images of the same height and width, also a batch of one image."""
    shapes = {seed: trial.augmented(trial.images, trial.labels, seed)[0].shape[1:] for seed in range(4)}
    demand(len(set(shapes.values())) == 1, f"the size of the images depends on the random numbers: {shapes}")
    alone, labels = trial.augmented(trial.images[:1], trial.labels[:1])
    expected = (1, *shapes[0])
    demand(alone.shape == expected, f"a batch of one image: expected shape {expected}, got {alone.shape}")
    demand(labels.shape[:1] == (1,), f"a batch of one image: expected one label, got shape {labels.shape}")
    return Measure()


def nothing_mutated(trial: AugmentationTrial) -> Measure:
    """The given images and labels keep their values."""
    given, labels = trial.images.copy(), trial.labels.copy()
    before = given.tobytes(), labels.tobytes()
    try:
        trial.augmented(given, labels)
    except ValueError as error:
        raise Violation(f"it raises {error}") from error
    demand((given.tobytes(), labels.tobytes()) == before, "it writes into the given arrays; copy them first")
    return Measure()


def same(what: str, got: Images, expected: Images, why: str) -> None:
    """Compare images and labels, which must be equal to the bit.

    Raises
    ------
    Violation
        They differ. The message ends with the likely mistake.
    """
    for part, a, b in zip(("images", "labels"), got, expected, strict=True):
        same = a.shape == b.shape and a.tobytes() == b.tobytes()
        demand(same, f"{what}: expected the same {part}, got different ones; {why}")


def keyed(trial: AugmentationTrial) -> Measure:
    """The same random numbers give the same bits: in a second call, after other calls, and in a second object."""
    once = trial.augmented(trial.images, trial.labels)
    why = "draw all random numbers from the given rng, and keep nothing from call to call"
    same("a second call with the same random numbers", trial.augmented(trial.images, trial.labels), once, why)
    others = [trial.augmented(trial.images, trial.labels, seed)[0] for seed in range(1, SEEDS)]
    same("a call after others", trial.augmented(trial.images, trial.labels), once, why)
    second = trial.augmented(trial.images, trial.labels, augmentation=trial.fitted(trial.case.options))
    same("a second augmentation with the same options", second, once, why)
    varies = any(other.tobytes() != once[0].tobytes() for other in others)
    if not trial.augmentation.random:
        demand(not varies, "random is False, but the images depend on the random numbers: evaluation would be random")
    trial.varied = varies
    return Measure()


def each_image(trial: AugmentationTrial) -> Measure | None:
    """Each image of a batch has random numbers of its own."""
    if trial.cases.mixes:
        return None
    copies = np.repeat(trial.images[:1], COPIES, axis=0)
    labels = np.repeat(trial.labels[:1], COPIES, axis=0)
    batches = [trial.augmented(read_only(copies), labels, seed)[0] for seed in range(SEEDS)]
    if all(batch.tobytes() == batches[0].tobytes() for batch in batches):
        return None
    apart = any((batch != batch[:1]).any() for batch in batches)
    demand(apart, f"{COPIES} copies of an image in a batch always look alike: draw numbers of shape (len(images),)")
    return Measure()


def images_apart(trial: AugmentationTrial) -> Measure | None:
    """An image's result does not depend on the other images of its batch, unless the augmentation mixes images.

    Catches statistics of the batch in place of those of the image, and random numbers that depend on the pixels.
    """
    if trial.cases.mixes or len(trial.images) < 2:
        return None
    changed = np.array(trial.images)
    changed[1:] = 1 - changed[1:] ** 2
    found, _ = trial.augmented(read_only(changed), trial.labels)
    expected, _ = trial.augmented(trial.images, trial.labels)
    return agree("the first image, where the other images of the batch were changed", found[0], expected[0], ROUNDING)


def labels(trial: AugmentationTrial) -> Measure:
    """Labels are kept, or they are probabilities mixed in the proportions of the images; `in_units` restores targets.

    Each given image has a single brightness. So the brightness of a blend must be the mean of theirs, weighted by the
    probabilities of its label.
    """
    count = CLASSES
    if trial.cases.targets:
        _, found = trial.augmented(trial.images, trial.labels)
        demand(
            found.shape == trial.labels.shape and found.dtype == np.float32,
            f"expected float32 targets {trial.labels.shape}, got {found.dtype} {found.shape}",
        )
        back, expected = trial.augmentation.in_units(found), trial.labels
        return agree("the targets that in_units restores", back, expected, ROUNDING * (1 + float(abs(expected).max())))
    brightness = np.linspace(0.2, 0.8, count, dtype=np.float32) ** 2
    plain = read_only(np.broadcast_to(brightness[:, None, None, None], (count, *trial.images.shape[1:])).copy())
    given = read_only(np.arange(count))
    measures = []
    for seed in range(4):
        found, labels = trial.augmented(plain, given, seed)
        if not trial.cases.mixes:
            demand(labels.dtype.kind in "iu", f"expected the given labels, got {labels.dtype} of shape {labels.shape}")
            demand(labels.tolist() == given.tolist(), f"expected the given labels, got {labels.tolist()}")
            continue
        demand(
            labels.shape == (count, CLASSES),
            f"mixed labels: expected probabilities of shape {(count, CLASSES)}, got shape {labels.shape}; a label of a "
            "blend is a blend of one-hot rows",
        )
        total = labels.sum(axis=1)
        measures.append(agree("the sum of an image's probabilities", total, np.ones(count), ROUNDING))
        demand(labels.min() >= -ROUNDING, f"mixed labels: expected probabilities of 0 or more, got {labels.min():.6g}")
        shown = found.mean(axis=(1, 2, 3), dtype=float)
        what = "the brightness of a blend, against the blend of brightnesses in the proportions of its label"
        measures.append(agree(what, shown, labels.astype(float) @ brightness, 10 * ROUNDING))
    return Measure.worst(measures)


def identity(trial: AugmentationTrial) -> Measure | None:
    """With the options that set its strength to 0, the images do not change."""
    if trial.cases.identity is None:
        return None
    weakest = trial.fitted({**trial.case.options, **trial.cases.identity})
    found, _ = trial.augmented(trial.images, trial.labels, augmentation=weakest)
    what = f"the images, with strength 0 ({', '.join(f'{k}={v!r}' for k, v in trial.cases.identity.items())})"
    return agree(what, found, trial.images, ROUNDING)


def configuration(trial: AugmentationTrial) -> Measure:
    """`config()` has plain values, from which the same augmentation is built; `fit` leaves the original unchanged."""
    config = trial.augmentation.config()
    try:
        stored = json.loads(json.dumps(config))
    except TypeError as error:
        raise Violation(f"config(): expected plain values, got {config!r:.200}: {error}") from error
    built = trial.make(**stored)
    expected = trial.augmented(trial.images, trial.labels)
    what = "the augmentation built again from config()"
    same(what, trial.augmented(trial.images, trial.labels, augmentation=built), expected, "an option is missing in it")
    first = trial.make(**trial.case.options)
    before = repr(first)
    first.fit(trial.data)
    demand(
        repr(first) == before, f"fit(data) changed {before} to {first!r}; return a new augmentation: replace(self, ...)"
    )
    return Measure()


def loader(trial: AugmentationTrial) -> Measure:
    """A `Loader` gives the same batches with and without workers, and after a jump to a position as batch by batch."""
    demand(
        isinstance(trial.augmentation, Augmentation),
        f"expected a subclass of tinygrad_lab.data.Augmentation, got {type(trial.augmentation).__name__}",
    )

    def batches(workers: int, first: int = 0) -> list[Images]:
        made = Loader(
            trial.data, batch_size=4, seed=trial.case.seed % 1000, augment=[trial.augmentation], workers=workers
        )
        made.seek(3, first)
        return list(made)

    alone = batches(0)
    why = "the batch must depend on (seed, epoch, batch) alone: draw from the given rng, and keep nothing in the object"
    for what, got, expected in (
        ("a batch made by two workers", batches(2), alone),
        ("a batch after a jump to it", batches(0, 1), alone[1:]),
    ):
        for one, other in zip(got, expected, strict=True):
            same(what, one, other, why)
    return Measure()


def reference(trial: AugmentationTrial) -> Measure | None:
    """The first image, augmented alone, is that of the author's reference."""
    if trial.cases.reference is None:
        return None
    found, _ = trial.augmented(trial.images[:1], trial.labels[:1])
    rng = np.random.default_rng([trial.case.seed, 2, 0])
    expected = np.asarray(trial.cases.reference(trial.augmentation, trial.images[0], rng))
    return agree("the image, against the reference", found[0], expected, 10 * ROUNDING)


PROPERTIES: dict[str, Callable[[AugmentationTrial], Measure | None]] = {
    p.__name__: p
    for p in (
        images,
        sizes,
        nothing_mutated,
        keyed,
        each_image,
        images_apart,
        labels,
        identity,
        configuration,
        loader,
        reference,
    )
}


def varies(run: Run[AugmentationTrial]) -> int:
    """A random augmentation gives other images for other random numbers, in at least one case."""
    chance = any(trial.augmentation.random for trial in run.kept)
    demand(
        run.varied or not chance,
        "in no case do the images depend on the random numbers: set random = False, or draw stronger options",
    )
    return len(run.kept)


def strategy(make: Any, cases: AugmentationCases) -> Any:
    """Return a strategy of cases: options, and a small batch of images of any size."""
    options = accepted(make, drawn_options(make, cases), cases)
    shapes = st.tuples(st.integers(1, 4), st.integers(4, 9), st.integers(4, 9), st.sampled_from((1, 3)))
    return st.builds(lambda chosen, shape: Case(options=chosen, inputs=(Input(shape, 0.0, 1.0),)), options, shapes)


AUGMENTATION = Kind(
    "augmentation",
    augmentations,
    AugmentationCases,
    strategy,
    without_options(AugmentationTrial),
    PROPERTIES,
    {"varies": varies},
)


def check_augmentation(augmentation: Any, cases: Any = None, **options: Unpack[Keywords]) -> LayerResult:
    """Check an augmentation: its images and labels must depend only on the given ones and on random numbers.

    Parameters
    ----------
    augmentation : str or type
        Its registered name, or its class.
    cases : AugmentationCases or Hypothesis strategy of dict
        Its cases, or a strategy of its options alone. By default the cases that its author registered; if there are
        none, options are drawn according to the constructor's annotations.
    **options
        As in `check_layer`.

    Raises
    ------
    NonconformanceError
        A property does not hold.

    Examples
    --------
    >>> check_augmentation("flip", examples=5).passed
    True
    """
    return conclude(AUGMENTATION.inspect(augmentation, cases, **options))
