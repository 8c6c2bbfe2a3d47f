"""A program that prints digests of what every compiled kernel computes, and of weights after some steps of training.

python -m tests.kernels.every_kernel [reversed]
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

import tinygrad_lab as tgl
import tinygrad_lab.kernels.numba.loops
import tinygrad_lab_layers
from tinygrad_lab import registry
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.data.augment import Compose, Flip, RandomCrop, Rotation
from tinygrad_lab.data.augment.warp import FILLS, warp
from tinygrad_lab.kernels.cost_model import using_tiles
from tinygrad_lab.losses import softmax_cross_entropy
from tinygrad_lab.losses.classification import cross_entropy, cross_entropy_grad
from tinygrad_lab.ops.activation import add_relu, relu, relu_grad
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    blend,
    centered_sums,
    channel_affine,
    channel_affine_relu,
)
from tinygrad_lab.ops.pooling import (
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_take,
    max_pool2d_values,
    sum_pool2d,
    sum_pool2d_grad,
)
from tinygrad_lab.ops.reductions import sum_axes
from tinygrad_lab.optim import SGD
from tinygrad_lab.optim.updates import momentum_update
from tinygrad_lab_layers.local_response_norm.layer import local_response_norm, local_response_norm_grad

DIGESTS: dict[str, str] = {}
BATCHES = (40, 100, 3), (33, 300, 16), (12, 90, 37), (4, 50, 150)  # channels: below one vector, one, two, many
LOGITS = (64, 10), (37, 37), (16, 1000)
ONE = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
CONVOLUTIONS: tuple[tuple[Any, Any, dict[str, Any]], ...] = (  # images, filters, options that differ from ONE
    ((3, 12, 12, 5), (3, 3, 5, 7), {}),
    ((3, 13, 14, 20), (3, 3, 20, 37), {}),
    ((2, 8, 8, 150), (3, 3, 150, 150), {}),  # its transformed gradient is too large for one pass
    ((3, 12, 12, 8), (3, 3, 4, 8), {"groups": 2, "stride": (2, 2)}),
    ((3, 12, 12, 8), (3, 3, 8, 18), {"dilation": (2, 2)}),
    ((4, 28, 28, 1), (5, 5, 1, 6), {"padding": ((0, 0), (0, 0))}),
    ((4, 5, 5, 16), (5, 5, 16, 120), {"padding": ((0, 0), (0, 0))}),
)


def note(name: str, *arrays: Any) -> None:
    """Record the digest of some arrays."""
    assert name not in DIGESTS
    DIGESTS[name] = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def numbers(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def run(case: Any, operation: Any, *arrays: Any, **options: Any) -> Any:
    """Run an operation's compiled kernel, however small the arrays."""
    with using(providers=frozenset({"numba"})):
        kernel = next(operation.kernels.serving(np, list(arrays), options, any_size=True))
    result = kernel.run(*arrays, **options)
    note(f"{operation.__name__} {case}", *(result if isinstance(result, tuple) else (result,)))
    return result


def pointwise() -> None:
    for shape in BATCHES:
        x, g = numbers(*shape), numbers(*shape)[::-1].copy()
        run(shape, relu, x)
        run(shape, add_relu, x, g)
        run(shape, relu_grad, g, x)
        run(shape, dropout, x, key=7, rate=0.3)
        for nesterov in (False, True):
            for reuse in (False, True):
                options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": nesterov, "reuse": reuse}
                v = g / 3
                run((shape, nesterov, reuse), momentum_update, x.copy(), g, v, **options)
                note(f"velocity {shape} {nesterov} {reuse}", v)


def normalization() -> None:
    for shape in BATCHES:
        x, g, channels = numbers(*shape), numbers(*shape)[::-1].copy(), numbers(4, shape[-1])
        run((shape, "all"), sum_axes, x, axes=(0, 1))
        run((shape, "groups"), sum_axes, x[:, :90].copy(), axes=(1,))
        run(shape, batch_norm, x, *channels[:2], eps=1e-5)
        run(shape, batch_norm_relu, x, *channels[:2], eps=1e-5)
        run(shape, centered_sums, g, x, channels[0])
        run(shape, channel_affine, x, *channels[:3])
        run(shape, channel_affine_relu, x, *channels[:3])
        run(shape, blend, g, x, *channels)
        for beta in (0.5, 0.6, 0.75):
            options = {"before": 2, "after": 2, "factor": 0.1, "beta": beta, "k": 2.0}
            run((shape, beta), local_response_norm, x, **options)
            run((shape, beta), local_response_norm_grad, g, x, **options)


