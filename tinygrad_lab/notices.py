"""What a program should hear once: one line on standard error."""

from __future__ import annotations

import functools
import sys


@functools.cache
def say_once(text: str) -> None:
    """Write a line, the first time it is said."""
    sys.stderr.write(f"tinygrad_lab: {text}\n")
