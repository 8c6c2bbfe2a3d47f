"""How often the conformance kit finds fault with correct layers: python tests/benchmarks/false_alarms.py LOG [DRAWS]

Every registered layer is checked on fresh seeds until it has had DRAWS cases (2,500 by default). A line of JSON is
appended to LOG for each batch, so that the job can be broken off and taken up again at any time; it ends with a table.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tinygrad_lab.conformance import inspect_layer
from tinygrad_lab.conformance.search import Profile
from tinygrad_lab.registry import layers

BATCH = 50  # structures in one search


def read(log: Path) -> dict[str, list[dict[str, Any]]]:
    """What was done so far, by layer."""
    done: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            done[entry["layer"]].append(entry)
    return done


def check(name: str, seed: int) -> dict[str, Any]:
    """One batch of one layer."""
    result = inspect_layer(name, profile=Profile(examples=BATCH, seed=seed))
    nearest = max((p.worst.ratio, p.name) for p in result.properties.values())
    return {
        "layer": name,
        "seed": seed,
        "draws": result.examples,
        "comparisons": sum(p.examples for p in result.properties.values()),
        "undecided": sum(p.undecided for p in result.properties.values()),
        "nearest": [nearest[1], round(nearest[0], 4)],
        "seconds": round(result.seconds, 2),
        "failures": {p.name: p.failure.report or p.failure.headline for p in result.failures if p.failure},
    }


def table(done: dict[str, list[dict[str, Any]]]) -> str:
    """The summary in Markdown."""
    lines = [
        "| Layer | Draws | Comparisons | Undecided | Nearest to its tolerance | False alarms |",
        "|---|---|---|---|---|---|",
    ]
    totals = [0, 0, 0, 0]
    for name, entries in sorted(done.items()):
        sums = [sum(e[key] for e in entries) for key in ("draws", "comparisons", "undecided")]
        sums.append(sum(len(e["failures"]) for e in entries))
        totals = [a + b for a, b in zip(totals, sums, strict=True)]
        worst, ratio = max((e["nearest"] for e in entries), key=lambda pair: pair[1])
        lines.append(f"| {name} | {sums[0]:,} | {sums[1]:,} | {sums[2]:,} | {worst}, {ratio:.1%} | {sums[3]} |")
    lines.append(f"| all | {totals[0]:,} | {totals[1]:,} | {totals[2]:,} | | {totals[3]} |")
    return "\n".join(lines)


def main(log: Path, draws: int) -> None:
    """Go round the layers until each has had its draws."""
    done = read(log)
    names = list(layers)
    while names:
        for name in list(names):
            entries = done[name]
            if sum(e["draws"] for e in entries) >= draws:
                names.remove(name)
                continue
            entry = check(name, seed=1000 + len(entries))
            entries.append(entry)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            if entry["failures"]:
                print(f"{name}, seed {entry['seed']}: {', '.join(entry['failures'])}", flush=True)
    print(table(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2500)
