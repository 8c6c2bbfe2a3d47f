"""tinygrad_lab: automatic differentiation to learn from, to extend and to trust.

``import tinygrad_lab as tgl`` is fast and provides the names below. Layers, data sets, training, `load_run` and the
conformance kit are imported on first use.
"""

from typing import TYPE_CHECKING

from tinygrad_lab import errors, kernels, ops
from tinygrad_lab.autograd.anomaly import detect_anomaly
from tinygrad_lab.autograd.checkpoint import checkpoint
from tinygrad_lab.autograd.effects import once
from tinygrad_lab.autograd.forward import jvp
from tinygrad_lab.autograd.jacobians import hessian, hvp, jacobian
from tinygrad_lab.autograd.primitive import Primitive, primitive
from tinygrad_lab.autograd.settings import no_grad, reference_only
from tinygrad_lab.autograd.transforms import grad, stop_gradient, value_and_grad, vjp
from tinygrad_lab.creation import arange, eye, full, linspace, ones, ones_like, zeros, zeros_like
from tinygrad_lab.foreign_names import PACKAGE, missing
from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.functional import functional_call
from tinygrad_lab.nn.initializers import seed
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.parts import batch_part
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab.nn.variables import Buffer, Parameter
from tinygrad_lab.ops import (
    forward_rules,  # noqa: F401  # its import declares the forward rules
    linalg,
)
from tinygrad_lab.ops.activation import add_relu, log_softmax, relu, softmax
from tinygrad_lab.ops.arithmetic import (
    absolute,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    clip,
    divide,
    equal,
    floor,
    floor_divide,
    greater,
    greater_equal,
    isfinite,
    less,
    less_equal,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    positive,
    power,
    reciprocal,
    remainder,
    rint,
    sign,
    subtract,
    trunc,
    where,
)
from tinygrad_lab.ops.convolution import conv2d, conv2d_grad_x, conv2d_relu
from tinygrad_lab.ops.diagonals import diag, diagonal, trace, tril, triu
from tinygrad_lab.ops.dropping import dropout
from tinygrad_lab.ops.elementary import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cos,
    cosh,
    deg2rad,
    erf,
    erfc,
    exp,
    expm1,
    hypot,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    rad2deg,
    sigmoid,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
)
from tinygrad_lab.ops.indexing import getitem, repeat, take, take_along_axis
from tinygrad_lab.ops.linear import dot, einsum, inner, kron, matmul, outer, tensordot
from tinygrad_lab.ops.normalization import (
    batch_norm,
    batch_norm_relu,
    channel_affine,
    channel_affine_relu,
    standardize,
)
from tinygrad_lab.ops.pooling import count_pool2d, largest_in_windows, max_pool2d, sum_pool2d
from tinygrad_lab.ops.reductions import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    cumprod,
    cumsum,
    diff,
    logsumexp,
    max,
    mean,
    median,
    min,
    norm,
    prod,
    sort,
    std,
    sum,
    var,
)
from tinygrad_lab.ops.shaping import (
    astype,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_to,
    column_stack,
    concatenate,
    crop,
    dstack,
    expand_dims,
    flip,
    hstack,
    moveaxis,
    pad,
    ravel,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    sum_to,
    swapaxes,
    tile,
    transpose,
    vstack,
)
from tinygrad_lab.ops.widths import in_floats
from tinygrad_lab.ops.windows import Window, expect_images, fold, pair, unfold
from tinygrad_lab.registry import layers
from tinygrad_lab.tensor import Tensor, tensor

if TYPE_CHECKING:
    from tinygrad_lab.inspect.explain import explain_backward
    from tinygrad_lab.inspect.graph import draw_graph
    from tinygrad_lab.inspect.run import load_run

abs = absolute

__version__ = "0.1.0"

__all__ = [
    "Buffer",
    "Layer",
    "Parameter",
    "Primitive",
    "Sequential",
    "Tensor",
    "Window",
    "__version__",
    "abs",
    "absolute",
    "add",
    "add_relu",
    "all",
    "any",
    "arange",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "batch_norm",
    "batch_norm_relu",
    "batch_part",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_to",
    "ceil",
    "channel_affine",
    "channel_affine_relu",
    "checkpoint",
    "clip",
    "column_stack",
    "concatenate",
    "conv2d",
    "conv2d_grad_x",
    "conv2d_relu",
    "cos",
    "cosh",
    "count_pool2d",
    "crop",
    "cumprod",
    "cumsum",
    "deg2rad",
    "detect_anomaly",
    "diag",
    "diagonal",
    "diff",
    "divide",
    "dot",
    "draw_graph",
    "dropout",
    "dstack",
    "einsum",
    "equal",
    "erf",
    "erfc",
    "errors",
    "exp",
    "expand_dims",
    "expect_images",
    "explain_backward",
    "expm1",
    "eye",
    "flip",
    "floor",
    "floor_divide",
    "fold",
    "full",
    "functional_call",
    "getitem",
    "grad",
    "greater",
    "greater_equal",
    "hessian",
    "hstack",
    "hvp",
    "hypot",
    "in_floats",
    "initializers",
    "inner",
    "isfinite",
    "jacobian",
    "jvp",
    "kernels",
    "kron",
    "largest_in_windows",
    "layers",
    "less",
    "less_equal",
    "linalg",
    "linspace",
    "load_run",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "median",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "no_grad",
    "norm",
    "not_equal",
    "once",
    "ones",
    "ones_like",
    "ops",
    "outer",
    "pad",
    "pair",
    "positive",
    "power",
    "primitive",
    "prod",
    "rad2deg",
    "ravel",
    "reciprocal",
    "reference_only",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "rint",
    "roll",
    "seed",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softmax",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "standardize",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "sum_pool2d",
    "sum_to",
    "swapaxes",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensor",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "trunc",
    "unfold",
    "value_and_grad",
    "var",
    "vjp",
    "vstack",
    "where",
    "zeros",
    "zeros_like",
]


_LATER = {"draw_graph": "graph", "explain_backward": "explain", "load_run": "run"}  # import training too
_PACKAGES = ("conformance", "data", "distributed", "inspect", "losses", "optim", "train", "weights")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES, "registry"])


if not TYPE_CHECKING:  # otherwise type checkers would accept any name

    def __getattr__(name):
        from importlib import import_module

        if module := _LATER.get(name):
            return getattr(import_module(f"tinygrad_lab.inspect.{module}"), name)
        if name in _PACKAGES:
            return import_module(f"tinygrad_lab.{name}")
        raise missing("module 'tinygrad_lab'", name, PACKAGE)
