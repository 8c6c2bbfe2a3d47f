"""Recipes to mutate; together they have every table and most kinds of values."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.train import find_recipe

_STEPS = ("flip", "shift", "zoom", "brightness", "contrast", "cutout", "channel_shift", "mixup", "normalize")
_LAYERS: list[dict[str, Any]] = [
    {"name": "conv2d", "in_channels": 1, "out_channels": 4, "kernel_size": 5, "stride": 2, "activation": "relu"},
    {"name": "group_norm", "groups": 2, "channels": 4},
    {"name": "max_pool2d", "kernel_size": 2, "stride": 2},
    {"name": "flatten"},
    {"name": "dense", "in_features": 196, "out_features": 10},
]


def recipes() -> list[dict[str, Any]]:
    """Return the tables of some recipes that train quickly."""
    plain = find_recipe("lenet5").override(["data.per_class=8", "data.batch_size=32", "training.epochs=1"]).tables
    data, training = plain["data"], plain["training"]
    small = {
        **plain,
        "model": {"name": "sequential", "layers": [{"name": "flatten"}, {**_LAYERS[-1], "in_features": 1024}]},
        "augment": [{"name": "center_crop", "size": [32, 32]}],
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "plateau", "patience": 1},
        "data": {**data, "validation": 0.2},
        "variants": {"other": {"optimizer.lr": 0.2}},
        "origin": {"stated": ["optimizer.lr"], "inferred": ["model"], "ours": []},
    }
    rich = {
        **plain,
        "recipe": {"title": "All", "source": "none", "milestone": 0.5, "diverging": []},
        "model": {"name": "sequential", "layers": _LAYERS},
        "data": {**data, "validation": 0.2, "size": [32, 32], "classes": ["0", "1", "2"]},
        "loss": {"name": "softmax_cross_entropy", "label_smoothing": 0.1},
        "optimizer": {"name": "adam", "lr": 0.01, "groups": {"*.bias": {"weight_decay": 0.0}}},
        "schedule": {"name": "warm_up", "length": 2, "after": {"name": "cosine"}},
        "training": {**training, "patience": 3, "clip_norm": 1.0, "clip_value": 1.0, "accumulate": 2, "read_every": 2},
        "augment": [{"name": "rotation", "degrees": 9}, {"name": "random_crop"}, *({"name": name} for name in _STEPS)],
        "transfer": {"freeze": ["0"], "but": ["4"]},
    }
    return [plain, small, rich]
