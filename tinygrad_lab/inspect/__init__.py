"""Views of networks and runs: tables of layers, drawings, signals inside, predictions, curves and results."""

from tinygrad_lab.inspect.causes import Cause
from tinygrad_lab.inspect.curves import draw_curves, save_curves
from tinygrad_lab.inspect.draw import Drawing, draw, draw_blocks, draw_model
from tinygrad_lab.inspect.estimates import Estimate, RegressionReport
from tinygrad_lab.inspect.explain import BackwardStep, Explanation, Flow, Gradient, Values, explain_backward
from tinygrad_lab.inspect.graph import draw_graph
from tinygrad_lab.inspect.page import run_page
from tinygrad_lab.inspect.planes import (
    PlaneContributions,
    class_activation,
    contributions,
    grad_cam,
    plane_contributions,
    prune,
)
from tinygrad_lab.inspect.prediction import ClassScore, Prediction, Report
from tinygrad_lab.inspect.results import Results, results
from tinygrad_lab.inspect.run import Run, load_run
from tinygrad_lab.inspect.signals import Signal, signals
from tinygrad_lab.inspect.summary import Summary, summarize, summarize_model
from tinygrad_lab.inspect.tracing import Place
from tinygrad_lab.inspect.usage import usage_map

__all__ = [
    "BackwardStep",
    "Cause",
    "ClassScore",
    "Drawing",
    "Estimate",
    "Explanation",
    "Flow",
    "Gradient",
    "Place",
    "PlaneContributions",
    "Prediction",
    "RegressionReport",
    "Report",
    "Results",
    "Run",
    "Signal",
    "Summary",
    "Values",
    "class_activation",
    "contributions",
    "draw",
    "draw_blocks",
    "draw_curves",
    "draw_graph",
    "draw_model",
    "explain_backward",
    "grad_cam",
    "load_run",
    "plane_contributions",
    "prune",
    "results",
    "run_page",
    "save_curves",
    "signals",
    "summarize",
    "summarize_model",
    "usage_map",
]
