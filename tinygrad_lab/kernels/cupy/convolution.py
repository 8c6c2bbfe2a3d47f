"""Convolution kernels on a GPU, by cuDNN; if it is missing or has no plan, the reference forward is used.

The reference is im2col and one matrix product (cuBLAS), which is always available. Filters are (kh, kw, C / groups, O)
here and (O, kh, kw, C / groups) for cuDNN. They are small compared with the images and are copied. Padding that differs
between opposite sides is added to the images first.
"""

from __future__ import annotations

from typing import Any

from tinygrad_lab.backend import Array, namespace
from tinygrad_lab.kernels.arrays import Options
from tinygrad_lab.kernels.cupy import cudnn
from tinygrad_lab.kernels.cupy.launch import aligned, contiguous, room, run, takes
from tinygrad_lab.kernels.cupy.options import rounding_of_products
from tinygrad_lab.kernels.cupy.pointwise import bias_relu
from tinygrad_lab.ops.convolution import NO_PADDING, conv2d, conv2d_grad_w, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.windows import Pair, places


def _error() -> float:
    """Return the declared error bound, which allows for the Winograd tiles among cuDNN's plans."""
    return 2e-4 + rounding_of_products()


def _takes(x: Array, w: Array, b: Array | None = None, **options: Any) -> bool:
    return takes(x, w, b) and x.dtype.name != "float64" and cudnn.is_there()


def _padded(x: Array, how: Options) -> tuple[Array, Pair, Options]:
    """Return images, and the padding left to cuDNN: none if it differed between opposite sides and was added here."""
    (top, bottom), (left, right) = how.padding
    if top == bottom and left == right:
        return x, (top, left), how
    return namespace(x).pad(x, ((0, 0), *how.padding, (0, 0))), (0, 0), how._replace(padding=NO_PADDING)


def _problem(kind: str, images: Any, filters: Any, maps: Any, padding: Pair, how: Options, dtype: str) -> cudnn.Problem:
    """Return the problem of a convolution with filters of shape (kh, kw, C / groups, O)."""
    kh, kw, inputs, outputs = filters
    products, plans = cudnn.current_choices()
    if dtype == "float32" and products == "bf16":
        dtype = "bfloat16"
    shapes = tuple(images), (outputs, kh, kw, inputs), tuple(maps)
    return cudnn.Problem(kind, dtype, *shapes, padding, how.stride, how.dilation, products, plans)


def _computed(problem: cudnn.Problem, first: Array, second: Array, shape: tuple[int, ...]) -> Array | None:
    """Return cuDNN's result for two factors, or None if it has no plan."""
    plan = cudnn.plan_for(problem)
    if plan is None and problem.dtype == "bfloat16":
        problem = problem._replace(dtype="float32", products="tf32")  # the next higher precision
        plan = cudnn.plan_for(problem)
    if plan is None:
        return None
    out_type = first.dtype
    first, second = (_rounded(a) if problem.dtype == "bfloat16" else aligned(a) for a in (first, second))
    out = room(shape, first, out_type)
    plan.run(first, second, out)
    return out


def _rounded(x: Array) -> Array:
    """Return float32 numbers rounded to bfloat16, as bits."""
    out = room(x.shape, x, "uint16")
    run("pointwise", "round_to_bfloat16", x, x.size, contiguous(x), out, x.size)
    return out


def _forward(x: Array, w: Array, b: Array | None, clip: bool, options: dict[str, Any]) -> Array:
    how = Options(**options)
    size = places(x.shape[1:3], w.shape[:2], how.stride, how.padding, how.dilation, "conv2d")
    images, padding, how = _padded(x, how)
    shape = (x.shape[0], *size, w.shape[3])
    problem = _problem("forward", images.shape, w.shape, shape, padding, how, x.dtype.name)
    out = _computed(problem, images, w.transpose(3, 0, 1, 2), shape)  # (kh, kw, C, O) -> (O, kh, kw, C)
    if out is None:
        return (conv2d_relu if clip else conv2d).forward(namespace(x), x, w, b, **options)
    bias_relu(out, b, clip=clip)
    return out


@conv2d.kernel("cupy", when=_takes, error_bound=_error)
def _conv2d(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Convolve images with filters and add a bias."""
    return _forward(x, w, b, False, options)


@conv2d_relu.kernel("cupy", when=_takes, error_bound=_error)
def _conv2d_relu(x: Array, w: Array, b: Array | None, **options: Any) -> Array:
    """Convolve images with filters, add a bias, and apply ReLU."""
    return _forward(x, w, b, True, options)


@conv2d_grad_x.kernel("cupy", when=_takes, error_bound=_error)
def _conv2d_grad_x(g: Array, w: Array, *, size: Pair, **options: Any) -> Array:
    """Return the adjoint in x; padding that differs between opposite sides is cropped from the padded gradient."""
    how = Options(**options)
    channels = w.shape[2] * how.groups
    (top, bottom), (left, right) = how.padding
    whole, padding = size, (top, left)
    if top != bottom or left != right:
        whole, padding = (size[0] + top + bottom, size[1] + left + right), (0, 0)
    shape = (g.shape[0], *whole, channels)
    problem = _problem("grad_x", shape, w.shape, g.shape, padding, how, g.dtype.name)
    out = _computed(problem, g, w.transpose(3, 0, 1, 2), shape)  # (kh, kw, C, O) -> (O, kh, kw, C)
    if out is None:
        return conv2d_grad_x.forward(namespace(g), g, w, size=size, **options)
    return out if whole == size else out[:, top : top + size[0], left : left + size[1]]


@conv2d_grad_w.kernel("cupy", when=_takes, error_bound=_error)
def _conv2d_grad_w(x: Array, g: Array, *, kernel_size: Pair, **options: Any) -> Array:
    """Return the adjoint in w."""
    how = Options(**options)
    images, padding, how = _padded(x, how)
    inputs, outputs = x.shape[3] // how.groups, g.shape[3]
    problem = _problem("grad_w", images.shape, (*kernel_size, inputs, outputs), g.shape, padding, how, x.dtype.name)
    out = _computed(problem, images, g, (outputs, *kernel_size, inputs))
    if out is None:
        return conv2d_grad_w.forward(namespace(x), x, g, kernel_size=kernel_size, **options)
    return contiguous(out.transpose(1, 2, 3, 0))  # (O, kh, kw, C) -> (kh, kw, C, O)
