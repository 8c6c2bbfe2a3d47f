"""Every registered layer passes the kit, on a strict device too, and every shared kernel is reached."""

from __future__ import annotations

import pytest

import tests.strict_device  # noqa: F401  registers the device
from tinygrad_lab.conformance import check_layer
from tinygrad_lab.registry import layers


@pytest.mark.parametrize("name", [name for name in layers if "." not in name])
def test_conforms(name: str) -> None:
    check_layer(name, devices=("strict",))
