"""Measure how often the conformance kit rejects correct layers.

    python tests/benchmarks/false_alarms.py LOG [--pooled 100000] [--each 1000] [--only NAME ...]
    python tests/benchmarks/false_alarms.py LOG --page docs/results

Every registered layer is checked on new seeds until it has had EACH drawn cases, and then, the cheapest first, until
all together have had POOLED. A line of JSON is appended to LOG for each batch, so that the job can be interrupted and
resumed at any time. With ``--page`` the log is summarized in ``false_alarms.json`` and on a page.

A *draw* is a structure drawn by Hypothesis with the values drawn for it. It counts once, even if it is checked in
training and in evaluation. Cases that an author fixed, which are the same in every batch, do not count.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import defaultdict
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np

from tinygrad_lab.conformance import inspect_layer
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.registry import layers
from tinygrad_lab.train.provenance import revision

BATCH = 50  # structures in one search
FIRST_SEED = 1000
EACH, POOLED = 1000, 100_000  # minimum draws of each layer, and of all together

Entries = dict[str, list[dict[str, Any]]]


def read(log: Path) -> Entries:
    """Return the batches that were checked so far, by layer."""
    done: Entries = defaultdict(list)
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            done[entry["layer"]].append(entry)
    return done


def check(name: str, seed: int, at: str) -> dict[str, Any]:
    """Check one batch of one layer. Failures are not shrunk; the same seed reproduces them."""
    result = inspect_layer(name, profile=Profile(examples=BATCH, seed=seed, shrink=False))
    nearest = max((p.worst.ratio, p.name) for p in result.properties.values())
    return {
        "layer": name,
        "seed": seed,
        "revision": at,
        "draws": result.drawn,
        "comparisons": sum(p.examples for p in result.properties.values()),
        "undecided": sum(p.undecided for p in result.properties.values()),
        "nearest": [nearest[1], round(nearest[0], 4)],
        "seconds": round(result.seconds, 2),
        "failures": {p.name: f"{p.failure.headline} {p.failure.case}" for p in result.failures if p.failure},
    }


def total(entries: list[dict[str, Any]], key: str) -> Any:
    """Return a sum over batches."""
    return sum(entry[key] for entry in entries)


def next_layer(done: Entries, names: list[str], each: int, pooled: int) -> str | None:
    """Return the layer to check next, or None if there are enough draws.

    This is the layer with the fewest draws while any has fewer than `each`, then the one that took the least time.
    """
    lacking = [name for name in names if total(done[name], "draws") < each]
    if lacking:
        return min(lacking, key=lambda name: total(done[name], "draws"))
    if sum(total(done[name], "draws") for name in names) >= pooled:
        return None
    return min(names, key=lambda name: total(done[name], "seconds"))


def job(log: Path, names: list[str], each: int, pooled: int) -> None:
    """Check batches of layers until all have had their draws."""
    done, at = read(log), revision()
    while (name := next_layer(done, names, each, pooled)) is not None:
        entry = check(name, FIRST_SEED + len(done[name]), at)
        done[name].append(entry)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if entry["failures"]:
            print(f"{name}, seed {entry['seed']}: {entry['failures']}", flush=True)


def summary(done: Entries) -> dict[str, Any]:
    """Return a summary of the log: a row for each layer, and the number of draws by revision."""
    revisions: dict[str, int] = defaultdict(int)
    rows = []
    for name, entries in sorted(done.items()):
        for entry in entries:
            revisions[entry["revision"]] += entry["draws"]
        worst, ratio = max((e["nearest"] for e in entries), key=lambda pair: pair[1])
        row = {"layer": name, "nearest": worst, "ratio": ratio, "false_alarms": total(entries, "alarms")}
        rows.append(row | {key: round(total(entries, key)) for key in ("draws", "comparisons", "undecided", "seconds")})
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, Hypothesis {hypothesis.__version__}"
    return {"versions": versions, "batch": BATCH, "revisions": dict(revisions), "layers": rows}


def page(found: dict[str, Any]) -> str:
    """Return the summary as a page of the documentation."""
    rows = found["layers"]
    draws, alarms = total(rows, "draws"), total(rows, "false_alarms")
    lines = [
        "# False alarms",
        "",
        f"The kit judged {len(rows)} correct layers on {draws:,} drawn cases, at least",
        f"{min(r['draws'] for r in rows):,} for each layer. A judgment is the result of one property on one case.",
        f"Of {total(rows, 'comparisons'):,} judgments, **{alarms} were false alarms**. The run took "
        f"{total(rows, 'seconds') / 60:.0f} minutes,",
        f"in batches of {found['batch']} cases.",
        "",
        "A draw is one case (arguments, options, input shapes) with the values drawn for it. It counts once, even if",
        "the layer has statistics or random numbers and is checked in both modes. A judgment is *undecided* if the",
        "oracle declines it: at a kink,",
        "or where numbers are too large for finite differences. *Nearest to its tolerance* is the largest error over",
        "all draws, as a share of its tolerance.",
        "",
        "| layer | draws | judgments | undecided | nearest to its tolerance | false alarms |",
        "|---|---:|---:|---:|---|---:|",
    ]
    lines += [
        f"| {r['layer']} | {r['draws']:,} | {r['comparisons']:,} | {r['undecided']:,} "
        f"| `{r['nearest']}`, {r['ratio']:.1%} | {r['false_alarms']} |"
        for r in rows
    ]
    if alarms:
        lines += [
            "",
            "A cause gives alarms in batch after batch until it is fixed. Every cause has been fixed, and",
            "`tests/conformance/test_false_alarms.py` has a case of each.",
        ]
    if draws < POOLED or min(r["draws"] for r in rows) < EACH:
        lines += ["", f"The run is not complete: its goal is {POOLED:,} draws, and {EACH:,} for each layer."]
    shares = ", ".join(f"{count:,} at {name}" for name, count in found["revisions"].items())
    lines += ["", f"Draws by revision: {shares} (+: with uncommitted changes). {found['versions']}."]
    lines += ["", "Written by `python tests/benchmarks/false_alarms.py LOG --page docs/results`.", ""]
    return "\n".join(lines)


def write_page(done: Entries, folder: Path) -> None:
    """Write the summary and its page."""
    for entries in done.values():
        for entry in entries:
            entry["alarms"] = len(entry["failures"])
    found = summary(done)
    (folder / "false_alarms.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "false_alarms.md").write_text(page(found), encoding="utf-8")


def main() -> None:
    """Draw cases, or summarize the log."""
    parser = argparse.ArgumentParser(description="Look for false alarms of the conformance kit.")
    parser.add_argument("log", type=Path, help="file with a line for each batch")
    parser.add_argument("--each", type=int, default=EACH, help="minimum draws for each layer (1,000)")
    parser.add_argument("--pooled", type=int, default=POOLED, help="minimum draws for all layers together (100,000)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these layers")
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="only write the summary, into this folder")
    arguments = parser.parse_args()
    if arguments.page is not None:
        write_page(read(arguments.log), arguments.page)
    else:
        job(arguments.log, arguments.only or list(layers), arguments.each, arguments.pooled)


if __name__ == "__main__":
    main()
