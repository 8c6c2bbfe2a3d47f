"""Every registered layer passes the kit, also on the strict device, and every shared kernel is reached."""

from __future__ import annotations

import pytest

import tests.strict_device  # noqa: F401  registers the device
from tinygrad_lab.conformance import check_layer, inspect_layer
from tinygrad_lab.conformance.session import shared_kernels
from tinygrad_lab.conformance.trials.search import Profile
from tinygrad_lab.registry import layers

LONG = {  # take seconds
    "adaptive_avg_pool2d", "batch_norm", "bottleneck", "conv2d_transpose", "depthwise_conv2d", "inception",
    "local_response_norm", "lstm", "multi_head_attention", "residual", "upsample2d",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in layers if "." not in name],
)
def test_conforms(name: str) -> None:
    check_layer(name, devices=("strict",))


@pytest.mark.slow
def test_every_shared_kernel_is_reached() -> None:
    profile = Profile(examples=8, shrink=False)
    results = [inspect_layer(name, properties=["kernels"], profile=profile) for name in layers]
    reached = {key for result in results for key in result.reached}
    for shared in shared_kernels(reached):
        assert not [p.failure.headline for p in shared.failures if p.failure]
