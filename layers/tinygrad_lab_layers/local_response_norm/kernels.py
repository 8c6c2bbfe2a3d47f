"""Kernels of local response normalisation: compiled, in NumPy, and on a GPU."""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab_layers.local_response_norm.layer import channel_sum, local_response_norm, local_response_norm_grad

launch, responses = tgl.kernels.gpu.launch, tgl.kernels.responses


def _takes_raw(*arrays: Any, **options: Any) -> bool:
    return arrays[0].ndim > 0 and launch.takes(*arrays)


@channel_sum.kernel("cupy", when=_takes_raw, error=1e-5)
def _channel_sum(x: Any, *, before: int, after: int) -> Any:
    out = launch.room(x.shape, x)
    launch.run("responses", "channel_sum", x, x.size, launch.plain(x), out, before, after, x.shape[-1], x.size)
    return out


@local_response_norm.kernel("cupy", when=_takes_raw, error=1e-5)
def _local_response_norm(x: Any, **options: Any) -> Any:
    return _launch("local_response_norm", (x,), **options)


@local_response_norm_grad.kernel("cupy", when=_takes_raw, error=1e-5)
def _local_response_norm_grad(g: Any, x: Any, **options: Any) -> Any:
    return _launch("local_response_norm_grad", (g, x), **options)


def _launch(
    name: str, arrays: tuple[Any, ...], *, before: int, after: int, factor: float, beta: float, k: float
) -> Any:
    x, out = arrays[-1], launch.room(arrays[-1].shape, arrays[-1])
    given, numbers = map(launch.plain, arrays), (float(factor), float(beta), float(k))
    launch.run("responses", name, x, x.size, *given, out, before, after, *numbers, x.shape[-1], x.size)
    return out


def _takes_blocks(*arrays: Any, **options: Any) -> bool:
    return responses.takes_blocks(*arrays)


def _takes_float32(*arrays: Any, **options: Any) -> bool:
    return responses.takes_float32(*arrays)


def _register(operation: Any, in_numpy: Any, compiled: Any) -> None:
    operation.kernel("numpy", least=responses.LEAST_IN_NUMPY, when=_takes_blocks, error=1e-5)(in_numpy)
    operation.kernel("numba", least=responses.LEAST, when=_takes_float32, error=1e-5)(compiled)


_register(local_response_norm, responses.response, responses.compiled_response)
_register(local_response_norm_grad, responses.response_grad, responses.compiled_response_grad)
