"""Families of public names: each has a page in the reference."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab import registry
from tinygrad_lab.autograd.primitive import Primitive

TOP = "tinygrad_lab"


@dataclass(frozen=True)
class Family:
    """Names that belong together.

    Parameters
    ----------
    slug, title, lead : str
        The page's file, title and first sentence.
    top : tuple of str
        The modules whose names `import tinygrad_lab as tgl` gives.
    modules : tuple of str
        Modules that users import by name; all their public names are shown.
    """

    slug: str
    title: str
    lead: str
    top: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


FAMILIES = (
    Family(
        "transforms",
        "Transforms and settings",
        "Functions of functions: derivatives of every order and recomputation. Settings that apply in a `with` block.",
        (
            *("autograd.transforms", "autograd.forward", "autograd.checkpoint", "autograd.jacobians"),
            *("autograd.settings", "autograd.anomaly", "autograd.effects"),
        ),
    ),
    Family(
        "tensors",
        "Tensors",
        "The immutable boxed array, how to make one, and trees of them.",
        ("tensor", "creation"),
        ("autograd.trees",),
    ),
    Family(
        "primitives",
        "Primitives",
        "Operations with derivative rules, windows over images, and the treatment of integers and float16.",
        ("autograd.primitive", "ops.windows", "ops.widths"),
    ),
    Family("arithmetic", "Arithmetic and comparisons", "Element by element, with broadcasting.", ("ops.arithmetic",)),
    Family("elementary", "Elementary functions", "Element by element.", ("ops.elementary",)),
    Family("reductions", "Sums, maxima, sorting", "Along axes.", ("ops.reductions",)),
    Family(
        "shaping", "Shapes and indexing", "Operations that move or select numbers.", ("ops.shaping", "ops.indexing")
    ),
    Family(
        "linear",
        "Matrices",
        "Products, diagonals and triangles; inverses and decompositions, such as `tgl.linalg.inv`.",
        ("ops.linear", "ops.diagonals"),
        ("ops.linalg",),
    ),
    Family(
        "networks",
        "Operations of networks",
        "Convolution, pooling, normalization, activations, dropout. Images are (N, H, W, C).",
        ("ops.convolution", "ops.pooling", "ops.normalization", "ops.activation", "ops.dropping"),
    ),
    Family(
        "layer",
        "Layers and plugins",
        "The base class, and the registry.",
        ("nn.variables", "nn.layer", "nn.sequential", "nn.functional", "nn.parts"),
        ("registry",),
    ),
    Family(
        "initializers",
        "Initial values",
        "Functions that make the initial values of weights.",
        ("nn.initializers",),
        ("nn.initializers",),
    ),
    Family("losses", "Around losses", "Functions that losses share.", (), ("losses",)),
    Family("optim", "Around optimizers", "Averages of weights, clipping, the base class.", (), ("optim",)),
    Family("data", "Data", "Data sets in memory, batches, augmentation.", (), ("data",)),
    Family(
        "train",
        "Training",
        "Recipes, the training loop, the files of a run, and scikit-learn's interface.",
        (),
        ("train", "train.estimator"),
    ),
    Family(
        "distributed",
        "Several processes",
        "Groups of ranks, exchanges with derivatives, and jobs that fail as one.",
        (),
        ("distributed",),
    ),
    Family(
        "weights",
        "Weights",
        "Files of weights, import from and export to other frameworks, and freezing.",
        (),
        ("weights", "weights.conventions"),
    ),
    Family(
        "inspect",
        "Looking inside",
        "Trained networks in use. Summaries and drawings of networks and their values.",
        ("inspect.run", "inspect.explain", "inspect.graph"),
        ("inspect", "inspect.doctor"),
    ),
    Family("conformance", "The conformance kit", "Cases and checks.", (), ("conformance",)),
    Family("kernels", "Kernels", "The project's threads and kernels.", (), ("kernels",)),
    Family("errors", "Errors", "Each message says who, expected, got, and what to do.", (), ("errors",)),
)

REGISTERED = {
    "losses": ("Losses", "Functions of predictions and targets. A recipe's table `loss` names one."),
    "optimizers": ("Optimizers", "Updates of parameters from gradients. A recipe's table `optimizer` names one."),
    "schedules": ("Schedules", "Factors of the learning rate over training. A recipe's table `schedule` names one."),
    "metrics": ("Metrics", "Scores of test and validation examples. `training.metrics` in a recipe names them."),
    "augmentations": ("Augmentations", "Random changes of training images. A recipe's list `augment` names them."),
    "datasets": ("Data sets", "Sources of images. A recipe's table `data` names one."),
}


def members(family: Family) -> list[str]:
    """Return the full names of a family, in the order of its modules."""
    modules = {f"{TOP}.{name}": position for position, name in enumerate(family.top)}
    found = []
    for name in tgl.__all__:
        thing = getattr(tgl, name)
        if getattr(thing, "__module__", None) in modules or (thing is registry.layers and "nn.layer" in family.top):
            found.append(f"{TOP}.{name}")
    found.sort(key=_place(modules))
    elsewhere = {id(getattr(tgl, name)) for name in tgl.__all__} | _plugins()
    for module in (f"{TOP}.{name}" for name in family.modules):
        for name in public(module):
            thing = getattr(importlib.import_module(module), name)
            if id(thing) not in elsewhere and not inspect.ismodule(thing):
                found.append(f"{module}.{name}")
                elsewhere.add(id(thing))
    return found


def _place(modules: dict[str, int]) -> Any:
    def key(name: str) -> tuple[int, str]:
        return modules.get(getattr(resolved(name), "__module__", ""), 0), name.lower()

    return key


def _plugins() -> set[int]:
    """Return the identities of the objects on the pages of plugins."""
    return {id(getattr(registry, kind)[name]) for kind in REGISTERED for name in getattr(registry, kind)}


def public(module: str) -> list[str]:
    """Return the public names of a module: `__all__`, or its own callables without a leading underscore."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return list(found.__all__)
    return [
        name
        for name, thing in vars(found).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module and callable(thing)
    ]


def resolved(name: str) -> Any:
    """Return the object with a full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def documented_as(name: str) -> str:
    """Return autodoc's directive for a name."""
    thing = resolved(name)
    if isinstance(thing, type):
        hidden = "" if issubclass(thing, Exception) else "   :members:\n"
        foreign = [name for name, member in vars(thing).items() if type(member).__module__.startswith("sklearn.")]
        hidden += f"   :exclude-members: {', '.join(foreign)}\n" if foreign else ""
        return f".. autoclass:: {name}\n{hidden}"
    if isinstance(thing, Primitive) or inspect.isroutine(thing):
        return f".. autofunction:: {name}\n"
    return f".. autodata:: {name}\n   :no-value:\n"
