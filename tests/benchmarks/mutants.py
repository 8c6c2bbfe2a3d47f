"""Test the conformance kit with mutants of the layers' code: python tests/benchmarks/mutants.py LOG [NAME ...]

The same as ``tinygrad-lab check --mutants``, but it can be interrupted and resumed: it appends a line of JSON to LOG
for each layer. ``--page docs/results`` writes the page of the documentation from the log.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np

from tinygrad_lab.conformance.mutants import kill_mutants
from tinygrad_lab.registry import layers

HEAD = """# Mutants of the layers

`tinygrad-lab check --mutants` changes a layer's own code in one place at a time (it drops a term, multiplies by 1.01,
changes a sign, transposes a matrix, or replaces a sum with a mean) and runs the kit's `ci` profile on each of these
mutants. A mutant is *killed* if the kit reports an error. Operations that layers share are not mutated: their own tests
and the [planted bugs](planted_bugs.md) cover them.
"""


def read(log: Path) -> dict[str, dict[str, Any]]:
    """Return the results so far, by layer; the latest line counts."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return {entry["layer"]: entry for entry in map(json.loads, lines)}


def check(name: str) -> dict[str, Any]:
    """Return the results for all mutants of one layer."""
    found = kill_mutants(name)
    survivors = [{"damage": m.damage, "reason": found.equivalent.get(m.damage)} for m in found.survivors]
    return {"layer": name, "killed": Counter(found.killed.values()), "survivors": survivors}


def cell(text: str) -> str:
    """Return text escaped for a cell of a table."""
    return text.replace("|", "\\|")


def page(done: dict[str, dict[str, Any]]) -> str:
    """Return the log as a page of the documentation."""
    rows = [done[name] for name in sorted(done)]
    killed = sum(sum(row["killed"].values()) for row in rows)
    alive = [(row["layer"], s["damage"], s["reason"]) for row in rows for s in row["survivors"]]
    none = [row["layer"] for row in rows if not row["killed"] and not row["survivors"]]
    lines = [HEAD, f"{killed} of {killed + len(alive)} mutants of {len(rows) - len(none)} layers are killed.", ""]
    if alive:
        lines += ["## Survivors", "", "| layer | damage | why it survives |", "|---|---|---|"]
        lines += [
            f"| {name} | `{cell(damage)}` | {cell(reason or 'no reason is known')} |" for name, damage, reason in alive
        ]
        lines.append("")
    lines += ["## Killed", "", "| layer | mutants | killed by |", "|---|---:|---|"]
    for row in rows:
        if count := sum(row["killed"].values()):
            by = ", ".join(f"{name} {n}" for name, n in Counter(row["killed"]).most_common())
            lines.append(f"| {row['layer']} | {count} | {by} |")
    if none:
        lines += ["", f"Layers without mutants, because they have no arithmetic of their own: {', '.join(none)}."]
    if missing := [name for name in layers if name not in done]:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, Hypothesis {hypothesis.__version__}"
    lines += ["", f"Written by `python tests/benchmarks/mutants.py LOG --page docs/results` ({versions}).", ""]
    return "\n".join(lines)


def main() -> None:
    """Check mutants, or write the page."""
    parser = argparse.ArgumentParser(description="Mutate the layers' own code and check whether the kit detects it.")
    parser.add_argument("log", type=Path, help="file with a line for each layer")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="check these layers again; by default, all that are not in the log"
    )
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="only write the page, into this folder")
    arguments = parser.parse_args()
    done = read(arguments.log)
    if arguments.page is not None:
        (arguments.page / "mutants.md").write_text(page(done), encoding="utf-8")
        return
    for name in arguments.names or [name for name in layers if name not in done]:
        entry = check(name)
        with arguments.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        print(name, sum(entry["killed"].values()), "killed,", [s["damage"] for s in entry["survivors"]], flush=True)


if __name__ == "__main__":
    main()
