"""Losses compared with PyTorch's: values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab import losses

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)) * 2, RNG.normal(size=(6, 4)) * 2
LABELS = RNG.integers(0, 4, 6)
P = np.exp(Y) / np.exp(Y).sum(-1, keepdims=True)
SIDES = np.sign(Y)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("ours", "theirs", "target"),
    [
        (losses.softmax_cross_entropy, F.cross_entropy, LABELS),
        (losses.softmax_cross_entropy, F.cross_entropy, P),
        (
            lambda x, t, reduction: losses.softmax_cross_entropy(x, t, label_smoothing=0.2, reduction=reduction),
            lambda x, t, reduction: F.cross_entropy(x, t, label_smoothing=0.2, reduction=reduction),
            LABELS,
        ),
        (
            lambda x, t, reduction: losses.softmax_cross_entropy(x, t, label_smoothing=0.2, reduction=reduction),
            lambda x, t, reduction: F.cross_entropy(x, t, label_smoothing=0.2, reduction=reduction),
            P,
        ),
        (losses.nll, F.nll_loss, LABELS),
        (losses.mse, F.mse_loss, Y),
        (losses.mae, F.l1_loss, Y),
        (
            lambda x, t, reduction: losses.huber(x, t, delta=0.7, reduction=reduction),
            lambda x, t, reduction: F.huber_loss(x, t, delta=0.7, reduction=reduction),
            Y,
        ),
        (losses.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, P),
        (
            lambda x, t, reduction: losses.multiclass_hinge(x, t, reduction=reduction) / 4,
            lambda x, t, reduction: F.multi_margin_loss(x, t, reduction=reduction),
            LABELS,
        ),
    ],
)
def test_value_and_gradient_agree_with_pytorch(ours: Any, theirs: Any, target: np.ndarray, reduction: str) -> None:
    x, z = tgl.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    a, b = ours(x, target, reduction=reduction), theirs(z, torch.tensor(target), reduction=reduction)
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12)
    cotangent = np.random.default_rng(1).normal(size=a.shape)
    a.backward(cotangent)
    b.backward(torch.tensor(cotangent))
    np.testing.assert_allclose(x.grad.numpy(), z.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_kl_divergence_is_batchmean_of_pytorch() -> None:
    log_q = X - np.log(np.exp(X).sum(-1, keepdims=True))
    theirs = F.kl_div(torch.tensor(log_q), torch.tensor(P), reduction="batchmean")
    np.testing.assert_allclose(losses.kl_divergence(log_q, P), theirs.numpy(), rtol=1e-12)


def test_hinge_is_the_embedding_loss_of_pytorch_for_different_pairs() -> None:
    """PyTorch has no plain hinge; for such pairs its embedding loss is max(0, margin - distance)."""
    theirs = F.hinge_embedding_loss(torch.tensor(X * SIDES), -torch.ones(X.shape), margin=1.0, reduction="none")
    np.testing.assert_allclose(losses.hinge(X, SIDES, reduction="none"), theirs.numpy(), rtol=1e-12)
