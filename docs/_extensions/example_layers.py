"""Groups of layers in the sidebar, and an example of each layer."""

from __future__ import annotations

GROUPS = {
    "Convolution": ("conv2d", "depthwise_conv2d", "conv2d_transpose"),
    "Dense": ("dense", "embedding"),
    "Pooling": ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "global_avg_pool2d", "upsample2d"),
    "Activation": (
        "relu",
        "leaky_relu",
        "prelu",
        "elu",
        "selu",
        "gelu",
        "silu",
        "softplus",
        "hardtanh",
        "sigmoid",
        "tanh",
        "softmax",
        "log_softmax",
    ),
    "Normalization": ("batch_norm", "layer_norm", "group_norm", "local_response_norm"),
    "Dropping": ("dropout", "spatial_dropout2d"),
    "Blocks": ("sequential", "parallel_concat", "residual", "bottleneck", "inception"),
    "Sequences": ("lstm", "multi_head_attention"),
    "Shape": ("flatten", "reshape", "pad2d"),
}

MAP = "28, 28, 64"
VECTOR = "64,"


def example(call: str, taken: str) -> dict[str, str]:
    """Return the options of the directive ``layer``."""
    return {"example": call, "input": taken}


EXAMPLES = {
    "adaptive_avg_pool2d": example("adaptive_avg_pool2d(7)", "28, 28, 64"),
    "avg_pool2d": example("avg_pool2d(kernel_size=2)", MAP),
    "batch_norm": example("batch_norm(64)", MAP),
    "bottleneck": example("bottleneck(256, 64)", "56, 56, 256"),
    "conv2d": example('conv2d(3, 96, kernel_size=11, stride=4, activation="relu")', "227, 227, 3"),
    "conv2d_transpose": example("conv2d_transpose(64, 32, kernel_size=2, stride=2)", MAP),
    "dense": example('dense(784, 10, activation="relu")', "784,"),
    "depthwise_conv2d": example('depthwise_conv2d(64, kernel_size=3, padding="same")', MAP),
    "dropout": example("dropout(0.5)", "4096,"),
    "embedding": example("embedding(1000, 64)", "10,"),
    "flatten": example("flatten()", "5, 5, 16"),
    "global_avg_pool2d": example("global_avg_pool2d()", "7, 7, 512"),
    "group_norm": example("group_norm(8, 64)", MAP),
    "inception": example(
        "inception(192, conv1x1=64, reduce3x3=96, conv3x3=128, reduce5x5=16, conv5x5=32, pool_proj=32)", "28, 28, 192"
    ),
    "layer_norm": example("layer_norm(64)", VECTOR),
    "local_response_norm": example("local_response_norm(5)", "27, 27, 256"),
    "log_softmax": example("log_softmax()", "10,"),
    "lstm": example("lstm(64, 128)", "20, 64"),
    "max_pool2d": example("max_pool2d(kernel_size=3, stride=2)", "55, 55, 96"),
    "multi_head_attention": example("multi_head_attention(64, 8)", "(20, 64), (20, 64), (20, 64)"),
    "pad2d": example("pad2d(1)", MAP),
    "parallel_concat": example(
        'parallel_concat([conv2d(64, 32, kernel_size=1), conv2d(64, 32, kernel_size=3, padding="same")])', MAP
    ),
    **{name: example(f"{name}()", VECTOR) for name in ("elu", "gelu", "hardtanh", "leaky_relu", "relu", "selu")},
    **{name: example(f"{name}()", VECTOR) for name in ("sigmoid", "silu", "softplus", "tanh")},
    "prelu": example("prelu(1)", "1,"),
    "reshape": example("reshape([4, 4, 4])", VECTOR),
    "residual": example(
        'residual(sequential(conv2d(64, 64, kernel_size=3, padding=1, activation="relu"), '
        "conv2d(64, 64, kernel_size=3, padding=1)))",
        MAP,
    ),
    "sequential": example(
        'sequential(conv2d(1, 6, kernel_size=5, activation="relu"), max_pool2d(kernel_size=2), '
        "flatten(), dense(1176, 10))",
        "32, 32, 1",
    ),
    "softmax": example("softmax()", "10,"),
    "spatial_dropout2d": example("spatial_dropout2d(0.2)", MAP),
    "upsample2d": example("upsample2d(2)", MAP),
}
