"""Run the conformance kit on a device for a limited time.

    python -m tests.gpu.kit --device cuda --examples 4 --seconds 100 [--names relu,dense] [--out FILE]

Results and gradients are compared with NumPy's, and kernels with their references. Prints one JSON object with the
failures and the names that were not checked in the time. With `--out`, each result is also written as a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab.autograd.settings import using
from tinygrad_lab.conformance.session import check_each

PROPERTIES = ("devices", "kernels", "adequacy")


def check(device: str, names: list[str], examples: int, seconds: float, out: Path | None) -> dict[str, Any]:
    """Return the results of as many checks as the time allows."""
    end, seen, failed, reports = time.monotonic() + seconds, [], [], []
    session = check_each(names, examples=examples, devices=[device], properties=PROPERTIES)
    with using(providers=frozenset({"cupy"})):  # NumPy's results are those of the references
        for result in session:
            seen.append(result.name)
            if not result.passed:
                failed.append(result.name)
                reports += result.reports()
            if out is not None:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"name": result.name, **result.as_json()}, default=str) + "\n")
            if time.monotonic() > end:
                break
        session.close()
    return {
        "device": device,
        "examples": examples,
        "checked": len(seen),
        "failed": failed,
        "reports": [report[:1500] for report in reports[:10]],
        "no_time_for": [name for name in names or tgl.layers if name not in seen],
        "complete": bool(names) or "(shared kernels)" in seen,
    }


def main() -> None:
    """Check the requested layers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--examples", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--names", default="")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = [name for name in given.names.split(",") if name]
    print(json.dumps(check(given.device, names, given.examples, given.seconds, given.out)))


if __name__ == "__main__":
    main()
