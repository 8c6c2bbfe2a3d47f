"""How products are computed on a GPU, and how cuDNN's plans are chosen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from tinygrad_lab.errors import OptionError

PRODUCTS = ("float32", "tf32", "bf16")
PLANS = ("deterministic", "fastest")
ROUNDING = {"float32": 0.0, "tf32": 2.0**-9, "bf16": 2.0**-7}  # of sum |x| |y|: four times that of one factor


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """The choices for a GPU.

    Parameters
    ----------
    products : {"float32", "tf32", "bf16"}
        What the factors of float32 convolutions and matrix products are rounded to before they are multiplied; sums are
        float32 always. ``"tf32"`` keeps 10 bits of the significand, ``"bf16"`` 7, both float32's range. The default
        rounds nothing. TINYGRAD_LAB_GPU_PRODUCTS sets what a program starts with.
    plans : {"deterministic", "fastest"}
        How cuDNN computes a convolution: by the plan that it recommends among those that give the same bits each time,
        or by the one that is measured to be the fastest when a shape is first met, whatever it is.
    """

    products: str = "float32"
    plans: str = "deterministic"

    def __post_init__(self) -> None:
        for name, value, known in (("products", self.products, PRODUCTS), ("plans", self.plans, PLANS)):
            if value not in known:
                raise OptionError(f"GPU: expected {name} out of {list(known)}, got {value!r}")


OPTIONS = ContextVar(
    "tinygrad_lab.gpu", default=GpuOptions(products=os.environ.get("TINYGRAD_LAB_GPU_PRODUCTS", "float32"))
)


def rounding_of_products() -> float:
    """Return how far sums of products may be off for the rounding of their factors, in a kernel's declared error."""
    return ROUNDING[OPTIONS.get().products]


@contextmanager
def using_gpu_options(*, products: str | None = None, plans: str | None = None) -> Iterator[None]:
    """Change `GpuOptions` inside a ``with`` block or a decorated function, for this thread and task alone.

    Parameters
    ----------
    products, plans : str, optional
        See `GpuOptions`; what is left out stays.

    Examples
    --------
    >>> with using_gpu_options(products="tf32"):
    ...     OPTIONS.get().products
    'tf32'
    """
    options = OPTIONS.get()
    token = OPTIONS.set(replace(options, products=products or options.products, plans=plans or options.plans))
    try:
        yield
    finally:
        OPTIONS.reset(token)
