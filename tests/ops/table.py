"""The table of operations: for each public operation, drawn arguments and the results of NumPy and PyTorch."""

from __future__ import annotations

from tests.ops.drawing import TABLE, Trial
from tests.ops.rows import elementwise, images, indexing, linalg, linear, normalization, reductions, shapes
from tests.ops.rows.constants import CONSTANTS

__all__ = ["CONSTANTS", "OTHERS", "TABLE", "Trial"]

# Their import fills the table.
ROWS = (elementwise, images, indexing, linalg, linear, normalization, reductions, shapes)

# Public names that are not operations.
OTHERS = frozenset(
    {
        *("Buffer", "Layer", "Parameter", "Primitive", "Sequential", "Tensor", "Window", "__version__", "batch_part"),
        *("checkpoint", "detect_anomaly", "errors", "expect_images", "functional_call", "grad", "hessian", "hvp"),
        *("in_floats", "draw_graph", "explain_backward", "initializers", "load_run"),
        *("arange", "eye", "full", "linspace", "ones", "ones_like", "zeros", "zeros_like"),
        *("jacobian", "jvp", "kernels", "layers", "linalg", "no_grad", "once", "ops", "pair", "primitive"),
        *("reference_only", "seed", "stop_gradient", "tensor", "value_and_grad", "vjp"),
    }
)
