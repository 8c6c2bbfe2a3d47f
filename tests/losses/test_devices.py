"""Losses on the strict device."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.losses.test_losses import ELEMENTS, LOOPS, target_for
from tests.strict_device import StrictArray, to_device, to_host, transfers
from tinygrad_lab import losses, registry
from tinygrad_lab.errors import DeviceError, OptionError


@pytest.mark.parametrize("name", [*LOOPS, *ELEMENTS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_loss_and_its_gradient_stay_on_their_device(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, target, loss = rng.normal(size=(4, 3)).astype(dtype), target_for(name, rng, (4, 3)), registry.losses[name]
    target = target if target.dtype.kind == "i" else target.astype(dtype)
    here, there = tgl.tensor(x, requires_grad=True), tgl.tensor(to_device(x), requires_grad=True)
    on_device, before = to_device(target), transfers.copy()
    expected, got = loss(here, target), loss(there, on_device)
    expected.backward()
    got.backward()
    assert transfers == before
    assert isinstance(got.value, StrictArray)
    np.testing.assert_allclose(to_host(got.value), expected.numpy(), rtol=1e-6)
    np.testing.assert_allclose(to_host(there.grad.value), here.grad.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "nll", "multiclass_hinge"])
def test_a_label_out_of_range_gives_nan_and_an_error_in_detect_anomaly(name: str) -> None:
    x, labels, loss = to_device(np.zeros((3, 2), "float32")), to_device(np.array([0, 2, -1])), registry.losses[name]
    before = transfers.copy()
    losses = loss(x, labels, reduction="none")
    assert transfers == before
    assert np.isnan(to_host(losses)).tolist() == [False, True, True]
    with tgl.detect_anomaly(), pytest.raises(OptionError, match="labels from 0 to 1, got -1 to 2"):
        loss(x, labels)


def test_lists_of_labels_are_moved_to_the_device_of_the_logits() -> None:
    assert isinstance(losses.softmax_cross_entropy(to_device(np.zeros((2, 3))), [0, 2]), StrictArray)


def test_labels_on_another_device_are_refused() -> None:
    with pytest.raises(DeviceError, match="arrays of one device"):
        losses.softmax_cross_entropy(to_device(np.zeros((2, 3))), np.array([0, 2]))
