"""Tests of Mish: it is registered, it conforms, and it has the properties that the paper states."""

from __future__ import annotations

import numpy as np
from acme_mish import Mish

from tinygrad_lab.conformance import check_layer
from tinygrad_lab.registry import layers


def test_is_registered() -> None:
    assert layers["acme.mish"] is Mish


def test_conforms() -> None:
    check_layer("acme.mish")


def test_is_nearly_the_identity_far_out() -> None:
    far = np.full((2, 3), 50.0, dtype="float32")
    np.testing.assert_allclose(Mish()(far), far)


def test_has_the_minimum_that_the_paper_states() -> None:
    x = np.linspace(-3.0, 0.0, 30001)
    y = Mish()(x)
    np.testing.assert_allclose([x[y.argmin()], y.min()], [-1.1924, -0.3088], atol=1e-4)
