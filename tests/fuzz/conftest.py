"""Fixtures of all fuzzers: images that are read once."""

from __future__ import annotations

import functools

import pytest

from tinygrad_lab.data.sources import Digits


@pytest.fixture(autouse=True, scope="session")
def _digits_in_memory() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "read", functools.cache(Digits.read))
        patch.setattr(Digits, "__hash__", lambda self: 0)
        patch.setattr(Digits, "__eq__", lambda self, other: type(self) is type(other))
        yield
