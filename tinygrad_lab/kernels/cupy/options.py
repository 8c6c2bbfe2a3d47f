"""GPU options: precision of products and choice of cuDNN plans."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from tinygrad_lab.errors import OptionError

PRODUCTS = ("float32", "tf32", "bf16")
PLANS = ("deterministic", "fastest")
ROUNDING = {"float32": 0.0, "tf32": 2.0**-9, "bf16": 2.0**-7}  # bounds of the error, relative to sum |x| |y|


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """Options for computations on a GPU.

    Parameters
    ----------
    products : {"float32", "tf32", "bf16"}
        The format to which factors of float32 convolutions and matrix products are rounded before multiplication. Sums
        are always float32. ``"tf32"`` keeps 10 bits of the significand, ``"bf16"`` 7, both with float32's range. The
        default rounds nothing. The environment variable TINYGRAD_LAB_GPU_PRODUCTS sets the initial value.
    plans : {"deterministic", "fastest"}
        How cuDNN computes a convolution: by the plan that it recommends among the deterministic ones, or by the plan
        that is measured as the fastest when a shape first occurs, deterministic or not.
    """

    products: str = "float32"
    plans: str = "deterministic"

    def __post_init__(self) -> None:
        for name, value, known in (("products", self.products, PRODUCTS), ("plans", self.plans, PLANS)):
            if value not in known:
                raise OptionError(f"GpuOptions: expected the option `{name}` to be one of {list(known)}, got {value!r}")


OPTIONS = ContextVar(
    "tinygrad_lab.gpu", default=GpuOptions(products=os.environ.get("TINYGRAD_LAB_GPU_PRODUCTS", "float32"))
)


def rounding_of_products() -> float:
    """Return the part of a kernel's declared error that comes from rounding the factors of products."""
    return ROUNDING[OPTIONS.get().products]


@contextmanager
def using_gpu_options(*, products: str | None = None, plans: str | None = None) -> Iterator[None]:
    """Change `GpuOptions` inside a ``with`` block or a decorated function, for this thread and task alone.

    Parameters
    ----------
    products, plans : str, optional
        See `GpuOptions`; options left out stay unchanged.

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
