"""LSTM and attention: long sequences, masks, and comparison with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tinygrad_lab_layers import LSTM, MultiHeadAttention
from tinygrad_lab_layers.lstm.layer import unstack


def sequences(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.slow
def test_the_backward_pass_of_a_long_sequence() -> None:
    layer = LSTM(1, 2, rng=0)
    x = tgl.tensor(sequences(1, 3000, 1).astype("float32"), requires_grad=True)
    layer(x)[:, -1].sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_an_open_forget_gate_keeps_the_first_input() -> None:
    """With the forget gate open, the first input has an effect after many steps; with it closed, it has none."""
    x = np.zeros((1, 200, 1), "float32")
    x[:, 0] = 1.0
    kept, lost = (LSTM(1, 1, forget_bias=bias, init=1.0, rng=0) for bias in (12.0, -12.0))
    for layer in (kept, lost):
        layer.state_weight.assign(np.zeros((1, 4), "float32"))
    assert abs(kept(x)[0, -1, 0].item()) > 0.9 * abs(kept(x)[0, 1, 0].item()) > 0
    assert abs(lost(x)[0, -1, 0].item()) < 1e-5


def test_forget_bias_is_the_second_quarter() -> None:
    assert LSTM(2, 3, forget_bias=5.0).bias.numpy().tolist() == [0.0] * 3 + [5.0] * 3 + [0.0] * 6


def test_unstack_gives_zero_gradients_for_unused_steps() -> None:
    x = sequences(2, 4, 3)
    gradient = tgl.grad(lambda z: tgl.sum(unstack(4)(z)[2]))(x)
    assert gradient[:, 2].all()
    assert not np.delete(gradient, 2, axis=1).any()


def test_empty_queries_and_empty_batches() -> None:
    layer = MultiHeadAttention(4, 2, rng=0).astype("float64")
    assert layer(sequences(2, 0, 4), sequences(2, 3, 4), sequences(2, 3, 4)).shape == (2, 0, 4)
    assert layer(sequences(0, 2, 4), sequences(0, 3, 4), sequences(0, 3, 4)).shape == (0, 2, 4)


def test_the_first_query_of_a_causal_layer_attends_to_one_key() -> None:
    layer = MultiHeadAttention(4, 2, causal=True, rng=0).astype("float64")
    x = sequences(1, 5, 4)
    assert layer(x, x, x).numpy()[:, 0] == pytest.approx(layer.output(layer.value(x[:, :1])).numpy()[:, 0])


def test_large_scores_do_not_overflow() -> None:
    layer = MultiHeadAttention(4, 1, rng=0).astype("float64")
    x = tgl.tensor(1e4 * sequences(1, 3, 4), requires_grad=True)
    y = layer(x, x, x)
    tgl.sum(y).backward()
    assert np.isfinite(y.numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


def test_multiply_adds_of_sequence_layers() -> None:
    assert LSTM(3, 5).multiply_adds((2, 7, 3)) == 2 * 7 * 4 * 5 * 8
    attention = MultiHeadAttention(8, 2)
    products = [(6, 8, 8), (5, 8, 8), (5, 8, 8), (6, 8, 8)] + 2 * [(6, 4, 5), (6, 5, 4)]
    assert attention.multiply_adds((3, 6, 8), (3, 5, 8), (3, 5, 8)) == 3 * sum(n * k * m for n, k, m in products)


@pytest.mark.peers
def test_lstm_as_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = LSTM(3, 4, rng=0).astype("float64")
    theirs = torch.nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    theirs.weight_ih_l0.data = torch.tensor(ours.input_weight.numpy().T.copy())
    theirs.weight_hh_l0.data = torch.tensor(ours.state_weight.numpy().T.copy())
    theirs.bias_ih_l0.data, theirs.bias_hh_l0.data = torch.tensor(ours.bias.numpy()), 0 * theirs.bias_hh_l0.data
    x, g = sequences(2, 6, 3), sequences(2, 6, 4, seed=1)
    leaf = torch.tensor(x, requires_grad=True)
    expected, _ = theirs(leaf)
    expected.backward(torch.tensor(g))
    mine = tgl.tensor(x, requires_grad=True)
    y = ours(mine)
    y.backward(g)
    assert y.numpy() == pytest.approx(expected.detach().numpy(), abs=1e-12)
    assert mine.grad.numpy() == pytest.approx(leaf.grad.numpy(), abs=1e-12)
    assert ours.input_weight.grad.numpy() == pytest.approx(theirs.weight_ih_l0.grad.numpy().T, abs=1e-12)
    assert ours.state_weight.grad.numpy() == pytest.approx(theirs.weight_hh_l0.grad.numpy().T, abs=1e-12)
    assert ours.bias.grad.numpy() == pytest.approx(theirs.bias_ih_l0.grad.numpy(), abs=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("causal", [False, True])
def test_attention_as_pytorch(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    ours = MultiHeadAttention(6, 3, causal=causal, rng=0).astype("float64")
    theirs = torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64)
    inward = [layer.weight.numpy().T for layer in (ours.query, ours.key, ours.value)]
    theirs.in_proj_weight.data = torch.tensor(np.concatenate(inward))
    theirs.out_proj.weight.data = torch.tensor(ours.output.weight.numpy().T.copy())
    arrays = [sequences(2, length, 6, seed=length) for length in (4, 5, 5)]
    arrays[2] = arrays[2] + 1.0
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    hidden = torch.tensor(np.triu(np.ones((4, 5), bool), k=1)) if causal else None
    expected, _ = theirs(*leaves, attn_mask=hidden, need_weights=False)
    expected.square().sum().backward()
    mine = [tgl.tensor(a, requires_grad=True) for a in arrays]
    y = ours(*mine)
    tgl.sum(y * y).backward()
    assert y.numpy() == pytest.approx(expected.detach().numpy(), abs=1e-12)
    for a, leaf in zip(mine, leaves, strict=True):
        assert a.grad.numpy() == pytest.approx(leaf.grad.numpy(), abs=1e-11)
