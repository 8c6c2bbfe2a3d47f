"""Planted bugs of augmentations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.conformance.cases.plugins import AugmentationCases
from tinygrad_lab.data import Augmentation, Dataset

WEAKEST = AugmentationCases(identity={"amount": 0.0})
MIXES = AugmentationCases(mixes=True)


@dataclass(frozen=True, kw_only=True)
class Darken(Augmentation):
    """Multiply each image by a random factor from 1 - amount to 1; correct, and the base of wrong ones."""

    amount: float = 0.5

    def factors(self, images: Any, rng: Any) -> Any:
        return 1 - self.amount * rng.random((len(images), 1, 1, 1))

    def change(self, images: Any, *, rng: Any) -> Any:
        return (images * self.factors(images, rng)).astype(np.float32)


@plant_plugin("augmentation", "float64 images", by="images", says=".astype(np.float32)")
class Wide(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        return images * self.factors(images, rng)


@plant_plugin("augmentation", "brightness above 1", by="images", says="clip it")
class Brighten(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        return (images / self.factors(images, rng)).astype(np.float32)


@plant_plugin("augmentation", "an image without its channel axis", by="images", says="(N, H, W,")
class Gray(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        return super().change(images, rng=rng).mean(axis=3)


@plant_plugin("augmentation", "windows of random sizes", by="sizes", says="depends on the random numbers")
class AnyWindow(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        return images[:, : int(rng.integers(2, 5))]


@plant_plugin("augmentation", "a batch of one is squeezed", by="sizes", says="batch of one")
class Squeezed(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        found = super().change(images, rng=rng)
        return found[0] if len(found) == 1 else found


@plant_plugin("augmentation", "it writes into the given images", by="nothing_mutated", says="copy them first")
class InPlace(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        found = super().change(images, rng=rng)
        if images.flags.writeable:
            images[:] = found
        return found


@plant_plugin("augmentation", "a generator of its own, without a seed", by="keyed", says="from the given rng")
class OwnNumbers(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        return super().change(images, rng=np.random.default_rng())


@plant_plugin("augmentation", "it grows with each call", by="keyed", says="nothing from call to call")
class Growing(Darken):
    calls: ClassVar[list[int]] = []

    def change(self, images: Any, *, rng: Any) -> Any:
        self.calls.append(1)
        return images * np.float32(1 / (1 + len(self.calls)))


@plant_plugin("augmentation", "random numbers in evaluation", by="keyed", says="evaluation would be random")
class Unsteady(Darken):
    random: ClassVar[bool] = False


@plant_plugin("augmentation", "one random number for the whole batch", by="each_image", says="(len(images),)")
class OneForAll(Darken):
    def factors(self, images: Any, rng: Any) -> Any:
        return 1 - self.amount * rng.random()


@plant_plugin("augmentation", "contrast about the mean of the batch", by="images_apart")
class BatchContrast(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        mean = images.mean()
        return (mean + (images - mean) * self.factors(images, rng)).astype(np.float32)


@plant_plugin("augmentation", "random numbers for dark images only", by="images_apart")
class DarkOnly(Darken):
    def change(self, images: Any, *, rng: Any) -> Any:
        out = np.array(images)
        for i in reversed(range(len(images))):
            if images[i].mean() < 0.5:
                out[i] *= rng.random()
        return out


@plant_plugin("augmentation", "labels as floats", by="labels", says="expected the given labels")
class FloatLabels(Darken):
    def __call__(self, images: Any, labels: Any, *, rng: Any) -> Any:
        return self.change(images, rng=rng), labels.astype(np.float32)


@plant_plugin("augmentation", "strength 0 darkens", by="identity", says="strength 0", cases=WEAKEST)
class NeverOff(Darken):
    def factors(self, images: Any, rng: Any) -> Any:
        return 0.9 - 0.5 * self.amount * rng.random((len(images), 1, 1, 1))


@plant_plugin("augmentation", "an option is missing in config()", by="configuration", says="an option is missing")
class ShortConfig(Darken):
    def config(self) -> dict[str, Any]:
        return {}

    def factors(self, images: Any, rng: Any) -> Any:
        return super().factors(images, rng) * 0.5


@plant_plugin("augmentation", "fit changes the object", by="configuration", says="return a new augmentation")
class FitsItself(Darken):
    def fit(self, data: Dataset) -> Any:
        object.__setattr__(self, "amount", float(data.images.mean() / 255))
        return self


@plant_plugin("augmentation", "it is called random, and is not", by="varies", says="random = False")
class Steady(Darken):
    def factors(self, images: Any, rng: Any) -> Any:
        return 0.5


@dataclass(frozen=True, kw_only=True)
class Blend(Augmentation):
    """Blend each image with another one; correct, and the base of wrong ones."""

    def __call__(self, images: Any, labels: Any, *, rng: Any) -> Any:
        share = rng.random(len(images)).astype(np.float32)
        other = rng.permutation(len(images))
        hot = np.eye(5, dtype=np.float32)[labels]
        return self.blend(images, images[other], share), self.blend(hot, hot[other], self.share_of_labels(share))

    def share_of_labels(self, share: Any) -> Any:
        return share

    def blend(self, a: Any, b: Any, share: Any) -> Any:
        share = share.reshape(-1, *[1] * (a.ndim - 1))
        return share * a + (1 - share) * b


@plant_plugin("augmentation", "labels are not blended", by="labels", says="blend of one-hot rows", cases=MIXES)
class HardLabels(Blend):
    def __call__(self, images: Any, labels: Any, *, rng: Any) -> Any:
        return super().__call__(images, labels, rng=rng)[0], labels


@plant_plugin("augmentation", "the shares of labels are exchanged", by="labels", says="proportions", cases=MIXES)
class Exchanged(Blend):
    def share_of_labels(self, share: Any) -> Any:
        return 1 - share


@plant_plugin("augmentation", "probabilities that sum to less than 1", by="labels", says="the sum of", cases=MIXES)
class LostShare(Blend):
    def __call__(self, images: Any, labels: Any, *, rng: Any) -> Any:
        found, hot = super().__call__(images, labels, rng=rng)
        return found, 0.9 * hot


TWINS = ((Darken, WEAKEST), (Blend, MIXES))
