"""Stored report cards of the conformance kit: `python docs/_extensions/report_cards.py` writes them.

Checking all layers takes minutes, so the documentation shows the stored results of one run of the kit, with its date
and versions. A layer that is not in the file is checked when its page is built.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tinygrad_lab.sphinx.cards import circumstances, compact

KEPT = Path(__file__).resolve().parents[1] / "reference" / "report_cards.json"


def write(layers: list[dict[str, Any]]) -> None:
    """Write the file, with a line for each property."""
    head = {"command": "python docs/_extensions/report_cards.py", "profile": "ci", **circumstances()}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    cards = []
    for layer in layers:
        rows = ",\n".join(f"      {json.dumps(row)}" for row in compact(layer))
        cards.append(f"    {json.dumps(layer['name'])}: [\n{rows}\n    ]")
    text = "\n".join(["{", *lines, '  "layers": {', ",\n".join(cards), "  }", "}"])
    KEPT.write_text(text + "\n", encoding="utf-8")


def main() -> int:
    """Check all registered layers of this distribution and write the file; return 1 if one fails, else 0."""
    from tinygrad_lab.conformance.session import check_plugins
    from tinygrad_lab.registry import layers

    names = [name for name, plugins in layers.plugins().items() if plugins[0].distribution == "tinygrad-lab"]
    results = check_plugins(names, kind="layer")
    write([result.as_json() for result in results])
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
