"""Write the entry points of this tree into a folder, for machines without the tools to install it.

    python -m tests.gpu.entry_points FOLDER

writes the metadata of a distribution into FOLDER. Add FOLDER to PYTHONPATH.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path) -> Path:
    """Write name, version and entry points, as an installer would."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made = folder / f"tinygrad_lab-{project['version']}.dist-info"
    made.mkdir(parents=True, exist_ok=True)
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (made / "METADATA").write_text(head, encoding="utf-8")
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    lines = [line for group, names in groups.items() for line in _section(group, names)]
    (made / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return made


def _section(group: str, names: dict[str, str]) -> list[str]:
    return [f"[{group}]", *(f"{name} = {target}" for name, target in names.items()), ""]


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
