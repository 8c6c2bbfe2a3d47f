"""Parameters and multiply-adds of the zoo equal those of the papers, or of commonly used models."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.registry import models

PARAMETERS = {  # learned parameters, with the default options
    "alexnet": 60_965_224,
    "alexnet_small": 1_013_716,
    "cnn7": 135_854,
    "cuda_convnet": 155_530,
    "gap7": 7_842,
    "googlenet": 6_998_552,
    "lenet5": 61_706,
    "nin": 966_986,
    "plain18": 11_689_512 - 64 * 128 - 128 * 256 - 256 * 512 - 2 * (128 + 256 + 512),  # without projections
    "plain34": 21_797_672 - 64 * 128 - 128 * 256 - 256 * 512 - 2 * (128 + 256 + 512),
    "plain20": 269_722,
    "plain56": 853_018,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet56": 853_018,
    "ten_layer": 2_972_298,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "zfnet": 62_357_608,
}
VARIANTS: list[tuple[str, dict[str, Any], int]] = [
    ("alexnet", {"groups": 1}, 62_378_344),
    ("alexnet", {"pool_size": 2}, 60_965_224),  # with the same maps
    ("alexnet", {"normalization": "after_pool"}, 60_965_224),
    ("cnn7", {"padding": "none"}, 39_854),
    ("cnn7", {"padding": "edge"}, 135_854),
    ("cuda_convnet", {"normalization": False, "pool_size": 2}, 155_530),
    ("alexnet", {"normalized": (1, 2, 5)}, 60_965_224),
    ("googlenet", {"auxiliary": True}, 13_378_280),  # as in Caffe's model bvlc_googlenet
    ("gap7", {"padding": "none"}, 7_842),
    ("gap7", {"reduction": "dense"}, 7_842 + 980 * 20 + 20),
    ("resnet20", {"shortcut": "projected"}, 269_722 + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64),
    ("ten_layer", {"kernel_sizes": (5, 3, 1)}, 1_898_250 - 2_688),
    ("ten_layer", {"kernel_sizes": (5, 3, 1), "widths": (80, 160, 320)}, 2_961_610 - 3_360),
    ("vgg16", {"classes": 10}, 138_357_544 - 990 * 4097),
]
MULTIPLY_ADDS = [
    ("alexnet", {}, 724_406_816),
    ("alexnet", {"groups": 1}, 1_135_256_096),
    ("lenet5", {}, 416_520),
    ("resnet20", {}, 40_551_040),
    ("ten_layer", {}, 159_885_824),
    ("ten_layer", {"kernel_sizes": (5, 3, 1)}, 64_099_840),
    ("vgg16", {}, 15_470_264_320),
]


def built(name: str, options: dict[str, Any]) -> tuple[Any, tuple[int, ...]]:
    make = models[name]
    with shapes_only():
        known = inspect.signature(make).parameters
        return make(**options), (1, *(known["image"].default if "image" in known else (known["length"].default,)))


@pytest.mark.parametrize(("name", "options", "count"), [*((n, {}, c) for n, c in PARAMETERS.items()), *VARIANTS])
def test_numbers_of_parameters(name: str, options: dict[str, Any], count: int) -> None:
    model, _ = built(name, options)
    assert sum(math.prod(p.shape) for p in model.parameters().values()) == count


@pytest.mark.parametrize(("name", "options", "count"), MULTIPLY_ADDS)
def test_numbers_of_multiply_adds(name: str, options: dict[str, Any], count: int) -> None:
    model, shape = built(name, options)
    assert model.multiply_adds(shape) == count


def test_running_statistics_are_not_counted_as_parameters() -> None:
    model, _ = built("ten_layer", {})
    assert sum(math.prod(b.shape) for b in model.buffers().values()) == 2_688


@pytest.mark.parametrize("name", [n for n in models if models.plugin(n).distribution == "tinygrad-lab"])
def test_every_network_states_its_input_and_returns_logits(name: str) -> None:
    model, shape = built(name, {"classes": 7})
    assert model.output_shape(shape) == (1, 7)
