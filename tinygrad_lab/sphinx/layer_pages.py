"""Directives of layers: ``layer`` renders the page of any installed plugin.

```{layer} conv2d
:example: conv2d(3, 16, kernel_size=3, padding="same")
:input: 32, 32, 3
```

The page has the plugin's docstring (formula, parameters, shapes, errors, paper), the errors that its cases provoke with
their real messages, a drawing, the cost and the report card. Without an example, the first of its cases is used.
``report-card`` renders only the card. The configuration value ``tinygrad_lab_cards`` names a JSON file of stored cards,
below the source folder; the kit checks every layer that is not in it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx

import tinygrad_lab as tgl
from tinygrad_lab import registry
from tinygrad_lab.conformance.cases.nested import construct
from tinygrad_lab.conformance.properties import LAYER, ONCE
from tinygrad_lab.conformance.properties.laws import find_law
from tinygrad_lab.conformance.trials.values import draw_input
from tinygrad_lab.errors import LabError
from tinygrad_lab.inspect import draw
from tinygrad_lab.inspect.trace import trace
from tinygrad_lab.nn.initializers import shapes_only
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.sphinx.cards import card
from tinygrad_lab.sphinx.figures import curve, elementwise, figure
from tinygrad_lab.sphinx.restructured import ComposingDirective, escaped, html, literal, table

WHAT_IS_CHECKED_ONCE = {
    "fresh_process": "Configuration and state, saved and loaded in a fresh process, give the same layer.",
    "bad_inputs": "Each documented misuse raises the documented error.",
    "misfits": "For arguments that do not fit together, kernels give the same result or error as the reference.",
    "adequacy": "The cases draw every option and run every branch of the layer.",
}
MOST_ERRORS = 10


def evaluated(node: ast.expr) -> Any:
    """Return the value of an example, which may contain literals and calls of layers by their registered names."""
    if isinstance(node, ast.Call):
        make = registry.layers[ast.unparse(node.func)]
        options = {k.arg: evaluated(k.value) for k in node.keywords if k.arg is not None}
        return make(*map(evaluated, node.args), **options)
    if isinstance(node, ast.List | ast.Tuple):
        return [evaluated(element) for element in node.elts]
    return ast.literal_eval(node)


def example_of(name: str, options: dict[str, str]) -> tuple[str, Layer, list[tuple[int, ...]]]:
    """Return an example as text, the layer, and the shapes of its inputs without the batch axis."""
    if "example" in options:
        text = options["example"]
        with shapes_only():
            layer = evaluated(ast.parse(text, mode="eval").body)
        taken = ast.literal_eval(options["input"])
        taken = (taken,) if isinstance(taken, int) else taken
        return text, layer, [taken] if all(isinstance(n, int) for n in taken) else list(taken)
    case = first_case(name)
    layer = construct(registry.layers[name], case.args, case.options, np.random.default_rng(0))
    return " ".join(repr(layer).split()), layer, [given.shape[1:] for given in case.inputs]


def first_case(name: str) -> Any:
    """Return an example from the cases of a layer: the author's first, or the simplest drawn one."""
    from hypothesis import find

    cases = registry.cases[name]
    return cases.examples[0] if cases.examples else find(cases.strategy, lambda case: bool(case.inputs))


class LayerDirective(ComposingDirective):
    """The page of a registered layer."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"example": directives.unchanged, "input": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the page below its title."""
        name = self.arguments[0]
        cls = registry.layers[name]
        for module in (cls.__module__, registry.cases.plugin(name).target.partition(":")[0]):
            self.env.note_dependency(str(inspect.getsourcefile(importlib.import_module(module))))
        for path in (*Path(__file__).parent.glob("*.py"), *cards_of(self)):
            self.env.note_dependency(str(path))
        text, layer, shapes = example_of(name, self.options)
        return [
            *self.composed(facts(name, cls) + documentation(name)),
            self.section("Drawing", html(drawing(name, layer, shapes))),
            self.section("Cost", cost(text, layer, shapes)),
            *([self.section("Errors", errors(name, cls))] if registry.cases[name].bad_inputs else []),
            self.section("Report card", report_card(name, cards_of(self))),
        ]


def facts(name: str, cls: Any) -> str:
    """Return a line with the names of a layer and its distribution."""
    plugin = registry.layers.plugin(name)
    module, _, attribute = plugin.target.partition(":")
    return (
        f".. container:: facts\n\n   In recipes {literal(name)}, in Python "
        f"{literal(f'from {module} import {attribute}')}; shipped by {escaped(plugin.distribution)} "
        f"{escaped(plugin.version)}, plugin interface {cls.api}, configuration version {cls.version}.\n"
    )


def documentation(name: str) -> str:
    """Return autodoc's directive for the class."""
    module, _, attribute = registry.layers.plugin(name).target.partition(":")
    elsewhere = "   :no-index:\n" if attribute in tgl.__all__ else ""  # a page of names documents it too
    return f"\n.. autoclass:: {module}.{attribute}\n{elsewhere}"


def cost(text: str, layer: Layer, shapes: list[tuple[int, ...]]) -> str:
    """Return a table with the cost of an example for one image, sequence or vector."""
    whole = [(1, *shape) for shape in shapes]
    call = trace(layer, *whole)
    size = sum(math.prod(variable.shape) for variable in layer.variables().values())
    rows = [
        ("Example", literal(text)),
        ("Input", " and ".join(shape_text(shape) for shape in shapes)),
        ("Output", shape_text(tuple(call.returned[1:]))),
        ("Parameters and statistics", f"{size:,}"),
        ("Multiply-adds", f"{call.multiply_adds:,}"),
    ]
    return "The cost of one example, without the batch axis.\n\n" + table((), rows, classes="cost")


