"""A process that fetches a synthetic data set on request: `python -m tests.data.fetcher ROOT ADDRESS`.

Its first line of input holds descriptions of files as JSON. For each further line it fetches the data set and prints
a line: empty, or the error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import ClassVar

from tinygrad_lab.data.catalog import fetch
from tinygrad_lab.data.files import DataFile, Download
from tinygrad_lab.data.sources import Source
from tinygrad_lab.registry import Plugin, datasets


def main(root: str, address: str) -> None:
    described = json.loads(sys.stdin.readline())
    plain, packed, *members = (DataFile(**description) for description in described)

    class Made(Source):
        name = "made"
        sizes: ClassVar[dict[str, int]] = {}
        files = (plain, *members)
        downloads = (
            Download((f"{address}/{plain.path}",), plain, (plain,)),
            Download((f"{address}/{packed.path}",), packed, tuple(members)),
        )

        def read(self, split: str, *, root: object = None, size: object = None) -> None:  # type: ignore[override]
            raise NotImplementedError

    datasets.plugins()["made"] = [Plugin("made", "made:Made", "made", "1", None)]
    datasets._loaded["made"] = Made
    for _ in sys.stdin:
        try:
            fetch("made", root=Path(root))
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        else:
            print(flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
