"""Write docs/results/planted_plugin_bugs.md, the verdicts of the kit about wrong losses, optimizers and other plugins.

Run ``python -m tests.planted_bugs.plugin_table`` from the root of the repository. It takes a minute.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

from tests.planted_bugs import augmentations, data, losses, metrics, models, optimizers, schedules
from tests.planted_bugs.planting import CI, PLUGIN_BUGS, PluginBug

FILES = (losses, optimizers, schedules, augmentations, data, metrics, models)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "planted_plugin_bugs.md"


def killers(bug: PluginBug) -> list[str]:
    """Return the properties that kill a bug; the one that must find it comes first."""
    found = {p.name for p in bug.inspect(None, CI).failures} - {"adequacy"}
    return sorted(found, key=lambda name: (name != bug.by, name))


def main() -> None:
    """Write the page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdicts = {name: killers(bug) for name, bug in PLUGIN_BUGS.items()}
    kills = Counter(PLUGIN_BUGS[name].kind for name, found in verdicts.items() if found)
    planted = Counter(bug.kind for bug in PLUGIN_BUGS.values())
    lines = [
        "# Planted bugs in other plugins",
        "",
        f"The kit is tested with {len(PLUGIN_BUGS)} wrong plugins other than layers, each with one realistic mistake.",
        "A run of the `ci` profile finds:",
        "",
        "| Kind | found |",
        "| --- | --- |",
        *(f"| {kind} | {kills[kind]} of {planted[kind]} |" for kind in planted),
        "",
        "Written by `python -m tests.planted_bugs.plugin_table`. Wrong layers are on [another page](planted_bugs.md).",
    ]
    for kind in planted:
        lines += ["", f"## {kind.capitalize()}", "", "| What is wrong | found by |", "| --- | --- |"]
        for name, bug in PLUGIN_BUGS.items():
            if bug.kind == kind:
                lines.append(f"| {bug.wrong} | {', '.join(f'`{one}`' for one in verdicts[name]) or '**nothing**'} |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