def shape_text(shape: tuple[int, ...]) -> str:
    """Return (28, 28, 6) as 28×28×6."""
    return "×".join(map(str, shape)) or "one number"


def drawing(name: str, layer: Layer, shapes: list[tuple[int, ...]]) -> str:
    """Return the graph of an activation, or a block diagram."""
    if len(shapes) == 1 and elementwise(layer):
        return figure(curve(layer, name), "Solid: y. Dashed: dy/dx.")
    return figure(draw(layer, shapes[0] if len(shapes) == 1 else shapes, name=name).svg)


def errors(name: str, cls: type) -> str:
    """Return a table of the misuses in the layer's cases, with their real messages."""
    rows = []
    for bad in registry.cases[name].bad_inputs[:MOST_ERRORS]:
        kind, message = provoked(cls, bad)
        given = [str(getattr(i, "shape", i)) for i in bad.inputs]
        use = ", ".join([*map(repr, bad.args), *(f"{k}={v!r}" for k, v in bad.options.items())])
        call = f"{cls.__name__}({use})" + (f" on {' and '.join(given)}" if given else "")
        rows.append((literal(call), f"{literal(kind)}\n\n{escaped(message)}"))
    return "Misuse of the layer raises these errors.\n\n" + table(("Use", "Error"), rows)


def provoked(cls: type, bad: Any) -> tuple[str, str]:
    """Return the type and message of the error that a misuse raises."""
    rng = np.random.default_rng(0)
    from tinygrad_lab.conformance import Input

    inputs = [draw_input(i if isinstance(i, Input) else Input(tuple(i)), rng) for i in bad.inputs]
    try:
        construct(cls, bad.args, bad.options, rng).train(bad.training)(*inputs)
    except LabError as error:
        return type(error).__name__, str(error)
    raise ValueError(f"{cls.__name__}: expected an error of {bad}, got none")


class ReportCardDirective(ComposingDirective):
    """The report card of a layer; with ``:short:`` only the properties with a measured error."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"short": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Return the table and its origin."""
        for path in (__file__, *cards_of(self)):
            self.env.note_dependency(str(path))
        return self.composed(report_card(self.arguments[0], cards_of(self), short="short" in self.options))


def cards_of(directive: ComposingDirective) -> list[Path]:
    """Return the file of stored cards that the configuration names, if it names one."""
    name = directive.config.tinygrad_lab_cards
    return [Path(directive.env.srcdir) / name] if name else []


def report_card(name: str, stored: list[Path], *, short: bool = False) -> str:
    """Return a report card: for each property its meaning, the worst error and the tolerance."""
    exemptions = registry.cases[name].exemptions
    found, origin = card(name, stored)
    rows: list[tuple[str, ...]] = []
    for row in found:
        exempt = exemptions.get(row["name"])
        mark = "✗" if not row["passed"] else "○" if exempt else "✓"
        says = meaning(row["name"], name) + (f" *Exempt: {escaped(exempt)}*" if exempt else "")
        measured = row["tolerance"] and row["worst_error"] is not None
        worst, bound = (f"{row[key]:.0e}" if measured else "" for key in ("worst_error", "tolerance"))
        if short and measured:
            rows.append((mark, literal(row["name"]), worst, bound))
        elif not short:
            rows.append((mark, f"{literal(row['name'])}\n\n{says}", str(row["examples"]), worst, bound))
    head = ("", "Property", *(() if short else ("Cases",)), "Worst error", "Tolerance")
    made = f"``tinygrad-lab check {name}``, {escaped(origin)}. ✓ holds, ✗ broken, ○ exempt."
    numbers = range(2, len(head))
    return f"{table(head, rows, classes='report-card', numbers=numbers)}\n.. container:: measured\n\n   {made}\n"


def meaning(prop: str, layer: str) -> str:
    """Return a sentence that states a property."""
    if prop in LAYER:
        return first_sentence(LAYER[prop].__doc__ or "")
    if prop in ONCE:
        return WHAT_IS_CHECKED_ONCE[prop]
    law = next((law for law in registry.cases[layer].laws if getattr(law, "name", law) == prop), None)
    if law is None:
        return "A law of the layer."
    law = find_law(law)
    return f"A law: {escaped(law.formula or first_sentence(law.check.__doc__ or prop))}"


def first_sentence(text: str) -> str:
    """Return the first paragraph of a docstring, as reStructuredText."""
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


def right(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Return a number of a table, aligned to the right of its column."""
    return [nodes.inline(rawtext, text, classes=["right"])], []


def signature(app: Sphinx, what: str, name: str, thing: Any, options: Any, given: str, returned: str) -> Any:
    """Return the parameters of a layer's constructor; autodoc would show those of `__new__`, which records them."""
    if what != "class" or not (isinstance(thing, type) and issubclass(thing, Layer)):
        return None
    parameters = list(inspect.signature(thing.__init__).parameters.values())[1:]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare)), None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and the role for numbers in tables."""
    app.add_directive("layer", LayerDirective)
    app.add_directive("report-card", ReportCardDirective)
    app.add_role("right", right)
    app.connect("autodoc-process-signature", signature)
    app.add_config_value("tinygrad_lab_cards", "", "env", [str])
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(Path(__file__).parent / "static")))
    app.add_css_file("tinygrad_lab_layers.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
