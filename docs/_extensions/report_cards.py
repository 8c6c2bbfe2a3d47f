"""Stored report cards of the conformance kit: `python docs/_extensions/report_cards.py` writes them.

Checking all layers takes minutes, so the documentation shows the stored results of one run of the kit, with its date
and versions. A plugin that is not in the file is checked when its page is built.
"""

from __future__ import annotations

import functools
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parents[1] / "reference" / "report_cards.json"
DECIMALS = ".2e"


def kept() -> dict[str, Any]:
    """Return the content of the file."""
    return _read(KEPT.stat().st_mtime_ns)


@functools.cache
def _read(changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def card(name: str) -> list[dict[str, Any]]:
    """Return a layer's card: for each property its name, whether it passed, the cases, worst error and tolerance."""
    rows = kept()["layers"].get(name)
    if rows is None:
        from tinygrad_lab.conformance.session import check_layers

        (result,) = check_layers([name])
        rows = compact(result.as_json())
    keys = ("name", "passed", "examples", "worst_error", "tolerance")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def compact(layer: dict[str, Any]) -> list[list[Any]]:
    """Return the kit's results for a layer, as a short list for each property."""
    return [
        [p["name"], p["passed"], p["examples"], _short(p["worst_error"]), _short(p["tolerance"])]
        for p in layer["properties"]
    ]


def _short(number: float | None) -> float | None:
    return None if number is None else float(format(number, DECIMALS))


def write(layers: list[dict[str, Any]]) -> None:
    """Write the file, with a line for each property."""
    import numpy as np

    import tinygrad_lab as tgl

    head = {
        "command": "python docs/_extensions/report_cards.py",
        "profile": "ci",
        "date": datetime.now(UTC).date().isoformat(),
        "on": f"tinygrad_lab {tgl.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {platform.machine()}",
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    cards = []
    for layer in layers:
        rows = ",\n".join(f"      {json.dumps(row)}" for row in compact(layer))
        cards.append(f"    {json.dumps(layer['name'])}: [\n{rows}\n    ]")
    text = "\n".join(["{", *lines, '  "layers": {', ",\n".join(cards), "  }", "}"])
    KEPT.write_text(text + "\n", encoding="utf-8")


def main() -> int:
    """Check all registered layers of this distribution and write the file; return 1 if one fails, else 0."""
    from tinygrad_lab.conformance.session import check_layers
    from tinygrad_lab.registry import layers

    names = [name for name, plugins in layers.plugins().items() if plugins[0].distribution == "tinygrad-lab"]
    results = check_layers(names)
    write([result.as_json() for result in results])
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
