"""Measure the time of `import tinygrad_lab` in a fresh process, compared with an interpreter that imports NumPy alone.

python tests/benchmarks/import_time.py [runs]
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time

STATEMENTS = {"pass": "nothing", "import numpy": "NumPy", "import tinygrad_lab": "tinygrad_lab (with NumPy)"}
BUDGET = 0.3  # seconds


def seconds(statement: str) -> float:
    """Return the wall time of a fresh interpreter that runs one statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def slowest_modules(count: int) -> list[tuple[float, str]]:
    """Return the modules that take longest by themselves: (milliseconds, name)."""
    command = [sys.executable, "-X", "importtime", "-c", "import tinygrad_lab"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    rows = re.findall(r"import time:\s*(\d+) \|\s*\d+ \| *(\S+)", report)
    return sorted(((int(own) / 1000, module) for own, module in rows), reverse=True)[:count]


def main() -> None:
    """Print medians and the largest contributions."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    medians = {statement: statistics.median(seconds(statement) for _ in range(runs)) for statement in STATEMENTS}
    for statement, label in STATEMENTS.items():
        print(f"{label:<28}{1000 * (medians[statement] - medians['pass']):7.0f} ms")
    taken = medians["import tinygrad_lab"] - medians["pass"]
    print(f"budget {1000 * BUDGET:.0f} ms: {'kept' if taken < BUDGET else 'exceeded'} (median of {runs})")
    for own, module in slowest_modules(10):
        print(f"{own:7.1f} ms  {module}")


if __name__ == "__main__":
    main()
