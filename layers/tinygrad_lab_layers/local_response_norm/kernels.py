"""Local response normalisation on a GPU."""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab_layers.local_response_norm.layer import channel_sum, local_response_norm

launch = tgl.kernels.gpu.launch


def _takes(x: Any, **options: Any) -> bool:
    return x.ndim > 0 and launch.takes(x)


@channel_sum.kernel("cupy", when=_takes, error=1e-5)
def _channel_sum(x: Any, *, before: int, after: int) -> Any:
    out = launch.room(x.shape, x)
    launch.run("responses", "channel_sum", x, x.size, launch.plain(x), out, before, after, x.shape[-1], x.size)
    return out


@local_response_norm.kernel("cupy", when=_takes, error=1e-5)
def _local_response_norm(x: Any, *, before: int, after: int, factor: float, beta: float, k: float) -> Any:
    out, numbers = launch.room(x.shape, x), (float(factor), float(beta), float(k))
    launch.run(
        "responses",
        "local_response_norm",
        x,
        x.size,
        launch.plain(x),
        out,
        before,
        after,
        *numbers,
        x.shape[-1],
        x.size,
    )
    return out
