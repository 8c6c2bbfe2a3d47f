"""Kernels give the same bits just after their compilation and when they are loaded from disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")


def test_no_compiled_function_uses_fastmath() -> None:
    from tests.kernels.every_kernel import compiled_functions

    functions = compiled_functions()
    assert len(functions) > 50
    assert [name for name, function in functions.items() if function.targetoptions.get("fastmath")] == []


@pytest.mark.slow
def test_bits_depend_neither_on_what_is_on_disk_nor_on_what_ran_before(tmp_path: Path) -> None:
    """One program compiles the kernels, one loads them in the same order, and one in reverse order."""
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def digests(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.kernels.every_kernel", *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=500)
        assert ("compiling kernels" in done.stderr) == (arguments == ("cold",))
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    cold = digests("cold")
    assert cold["never compiled"] == []
    for order in ("warm", "reversed"):
        warm = digests(order)["digests"]
        assert warm.keys() == cold["digests"].keys()
        assert [name for name in warm if warm[name] != cold["digests"][name]] == []
