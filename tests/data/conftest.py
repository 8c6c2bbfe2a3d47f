"""What the tests of the data share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tinygrad_lab.data import catalogue
from tinygrad_lab.data.sources import Source


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests see neither the user's data sets nor a proxy."""
    monkeypatch.delenv("TINYGRAD_LAB_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user-cache" / name)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Source]], None]:
    """Make a source known by its name, for one test."""

    def add(source: type[Source]) -> None:
        monkeypatch.setitem(catalogue._BUILT_IN, source.name, source)

    return add
