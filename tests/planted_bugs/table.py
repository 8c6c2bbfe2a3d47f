"""Write the table of docs/results/planted_bugs.md, with the verdicts of the kit and of PyTorch's gradcheck.

Run ``python -m tests.planted_bugs.table`` from the root of the repository, with PyTorch installed. It takes minutes.
"""

from __future__ import annotations

import platform
import sys
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np

from tests.planted_bugs.corpus import BUGS, FILES
from tests.planted_bugs.planting import CI, Bug
from tinygrad_lab.conformance.properties import ONCE
from tinygrad_lab.conformance.trials.subject import Subject

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "planted_bugs.md"
WORKERS = 3
MOST_NAMED = 4  # properties in a row of the table


def gradcheck_passes(subject: Subject) -> bool:
    """Return whether PyTorch's gradcheck with its default settings passes."""
    import torch  # optional

    class Wrapped(torch.autograd.Function):  # type: ignore[misc]  # torch may be missing
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ys, ctx.pull = subject.linearize([t.detach().numpy() for t in tensors])
            return tuple(torch.tensor(y) for y in ys)

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            return tuple(torch.tensor(g) for g in ctx.pull([g.numpy() for g in cotangents]))

    arrays = [torch.tensor(a, requires_grad=True) for a in subject.arrays]
    if not arrays:
        return True
    try:
        return bool(torch.autograd.gradcheck(Wrapped.apply, arrays))
    except Exception:  # a failure of the check or an error in it
        return False


def killed_by_gradcheck(bug: Bug) -> bool:
    """Return whether gradcheck kills a bug on at least one of the cases that the kit draws."""
    try:
        return not all(gradcheck_passes(subject) for subject in bug.subjects(CI))
    except Exception:  # the layer cannot even be called
        return True


def killers(bug: Bug) -> list[str]:
    """Return the properties that kill a bug; the one that must find it comes first."""
    found = {p.name for p in bug.inspect(None, CI).failures} - {"adequacy"}
    if bug.by not in ONCE:  # a fresh process has the correct forward, so every wrong forward fails there
        found -= {"fresh_process"}
    return sorted(found, key=lambda name: (name != bug.by, name))


def title(module: Any) -> str:
    """Return the heading of a file's bugs."""
    return str(module.__doc__).removeprefix("Planted bugs of ").split(".")[0].split(":")[0].capitalize()


def judge(name: str) -> tuple[str, list[str], bool]:
    """Return a bug's name, the properties that kill it, and whether gradcheck does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = name, killers(BUGS[name]), killed_by_gradcheck(BUGS[name])
    sys.stderr.write(f"{verdict}\n")
    return verdict


def rows(verdicts: dict[str, tuple[list[str], bool]]) -> list[str]:
    """Return the lines of the tables, one for each file of bugs."""
    lines: list[str] = []
    for module in FILES:
        lines += [
            "",
            f"## {title(module)}",
            "",
            "| layer | what is wrong | killed by | gradcheck |",
            "|---|---|---|---|",
        ]
        for bug in (b for b in BUGS.values() if b.file == module.__name__):
            names, other = verdicts[bug.name]
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            named = ", ".join(f"`{name}`" for name in names[:MOST_NAMED]) + more if names else "**nothing**"
            lines.append(f"| {bug.layer} | {bug.wrong} | {named} | {'killed' if other else 'passes'} |")
    return lines


def main() -> None:
    """Write the page."""
    import torch

    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        verdicts = {name: (names, other) for name, names, other in pool.map(judge, BUGS)}
    by = Counter(name for names, _ in verdicts.values() for name in names)
    kills, gradcheck = sum(bool(names) for names, _ in verdicts.values()), sum(o for _, o in verdicts.values())
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, Hypothesis {hypothesis.__version__}"
    head = [
        "# Planted bugs",
        "",
        f"The kit is tested with {len(BUGS)} wrong layers, each made from a correct layer by one realistic error.",
        f"A run of the `ci` profile ({CI.examples} drawn cases for each layer) kills (detects) {kills} of {len(BUGS)},",
        "and passes their correct twins.",
        "",
        f"`torch.autograd.gradcheck` with its default settings, given the same cases, kills {gradcheck}.",
        "It checks only first derivatives in float64, and assumes that the forward is right.",
        "",
        f"Written by `python -m tests.planted_bugs.table` ({versions}, PyTorch {torch.__version__}).",
        "",
        "| property | bugs that it kills |",
        "|---|---|",
        *(f"| `{name}` | {count} |" for name, count in by.most_common()),
    ]
    PAGE.write_text("\n".join([*head, *rows(verdicts)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
