"""Planted bugs of models."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tests.planted_bugs.planting import plant_plugin
from tinygrad_lab.conformance.cases.plugins import ModelCases
from tinygrad_lab_layers import BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool2d, ReLU, Softmax

IMAGE = (6, 5, 2)
COUNTED = ModelCases(images=(IMAGE,), parameters=(({"image": IMAGE, "classes": 3}, 195),))
SMALL = ModelCases(images=(IMAGE,))


def parts(image: Any, classes: int, rng: Any) -> dict[str, Any]:
    """Return the layers of a small network."""
    rng = tgl.initializers.as_rng(rng)
    return {
        "conv": Conv2d(image[2], 8, kernel_size=3, rng=rng),
        "norm": BatchNorm(8, activation="relu"),
        "mean": GlobalAvgPool2d(),
        "output": Dense(8, classes, rng=rng),
    }


def small(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    """Return a small network; correct."""
    return tgl.Sequential(parts(image, classes, rng))


@plant_plugin("model", "a dictionary of layers", by="shapes", says="expected a Layer", cases=SMALL)
def unfinished(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return parts(image, classes, rng)


@plant_plugin(
    "model", "ten classes whatever the option says", by="shapes", says="expected logits of shape", cases=SMALL
)
def ten_classes(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return tgl.Sequential(parts(image, 10, rng))


class Announcing(tgl.Layer):
    """A layer around others, the base of wrong ones."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x)

    def output_shape(self, shape: Any) -> Any:
        return self.inner.output_shape(shape)

    def multiply_adds(self, shape: Any) -> int:
        return int(self.inner.multiply_adds(shape))


class WrongShape(Announcing):
    def output_shape(self, shape: Any) -> Any:
        return (*self.inner.output_shape(shape), 1)


@plant_plugin("model", "output_shape announces another axis", by="shapes", says="announces", cases=SMALL)
def announcing(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return WrongShape(small(image=image, classes=classes, rng=rng))


@plant_plugin("model", "a softmax at the end", by="logits", says="leave out the last softmax", cases=SMALL)
def probabilities(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return tgl.Sequential({**parts(image, classes, rng), "softmax": Softmax()})


class OneImage(Announcing):
    def multiply_adds(self, shape: Any) -> int:
        return int(self.inner.multiply_adds((1, *shape[1:])))


@plant_plugin("model", "the cost of one image for any batch", by="counts", says="expected double", cases=SMALL)
def cost_of_one(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return OneImage(small(image=image, classes=classes, rng=rng))


@plant_plugin("model", "rng is ignored", by="initial_weights", says="pass rng on", cases=SMALL)
def unseeded(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return small(image=image, classes=classes)


@plant_plugin("model", "a seed in place of rng", by="initial_weights", says="another rng gives", cases=SMALL)
def one_seed(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return small(image=image, classes=classes, rng=7)


@plant_plugin(
    "model", "each layer begins the same seed again", by="initial_weights", says="the same numbers", cases=SMALL
)
def same_draws(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    layers = {
        "flatten": Flatten(),
        "one": Dense(int(np.prod(image)), 16, activation="relu", rng=rng),
        "two": Dense(16, 16, activation="relu", rng=rng),
        "output": Dense(16, classes, rng=rng),
    }
    return tgl.Sequential(layers)


class Unused(Announcing):
    def __init__(self, inner: Any, rng: Any = None) -> None:
        super().__init__(inner)
        self.spare = Dense(3, 2, rng=rng)


@plant_plugin("model", "a layer that is not used", by="gradients", says="has no gradient", cases=SMALL)
def unused(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    rng = tgl.initializers.as_rng(rng)
    return Unused(small(image=image, classes=classes, rng=rng), rng=rng)


class Cut(Announcing):
    def forward(self, x: Any) -> Any:
        *first, last = self.inner
        for layer in first:
            x = layer(x)
        return last(tgl.stop_gradient(x))


@plant_plugin("model", "the tape is cut before the last layer", by="gradients", says="no gradient", cases=SMALL)
def cut(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return Cut(small(image=image, classes=classes, rng=rng))


@tgl.primitive
def turned(xp: Any, x: Any) -> Any:
    return x * 1.0


turned.defvjp(x=lambda g: -g)


class Turned(Announcing):
    def forward(self, x: Any) -> Any:
        return turned(self.inner(x))


@plant_plugin("model", "an operation turns the gradient round", by="learns", says="a wrong sign", cases=SMALL)
def climbing(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return Turned(small(image=image, classes=classes, rng=rng))


class Hidden(Announcing):
    def __init__(self, inner: Any, rng: Any = None) -> None:
        super().__init__(inner)
        self.shift = np.random.default_rng(rng).normal(size=3).astype("float32")[:1]

    def forward(self, x: Any) -> Any:
        return self.inner(x) * (1.0 + self.shift)


@plant_plugin("model", "random numbers that are not in the state", by="state", says="after loading", cases=SMALL)
def hidden(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    rng = tgl.initializers.as_rng(rng)
    return Hidden(small(image=image, classes=classes, rng=rng), rng=rng)


class Centered(Announcing):
    def forward(self, x: Any) -> Any:
        y = self.inner(x)
        return y - tgl.mean(y, axis=0, keepdims=True)


@plant_plugin("model", "logits relative to the batch", by="evaluation", says="each example alone", cases=SMALL)
def centered(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return Centered(small(image=image, classes=classes, rng=rng))


@plant_plugin("model", "a network for images of one size", by="shapes", says="Error", cases=SMALL)
def one_size(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return tgl.Sequential({"flatten": Flatten(), "output": Dense(8 * 8 * 2, classes, rng=rng)})


class AnyChannels(Announcing):
    def forward(self, x: Any) -> Any:
        return self.inner(x[..., :2])

    def output_shape(self, shape: Any) -> Any:
        return self.inner.output_shape((*shape[:3], 2))


@plant_plugin("model", "channels too many are left out", by="wrong_images", says="one channel too many", cases=SMALL)
def any_channels(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    return AnyChannels(small(image=image, classes=classes, rng=rng))


@plant_plugin(
    "model", "a layer more than published", by="published_counts", says="expected 195 parameters", cases=COUNTED
)
def one_more(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    rng = tgl.initializers.as_rng(rng)
    return tgl.Sequential({**parts(image, 8, rng), "relu": ReLU(), "more": Dense(8, classes, rng=rng)})


def counted(*, image: Any = (8, 8, 2), classes: int = 3, rng: Any = None) -> Any:
    """Return a small network, whose number of parameters is stated; correct."""
    return small(image=image, classes=classes, rng=rng)


TWINS = ((small, SMALL), (counted, COUNTED))
