"""Cases of the built-in plugins other than layers: their options, ranges and references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import BadInput
from tinygrad_lab.conformance.cases.plugins import AugmentationCases, DataCases, MetricCases, ScheduleCases
from tinygrad_lab.errors import OptionError

LENGTHS = st.sampled_from((0.5, 3, 7.25, 90))
FACTORS = st.sampled_from((0.1, 0.5, 0.9, 1.0))
SHARES = st.sampled_from((0.0, 0.1, 0.5, 1.0))


def _refused(match: str, **options: Any) -> BadInput:
    """Return options that are refused, with a part of the message."""
    return BadInput(options=options, error=OptionError, match=match)


# --------------------------------------------------------------------------------------------------------- schedules


def falls(schedule: Any, t: float) -> float:
    """Return the product of a factor for the position `start` and one for each whole interval after it."""
    factor, fall = 1.0, schedule.start
    for _ in range(100_000):
        if t < fall or factor < 1e-300:
            break
        factor *= schedule.factor
        if schedule.factor == 1:
            break
        fall += schedule.interval
    return factor


def between(a: float, b: float, share: float) -> float:
    """Return the value on half a cosine wave from a to b."""
    return (a + b) / 2 + (a - b) / 2 * math.cos(math.pi * share)


def one_cycle_factor(schedule: Any, t: float) -> float:
    """Return the factor of one cycle: up to the top, then down, and then constant."""
    top = schedule.rise * schedule.length
    if t < top:
        return between(schedule.start, 1.0, t / top)
    return between(1.0, schedule.final, min(1.0, (t - top) / (schedule.length - top)))


constant = ScheduleCases(reference=lambda schedule, t: 1.0)

step = ScheduleCases(
    options=st.fixed_dictionaries({"start": LENGTHS, "interval": st.sampled_from((1, 2.5, 20)), "factor": FACTORS}),
    reference=falls,
    bad_inputs=(
        _refused("interval above 0", start=0, interval=0, factor=0.5),
        _refused("factor above 0", start=0, interval=1, factor=0.0),
    ),
)

multi_step = ScheduleCases(
    options=st.fixed_dictionaries(
        {"milestones": st.lists(st.sampled_from((1, 2, 5.5, 30)), unique=True).map(sorted), "factor": FACTORS}
    ),
    reference=lambda schedule, t: math.prod(schedule.factor for m in schedule.milestones if m <= t),
    bad_inputs=(_refused("increasing milestones", milestones=(2, 1)),),
)

exponential = ScheduleCases(
    options=st.fixed_dictionaries({"factor": FACTORS}),
    reference=lambda schedule, t: math.exp(t * math.log(schedule.factor)),
    bad_inputs=(_refused("factor above 0", factor=-0.5),),
)

cosine = ScheduleCases(
    options=st.fixed_dictionaries({"length": LENGTHS, "final": SHARES}),
    reference=lambda schedule, t: between(1.0, schedule.final, min(1.0, t / schedule.length)),
    bad_inputs=(_refused("length above 0", length=0), _refused("final of 0 or more", length=1, final=-0.1)),
)

one_cycle = ScheduleCases(
    options=st.fixed_dictionaries(
        {"length": LENGTHS, "rise": st.sampled_from((0.1, 0.3, 0.9)), "start": SHARES, "final": SHARES}
    ),
    reference=one_cycle_factor,
    bad_inputs=(_refused("rise between 0 and 1", length=5, rise=1.0),),
)


def warmed_up(schedule: Any, t: float) -> float:
    """Return the factor on the straight line, or 1 after it: the schedule that follows is constant."""
    return 1.0 if t >= schedule.length else schedule.start * (1 - t / schedule.length) + t / schedule.length


warm_up = ScheduleCases(
    options=st.fixed_dictionaries({"length": st.sampled_from((0, 0.5, 5)), "start": SHARES}),
    reference=warmed_up,
    bad_inputs=(_refused("start of 0 or more", length=1, start=-1.0), _refused("a schedule", length=1, after=0.5)),
)

plateau = ScheduleCases(
    options=st.fixed_dictionaries(
        {
            "factor": st.sampled_from((0.1, 0.5)),
            "patience": st.integers(0, 3),
            "mode": st.sampled_from(("min", "max")),
            "cooldown": st.integers(0, 2),
            "lowest": st.sampled_from((0.0, 0.2)),
        }
    ),
    bad_inputs=(_refused("factor below 1", factor=1.0), _refused("mode 'min' or 'max'", mode="least")),
)

# ----------------------------------------------------------------------------------------------------- augmentations

AMOUNTS = st.fixed_dictionaries({"amount": st.sampled_from((0.0, 0.1, 0.5))})
FILLS = st.sampled_from(("zero", "edge", "reflect"))


def flipped(flip: Any, image: Any, rng: Any) -> Any:
    """Return the image with its rows, its columns or both in reverse order."""
    vertical, horizontal = rng.random((1, 2))[0] < (flip.vertical, flip.horizontal)
    return image[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def normalized(normalize: Any, image: Any, rng: Any) -> Any:
    """Return the image, one number at a time."""
    numbers = [(v - m) / s for v, m, s in zip(image.flat, cycle(normalize.mean), cycle(normalize.std), strict=False)]
    return np.reshape(numbers, image.shape)


brightness = contrast = channel_shift = AugmentationCases(
    options=AMOUNTS, identity={"amount": 0.0}, bad_inputs=(_refused("amount of at least 0", amount=-0.1),)
)
pca_color = AugmentationCases(
    options=st.fixed_dictionaries({"std": st.sampled_from((0.0, 0.1, 1.0))}),
    identity={"std": 0.0},
    bad_inputs=(_refused("std of at least 0", std=-0.1),),
)
normalize = AugmentationCases(
    options=st.just({}), low=None, high=None, reference=normalized, bad_inputs=(_refused("std", mean=(0.5,)),)
)
standardize_targets = AugmentationCases(
    options=st.just({}),
    targets=True,
    reference=lambda step, image, rng: image,
    bad_inputs=(_refused("std", mean=(0.5,)),),
)
cutout = AugmentationCases(
    options=st.fixed_dictionaries({"size": st.integers(1, 9), "value": st.sampled_from((0.0, 0.5))}),
    bad_inputs=(_refused("size of at least 1", size=0),),
)
mixup = AugmentationCases(
    options=st.fixed_dictionaries({"alpha": st.sampled_from((0.2, 1.0)), "classes": st.sampled_from((None, 5))}),
    mixes=True,
    bad_inputs=(_refused("alpha above 0", alpha=0.0),),
)
flip = AugmentationCases(
    options=st.fixed_dictionaries({"horizontal": SHARES, "vertical": SHARES}),
    identity={"horizontal": 0.0, "vertical": 0.0},
    reference=flipped,
    bad_inputs=(_refused("to be a probability", horizontal=1.5),),
)
random_crop = AugmentationCases(
    options=st.fixed_dictionaries(
        {"padding": st.integers(0, 3), "size": st.sampled_from((None, (4, 3))), "fill": FILLS}
    ),
    identity={"padding": 0, "size": None},
    bad_inputs=(_refused("padding of at least 0", padding=-1),),
)
center_crop = AugmentationCases(
    options=st.fixed_dictionaries(
        {"padding": st.integers(0, 2), "size": st.sampled_from((None, (4, 3))), "fill": FILLS}
    ),
    identity={"padding": 0, "size": None},
)
rotation = AugmentationCases(
    options=st.fixed_dictionaries({"degrees": st.sampled_from((0.0, 10.0, 180.0)), "fill": FILLS}),
    identity={"degrees": 0.0},
    bad_inputs=(_refused("degrees from 0 to 360", degrees=-1.0),),
)
shift = AugmentationCases(
    options=st.fixed_dictionaries({"height": SHARES, "width": SHARES, "fill": FILLS}),
    identity={"height": 0.0, "width": 0.0},
    bad_inputs=(_refused("height from 0 to 1", height=2.0),),
)
zoom = AugmentationCases(
    options=st.fixed_dictionaries({"amount": st.sampled_from((0.0, 0.1, 0.9)), "fill": FILLS}),
    identity={"amount": 0.0},
    bad_inputs=(_refused("amount from 0 to below 1", amount=1.0),),
)

# ----------------------------------------------------------------------------------------------------------- metrics


def hit(logits: Sequence[float], label: int, places: int) -> float:
    """Return 1 if fewer than `places` logits are larger than the label's, else 0."""
    return float(sum(z > logits[label] for z in logits) < places)


def brier_score(logits: Sequence[float], label: int) -> float:
    """Return the squared distance of the probabilities from 1 for the label and 0 for the other classes."""
    largest = max(logits)
    powers = [math.exp(z - largest) for z in logits]
    return sum((power / sum(powers) - (k == label)) ** 2 for k, power in enumerate(powers))


accuracy = MetricCases(reference=lambda logits, label: hit(logits, label, 1))
top5 = MetricCases(reference=lambda logits, label: hit(logits, label, 5))
brier = MetricCases(reference=brier_score)

# --------------------------------------------------------------------------------------------------------- data sets


def write_pictures(folder: Path) -> None:
    """Write a few random pictures of two classes: for training, validation and testing."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for name in ("cat", "dog"):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (6, 5, 3), np.uint8)).save(place / f"{number}.png")


image_folder = DataCases(write=write_pictures)
