"""cuDNN convolutions: one plan per shape, built once and kept.

Images and filters are channels-last in memory: images (N, H, W, C), filters (O, kh, kw, C / groups). cuDNN numbers the
axes of both in another order, (N, C, H, W); the strides describe the memory layout.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from tinygrad_lab.backend import Array
from tinygrad_lab.kernels.cupy.options import OPTIONS
from tinygrad_lab.ops.windows import Pair

MOST_MEASURED = 4  # how many of cuDNN's recommended plans are timed to find the fastest
ROUNDS = 3


class Problem(NamedTuple):
    """A convolution or one of its gradients: everything that a plan depends on.

    Attributes
    ----------
    kind : {"forward", "grad_x", "grad_w"}
        What to compute from images x, filters w and maps y: y, or the gradient with respect to x or w.
    dtype : str
        Dtype of x, w and y in memory: ``"float16"``, ``"float32"``, or ``"bfloat16"`` for factors of a float32 result.
    images, filters, maps : tuple of int
        (N, H, W, C), (O, kh, kw, C / groups), (N, Ho, Wo, O).
    padding, stride, dilation : (int, int)
        The padding is the same on both sides.
    products, plans : str
        See `GpuOptions`.
    """

    kind: str
    dtype: str
    images: tuple[int, ...]
    filters: tuple[int, ...]
    maps: tuple[int, ...]
    padding: Pair
    stride: Pair
    dilation: Pair
    products: str
    plans: str


@dataclass
class Plan:
    """A built cuDNN convolution, ready to run.

    Parameters
    ----------
    graph : cudnn.pygraph
        The built graph.
    operands : list
        Its tensors: the two factors and the result.
    index : int or None
        The index of the measured plan; None for the one that the graph chose.
    workspace : int
        The bytes of workspace that the plan needs.
    """

    graph: Any
    operands: list[Any]
    index: int | None
    workspace: int

    def run(self, first: Array, second: Array, out: Array) -> None:
        """Compute into `out`, on the current stream, with workspace from CuPy's pool."""
        import cupy

        pointers = {t: array.data.ptr for t, array in zip(self.operands, (first, second, out), strict=True)}
        workspace = cupy.empty(max(1, self.workspace), cupy.uint8)
        if self.index is None:
            self.graph.execute(pointers, workspace.data.ptr, handle=handle())
        else:
            self.graph.execute_plan_at_index(pointers, workspace.data.ptr, self.index, handle=handle())


_HERE = threading.local()
_PLANS: dict[Problem, Plan | None] = {}


def is_there() -> bool:
    """Return whether cuDNN and its Python frontend are installed; without them, matrix products are used."""
    try:
        importlib.import_module("cudnn")
    except ImportError:
        return False
    return True


def handle() -> Any:
    """Return this thread's handle, set to CuPy's current stream."""
    import cudnn
    import cupy

    if not hasattr(_HERE, "handle"):
        _HERE.handle = cudnn.create_handle()
    cudnn.set_stream(_HERE.handle, cupy.cuda.get_current_stream().ptr)
    return _HERE.handle


def plan_for(problem: Problem) -> Plan | None:
    """Return the plan of a problem, or None if cuDNN has none; cached."""
    if problem not in _PLANS:
        _PLANS[problem] = _made(problem)
    return _PLANS[problem]


def forget_plans() -> None:
    """Clear the cache of plans."""
    _PLANS.clear()


def describe(problem: Problem) -> tuple[dict[str, tuple[list[int], list[int]]], dict[str, list[int]]]:
    """Return the shapes and strides of the three arrays in cuDNN's axis order, and the options of the convolution."""
    n, h, w, c = problem.images
    o, kh, kw, per_group = problem.filters
    _, ho, wo, _ = problem.maps
    arrays = {
        "x": ([n, c, h, w], _strides(h, w, c)),
        "w": ([o, per_group, kh, kw], _strides(kh, kw, per_group)),
        "y": ([n, o, ho, wo], _strides(ho, wo, o)),
    }
    options = {
        "pre_padding": list(problem.padding),
        "post_padding": list(problem.padding),
        "stride": list(problem.stride),
        "dilation": list(problem.dilation),
    }
    return arrays, options


