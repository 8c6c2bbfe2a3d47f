"""Report cards on pages: stored ones, or those of the kit for layers that are not stored."""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_lab as tgl

DECIMALS = ".2e"


def card(name: str, stored: Iterable[Path]) -> tuple[list[dict[str, Any]], str]:
    """Return a layer's card and its origin: for each property its name, whether it passed, cases, error, tolerance."""
    kept: dict[str, Any] = next((_read(path, path.stat().st_mtime_ns) for path in stored), {"layers": {}})
    rows, made = kept["layers"].get(name), kept
    if rows is None:
        from tinygrad_lab.conformance.session import check_plugins

        (result,) = check_plugins([name], kind="layer")
        rows, made = compact(result.as_json()), circumstances()
    keys = ("name", "passed", "examples", "worst_error", "tolerance")
    return [dict(zip(keys, row, strict=True)) for row in rows], f"{made['date']}; {made['on']}"


@functools.cache
def _read(path: Path, changed: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def circumstances() -> dict[str, str]:
    """Return today's date, and the versions and processor that a card is computed with."""
    versions = f"tinygrad_lab {tgl.__version__}, Python {platform.python_version()}, NumPy {np.__version__}"
    return {"date": datetime.now(UTC).date().isoformat(), "on": f"{versions}, {platform.machine()}"}


def compact(layer: dict[str, Any]) -> list[list[Any]]:
    """Return the kit's results for a layer, as a short list for each property."""
    return [
        [p["name"], p["passed"], p["examples"], _short(p["worst_error"]), _short(p["tolerance"])]
        for p in layer["properties"]
    ]


def _short(number: float | None) -> float | None:
    return None if number is None else float(format(number, DECIMALS))