def losses() -> None:
    for rows, classes in LOGITS:
        x, g, shares = 3 * numbers(rows, classes), numbers(rows), np.abs(numbers(rows, classes)) / classes
        for name, target in (("labels", np.arange(rows) % classes), ("shares", shares)):
            for smoothing in (0.0, 0.1):
                run((x.shape, name, smoothing), cross_entropy, x, target, smoothing=smoothing)
                run((x.shape, name, smoothing), cross_entropy_grad, g, x, target, smoothing=smoothing)


def pooling() -> None:
    for kernel_size, padding, shape in ((2, 0, (2, 9, 9, 5)), (3, 1, (2, 12, 12, 40))):
        options = {"kernel_size": (kernel_size, kernel_size), "stride": (2, 2), "padding": ((padding, padding),) * 2}
        x = numbers(*shape)
        y, index = run(shape, max_pool2d, x, **options)
        run(shape, max_pool2d_values, x, **options)
        run(shape, max_pool2d_take, x, index, **options)
        run(shape, max_pool2d_grad, y, index, size=shape[1:3], **options)
        run(shape, sum_pool2d, x, **options)
        run(shape, sum_pool2d_grad, y, size=shape[1:3], **options)


def convolutions() -> None:
    for m in (0, 2, 4):  # 0: no tiles
        for x_shape, w_shape, special in CONVOLUTIONS:
            if m and (special or m * x_shape[3] > 300):
                continue  # tiles are for plain convolutions, and the largest case runs only once
            x, w, b, options = numbers(*x_shape), numbers(*w_shape), numbers(w_shape[3]), {**ONE, **special}
            with using_tiles(m):
                y = run((m, x_shape, w_shape), conv2d, x, w, b, **options)
                run((m, x_shape, w_shape), conv2d_relu, x, w, b, **options)
                run((m, x_shape, w_shape), conv2d_grad_x, y, w, size=x_shape[1:3], **options)
                run((m, x_shape, w_shape), conv2d_grad_w, x, y, kernel_size=w_shape[:2], **options)


def warps() -> None:
    maps = np.array([[[1, 0, 0.3], [0, 1, -0.2]], [[0.9, 0.1, 0], [-0.1, 1.1, 1]], [[1, 0, 2], [0, -1, 9]]])
    for channels in (1, 3):
        for fill in FILLS:
            note(f"warp {channels} {fill}", warp(numbers(3, 12, 12, channels), maps, fill=fill))


def training(name: str, image: tuple[int, int, int], **options: Any) -> Callable[[], None]:
    """Return a function that trains a network for four steps, on augmented images."""

    def train() -> None:
        model, rng = registry.models[name](image=image, classes=10, rng=0, **options), np.random.default_rng(0)
        optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
        augment = Compose([Rotation(degrees=10), Flip(), RandomCrop(padding=2)])
        images, labels = numbers(16, *image), np.arange(16) % 10
        for step in range(4):
            batch, targets = augment(images, labels, rng=rng)
            softmax_cross_entropy(model(tgl.tensor(batch)), targets).backward()
            optimizer.step()
            note(f"{name}, step {step}", *model.state().values())

    return train


def compiled_modules() -> list[Any]:
    """Return every module of compiled loops, including those of the layers."""
    own = pkgutil.iter_modules(tinygrad_lab.kernels.numba.loops.__path__, "tinygrad_lab.kernels.numba.loops.")
    layers = pkgutil.walk_packages(tinygrad_lab_layers.__path__, "tinygrad_lab_layers.")
    names = [*(m.name for m in own), *(m.name for m in layers if m.name.endswith(".loops"))]
    return [importlib.import_module(name) for name in names]


def contents() -> dict[str, Any]:
    """Return everything that the modules of compiled loops define or import, by full name."""
    return {f"{module.__name__}.{name}": value for module in compiled_modules() for name, value in vars(module).items()}


def compiled_functions() -> dict[str, Any]:
    """Return the compiled functions of these modules by full name, without those that are made on demand."""
    return {name: value for name, value in contents().items() if isinstance(value, Dispatcher)}


def never_compiled() -> list[str]:
    """Return the names of the functions that this program has not compiled; its disk cache must have been empty."""
    makers = {name: value for name, value in contents().items() if hasattr(value, "cache_info")}
    idle = [name for name, function in compiled_functions().items() if not function.signatures]
    return idle + [name for name, maker in makers.items() if not maker.cache_info().currsize]


PARTS = [
    pointwise,
    normalization,
    losses,
    pooling,
    convolutions,
    warps,
    training("lenet5", (32, 32, 1)),
    training("resnet_cifar", (32, 32, 3), depth=8),
    training("alexnet_small", (32, 32, 3)),
]

if __name__ == "__main__":
    for part in reversed(PARTS) if "reversed" in sys.argv else PARTS:
        part()
    print(json.dumps({"digests": DIGESTS, "never compiled": never_compiled()}))