def _strides(height: int, width: int, channels: int) -> list[int]:
    """Return the strides of the axes (N, C, H, W) of a channels-last array."""
    return [height * width * channels, 1, width * channels, channels]


def _made(problem: Problem) -> Plan | None:
    """Ask cuDNN for a plan."""
    import cudnn

    try:
        graph, operands = _graph(problem)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.deselect_numeric_notes(_unwanted(problem))
        graph.check_support()
        if problem.plans == "fastest":
            return _fastest(graph, operands, problem)
        graph.build_plans()
        return Plan(graph, operands, None, graph.get_workspace_size())
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError):
        return None  # versions of the frontend raise different errors for unsupported problems


def _graph(problem: Problem) -> tuple[Any, list[Any]]:
    """Return the graph of one operation and its operands in the order of `Plan.run`."""
    import cudnn

    types = {"float16": cudnn.data_type.HALF, "bfloat16": cudnn.data_type.BFLOAT16, "float32": cudnn.data_type.FLOAT}
    single = cudnn.data_type.FLOAT
    stored = types[problem.dtype]
    graph = cudnn.pygraph(handle=handle(), io_data_type=stored, intermediate_data_type=single, compute_data_type=single)
    arrays, options = describe(problem)

    def given(name: str) -> Any:
        axes, strides = arrays[name]
        return graph.tensor(name=name, dim=axes, stride=strides, data_type=stored)

    if problem.kind == "forward":
        factors, result = [given("x"), given("w")], "y"
        out = graph.conv_fprop(image=factors[0], weight=factors[1], **options)
    elif problem.kind == "grad_x":
        factors, result = [given("y"), given("w")], "x"
        out = graph.conv_dgrad(loss=factors[0], filter=factors[1], **options)
    else:
        factors, result = [given("x"), given("y")], "w"
        out = graph.conv_wgrad(image=factors[0], loss=factors[1], **options)
    axes, strides = arrays[result]
    out.set_output(True).set_dim(axes).set_stride(strides)
    out.set_data_type(single if problem.dtype == "bfloat16" else stored)
    return graph, [*factors, out]


def _unwanted(problem: Problem) -> list[Any]:
    """Return the numerical notes that exclude a plan: other precisions, and results that are not deterministic."""
    import cudnn

    note = cudnn.numerical_note
    found = [note.DOWN_CONVERT_INPUTS, note.REDUCED_PRECISION_REDUCTION]
    if problem.dtype == "float32" and problem.products == "float32":
        found.append(note.TENSOR_CORE)  # for float32 that is TF32
    if problem.plans == "deterministic":
        found.append(note.NONDETERMINISTIC)
    return found


def _fastest(graph: Any, operands: list[Any], problem: Problem) -> Plan | None:
    """Time the first plans that cuDNN recommends, on arrays of zeros, and return the fastest."""
    import cudnn
    import cupy

    sizes = {"x": problem.images, "w": problem.filters, "y": problem.maps}
    names = {"forward": "xwy", "grad_x": "ywx", "grad_w": "xyw"}[problem.kind]
    width = 2 if problem.dtype == "float16" else 4  # enough for bfloat16 too
    arrays = [cupy.zeros((*sizes[name], width), cupy.uint8) for name in names]
    best: tuple[float, Plan] | None = None
    measured = 0
    for index in range(graph.get_execution_plan_count()):  # includes rejected plans, whose build fails
        if measured == MOST_MEASURED:
            break
        try:
            graph.build_plan_at_index(index)
            plan = Plan(graph, operands, index, graph.get_workspace_size_plan_at_index(index))
            seconds = _measured(plan, arrays)
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError):
            continue
        measured += 1
        if best is None or seconds < best[0]:
            best = seconds, plan
    return best[1] if best else None


def _measured(plan: Plan, arrays: list[Array]) -> float:
    """Return the minimum milliseconds of a few runs, after a warm-up run."""
    import cupy

    plan.run(*arrays)
    times = []
    for _ in range(ROUNDS):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        plan.run(*arrays)
        end.record()
        end.synchronize()
        times.append(float(cupy.cuda.get_elapsed_time(begin, end)))
    return min(times)


def current_choices() -> tuple[str, str]:
    """Return products and plans of the current options."""
    options = OPTIONS.get()
    return options.products, options.plans
