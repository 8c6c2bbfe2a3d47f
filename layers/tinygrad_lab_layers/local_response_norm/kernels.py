"""Kernels of local response normalisation: compiled, in NumPy, and on a GPU."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.kernels.tools import are_numbers, gpu
from tinygrad_lab_layers.local_response_norm import on_cpu
from tinygrad_lab_layers.local_response_norm.layer import channel_sum, local_response_norm, local_response_norm_grad

SOURCE = "tinygrad_lab_layers.local_response_norm:responses"


def _takes_raw(*arrays: Any, **options: Any) -> bool:
    return arrays[0].ndim > 0 and gpu.takes(*arrays)


@channel_sum.kernel("cupy", when=_takes_raw, error=1e-5)
def _channel_sum(x: Any, *, before: int, after: int) -> Any:
    out = gpu.room(x.shape, x)
    gpu.run(SOURCE, "channel_sum", x, x.size, gpu.plain(x), out, before, after, x.shape[-1], x.size)
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
    x, out = arrays[-1], gpu.room(arrays[-1].shape, arrays[-1])
    given, numbers = map(gpu.plain, arrays), (float(factor), float(beta), float(k))
    gpu.run(SOURCE, name, x, x.size, *given, out, before, after, *numbers, x.shape[-1], x.size)
    return out


def _takes_blocks(*arrays: Any, **options: Any) -> bool:
    return on_cpu.takes_blocks(*arrays) and are_numbers(*options.values())


def _takes_float32(*arrays: Any, **options: Any) -> bool:
    return on_cpu.takes_float32(*arrays) and are_numbers(*options.values())


def _register(operation: Any, in_numpy: Any, compiled: Any) -> None:
    operation.kernel("numpy", least=on_cpu.LEAST_IN_NUMPY, when=_takes_blocks, error=1e-5)(in_numpy)
    operation.kernel("numba", least=on_cpu.LEAST, when=_takes_float32, error=1e-5)(compiled)


_register(local_response_norm, on_cpu.response, on_cpu.compiled_response)
_register(local_response_norm_grad, on_cpu.response_grad, on_cpu.compiled_response_grad)
