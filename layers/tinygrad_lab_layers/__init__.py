"""The built-in layers, each a plugin like a stranger's.

``from tinygrad_lab_layers import Conv2d, Dense`` imports the modules of these two alone.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Conv2d": "conv2d",
    "Dense": "dense",
    "ELU": "elu",
    "Flatten": "flatten",
    "GELU": "gelu",
    "Hardtanh": "hardtanh",
    "LeakyReLU": "leaky_relu",
    "LogSoftmax": "log_softmax",
    "MaxPool2d": "max_pool2d",
    "PReLU": "prelu",
    "Pad2d": "pad2d",
    "ParallelConcat": "parallel_concat",
    "ReLU": "relu",
    "Reshape": "reshape",
    "SELU": "selu",
    "Sequential": "sequential",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Tanh": "tanh",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {sorted(_HOMES)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
