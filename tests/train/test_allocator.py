"""The allocator setting by which a process keeps freed memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np, resource
from tinygrad_lab.train.allocator import keep_freed_memory
assert keep_freed_memory()
def faults():
    np.ones(10 << 20, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
faults()
before = faults()
assert faults() - before < 1000, "a second array of 40 MiB takes no fresh pages"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is for the C library of Linux")
def test_a_second_large_array_reuses_the_memory_of_the_first() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)


def test_importing_the_package_does_not_import_the_allocator() -> None:
    code = "import tinygrad_lab, sys; assert 'tinygrad_lab.train.allocator' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
