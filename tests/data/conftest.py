"""Fixtures of the tests of data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tinygrad_lab.data.sources import Source
from tinygrad_lab.registry import Plugin, datasets


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the user's data sets and proxies from the tests."""
    monkeypatch.delenv("TINYGRAD_LAB_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user-cache" / name)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Source]], None]:
    """Register a source for one test."""

    def add(source: type[Source]) -> None:
        plugin = Plugin(source.name, f"made:{source.__name__}", "made", "1", None)
        monkeypatch.setitem(datasets.plugins(), source.name, [plugin])
        monkeypatch.setitem(datasets._loaded, source.name, source)

    return add
