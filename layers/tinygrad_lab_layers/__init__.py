"""The built-in layers, each registered as a plugin like any other.

``from tinygrad_lab_layers import Conv2d, Dense`` imports only the modules of these two.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AdaptiveAvgPool2d": "adaptive_avg_pool2d",
    "AvgPool2d": "avg_pool2d",
    "BatchNorm": "batch_norm",
    "Bottleneck": "bottleneck",
    "Conv2d": "conv2d",
    "Conv2dTranspose": "conv2d_transpose",
    "Dense": "dense",
    "DepthwiseConv2d": "depthwise_conv2d",
    "Dropout": "dropout",
    "ELU": "elu",
    "Embedding": "embedding",
    "Flatten": "flatten",
    "GELU": "gelu",
    "GlobalAvgPool2d": "global_avg_pool2d",
    "GroupNorm": "group_norm",
    "Hardtanh": "hardtanh",
    "Inception": "inception",
    "LSTM": "lstm",
    "LayerNorm": "layer_norm",
    "LeakyReLU": "leaky_relu",
    "LocalResponseNorm": "local_response_norm",
    "LogSoftmax": "log_softmax",
    "MaxPool2d": "max_pool2d",
    "MultiHeadAttention": "multi_head_attention",
    "PReLU": "prelu",
    "Pad2d": "pad2d",
    "ParallelConcat": "parallel_concat",
    "ReLU": "relu",
    "Reshape": "reshape",
    "Residual": "residual",
    "SELU": "selu",
    "Sequential": "sequential",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "SpatialDropout2d": "spatial_dropout2d",
    "Tanh": "tanh",
    "Upsample2d": "upsample2d",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {sorted(_HOMES)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
