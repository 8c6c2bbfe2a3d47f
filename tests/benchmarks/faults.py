"""Planted training faults, explained here and by PyTorch's anomaly mode: python -m tests.benchmarks.faults

It prints the page docs/results/planted_faults.md and writes it. PyTorch runs the same functions under
`torch.autograd.detect_anomaly`. A line counts as named if it is in any message, warning or traceback.
"""

from __future__ import annotations

import functools
import io
import re
import textwrap
import traceback
import warnings
from collections import Counter
from contextlib import redirect_stderr
from types import SimpleNamespace

import numpy as np
import torch

import tinygrad_lab as tgl
from tests.house.source import ROOT
from tests.inspect.faults import FAULTS, Fault
from tests.inspect.test_explain import LIBRARY, variables

OUTPUT = ROOT / "docs" / "results" / "planted_faults.md"
RIGHT, OTHER, NONE, SILENT = "the line", "another line", "a message without a line", "nothing"
THEIRS = SimpleNamespace(
    **{name: getattr(torch, name) for name in ("abs", "clip", "exp", "log", "maximum", "no_grad", "relu", "sigmoid")},
    **{name: getattr(torch, name) for name in ("argmax", "round", "sqrt", "tanh", "where")},
    array=lambda a: torch.tensor(np.asarray(a, "float32")),
    detach=torch.Tensor.detach,
    numpy=lambda t: t.detach().numpy(),
    softmax=functools.partial(torch.softmax, dim=-1),
)


def ours(fault: Fault) -> str:
    """Return the kind of the first cause, with a note if its line is not that of the fault."""
    made = variables(fault)
    explanation = tgl.explain_backward(functools.partial(fault.compute, LIBRARY, **made), of=made)
    cause = explanation[fault.variable].causes[0]
    right = cause.place is not None and cause.place.line == fault.line
    return cause.kind if right else f"{cause.kind}, another line"


def theirs(fault: Fault) -> str:
    """Return what anomaly mode, or the backward pass itself, reports: the line of the fault, another line, no line."""
    constant = {name: name == "data" or name.endswith("_frozen") for name in fault.arrays}
    made = {name: torch.tensor(a, requires_grad=not constant[name]) for name, a in fault.arrays.items()}
    text, error = io.StringIO(), None
    with warnings.catch_warnings(record=True) as caught, redirect_stderr(text):
        warnings.simplefilter("always")
        try:
            with torch.autograd.detect_anomaly():
                fault.compute(THEIRS, **made).backward()
        except RuntimeError as raised:
            error = raised
    if error is None:
        return SILENT
    said = "\n".join([*(str(w.message) for w in caught), *traceback.format_exception(error), text.getvalue()])
    lines = {int(line) for line in re.findall(r'inspect/faults\.py", line (\d+)', said)}
    return RIGHT if fault.line in lines else OTHER if lines else NONE


def page() -> str:
    """Return the page of results."""
    rows = [(fault, ours(fault), theirs(fault)) for fault in FAULTS]
    count = Counter(answer for _, _, answer in rows)
    right = sum(found == fault.kind for fault, found, _ in rows)
    table = [f"| {f.name.replace('_', ' ')} | {f.state} | `{found}` | {answer} |" for f, found, answer in rows]
    text = f"""`tgl.explain_backward` is tested by {len(rows)} small networks, each with one fault of training: a
    gradient that is zero, missing, not finite, vanishing or exploding. It names the cause and the line of {right} of
    these {len(rows)} faults. The faults and the explanations have the same authors, so this tests the kinds of faults
    that the explanations cover; it does not show how many faults in practice they explain.

    The same functions ran in PyTorch under `torch.autograd.detect_anomaly`, which reports the operation that first made
    a gradient NaN, and was not made for gradients that are zero or missing. For {count[RIGHT]} of the
    same faults it gave the right line; for {count[OTHER]}, another line, where the first NaN appeared in the backward
    pass; for {count[NONE]}, a message without a line (the loss has no gradient at all); for {count[SILENT]}, no
    message.

    Written by `python -m tests.benchmarks.faults` (NumPy {np.__version__}, PyTorch {torch.__version__})."""
    paragraphs = [textwrap.fill(" ".join(part.split()), 140) for part in text.split("\n\n")]
    head = "| fault | gradient | cause that `explain_backward` names, with its line | anomaly mode |\n|---|---|---|---|"
    return "\n\n".join(["# Planted training faults", *paragraphs, "\n".join([head, *table])]) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(page(), encoding="utf-8")
    print(page())
