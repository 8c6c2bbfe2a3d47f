"""Configuration of all tests: threads, Hypothesis profiles, and a check that this source tree is the one tested."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
MOST_WORKERS = 4  # a worker holds a few hundred megabytes once it has imported its peers

# Arrays of the tests are small, and there are many workers, so a pool of threads in each would slow them down.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# `quick` and `ci` draw the same examples everywhere, `thorough` new ones each time: HYPOTHESIS_PROFILE=thorough pytest
# None has a deadline: no test is judged by its time.
COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", COMMON, derandomize=True, max_examples=10)
settings.register_profile("ci", COMMON, derandomize=True, max_examples=15)
settings.register_profile("thorough", COMMON, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the suite over the processors; run files that are given by name in this process, which is quicker."""
    named = [Path(argument.split("::")[0]) for argument in config.args]
    if all(path.suffix == ".py" for path in named):
        return 0
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_WORKERS)


def pytest_sessionstart() -> None:
    """Refuse to run without an editable install of this tree: pytest would test whatever was installed last."""
    for package in ("tinygrad_lab", "tinygrad_lab_layers"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or not Path(spec.origin).is_relative_to(ROOT):
            found = "none" if spec is None else spec.origin
            pytest.exit(f"tests: expected {package} of {ROOT}, got {found}; pip install -e '.[test]'", returncode=4)


def has_gpu() -> bool:
    """Return whether CuPy is installed and finds a device."""
    try:
        return bool(importlib.import_module("cupy").cuda.is_available())
    except ImportError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a GPU as skipped if there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU and CuPy"))
