"""Every built-in layer on the strict device: no array leaks to NumPy, and the results agree."""

from __future__ import annotations

import pytest

import tinygrad_lab as tgl
from tests.strict_device import STRICT
from tinygrad_lab.conformance import check_layer


@pytest.mark.parametrize("name", [name for name in tgl.layers if "." not in name])
def test_on_the_strict_device(name: str) -> None:
    assert check_layer(name, examples=5, properties=["devices"], devices=[STRICT.name]).passed
