"""Classifier of padded sequences of integers: an embedding, attention or an LSTM, one vector for each sequence.

| layer | attention | LSTM |
|---|---|---|
| input: numbers, 0 for padding | T | T |
| embedding of the numbers; for attention, plus an embedding of their positions | T, F | T, F |
| attention in 4 heads and a dense layer, each with a shortcut and normalization | T, F | |
| LSTM | | T, F |
| mean over the numbers that are not padding (attention), or the state at the last of them (LSTM) | F | F |
| dense | classes | classes |
"""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.data.sequences import PADDING
from tinygrad_lab.errors import OptionError, ShapeError
from tinygrad_lab.nn import initializers
from tinygrad_lab.nn.initializers import Rng
from tinygrad_lab.nn.layer import Layer
from tinygrad_lab.nn.sequential import Sequential
from tinygrad_lab_layers.dense import Dense
from tinygrad_lab_layers.embedding import Embedding
from tinygrad_lab_layers.layer_norm import LayerNorm
from tinygrad_lab_layers.lstm import LSTM
from tinygrad_lab_layers.multi_head_attention import MultiHeadAttention


class AttentionEncoder(Layer):
    """Self-attention and dense layers, each with a shortcut, and the mean over the positions without padding.

    The second input, the mask, is 1 where there is a number and 0 for padding.

    Parameters
    ----------
    features, heads, length : int
        F, the number of heads, and T, the length of the longest sequence.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, T, F); mask : (N, T); y : (N, F)
    """

    def __init__(self, features: int, heads: int, length: int, *, rng: Rng = None) -> None:
        rng = initializers.as_rng(rng)
        self.positions = Embedding(length, features, init=0.1, rng=rng)
        self.attention = MultiHeadAttention(features, heads, rng=rng)
        self.norm1, self.norm2 = LayerNorm(features), LayerNorm(features)
        hidden = Dense(features, 2 * features, activation="relu", rng=rng)
        self.dense = Sequential(hidden, Dense(2 * features, features, init="glorot_uniform", rng=rng))

    def forward(self, x: Any, mask: Any) -> Any:
        """Return the mean of the encoded vectors."""
        x = x + self.positions(tgl.tensor(np.arange(x.shape[1])))  # (N, T, F) + (T, F)
        x = self.norm1(x + self.attention(x, x, x, mask))
        x = self.norm2(x + self.dense(x))
        seen = tgl.reshape(mask, shape=(*mask.shape, 1))  # (N, T) -> (N, T, 1)
        return tgl.sum(x * seen, axis=1) / tgl.maximum(tgl.sum(seen, axis=1), 1.0)  # of an empty sequence: 0

    def output_shape(self, shape: tuple[int, ...], mask: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, F)."""
        self.positions.output_shape(shape[1:2])
        shape = self.norm1.output_shape(self.attention.output_shape(shape, shape, shape, mask))
        return (shape[0], self.norm2.output_shape(self.dense.output_shape(shape))[2])

    def multiply_adds(self, shape: tuple[int, ...], mask: tuple[int, ...]) -> int:
        """Return the multiply-adds of the attention and the dense layers."""
        return self.attention.multiply_adds(shape, shape, shape, mask) + self.dense.multiply_adds(shape)


class LSTMEncoder(Layer):
    """Long short-term memory, of which the state at the last number is returned.

    The second input, the mask, is 1 where there is a number and 0 for padding. Padding follows the numbers.

    Parameters
    ----------
    features : int
        F.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, T, F); mask : (N, T); y : (N, F)
    """

    def __init__(self, features: int, *, rng: Rng = None) -> None:
        self.lstm = LSTM(features, features, rng=rng)

    def forward(self, x: Any, mask: Any) -> Any:
        """Return the last states; that of an empty sequence is 0."""
        states = self.lstm(x)  # (N, T, F)
        after = tgl.concatenate([mask[:, 1:], tgl.zeros_like(mask[:, :1])], axis=1)  # the mask of the next number
        last = tgl.reshape(mask * (1.0 - after), shape=(*mask.shape, 1))  # (N, T) -> (N, T, 1)
        return tgl.sum(states * last, axis=1)

    def output_shape(self, shape: tuple[int, ...], mask: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, F)."""
        shape = self.lstm.output_shape(shape)
        return (shape[0], shape[2])

    def multiply_adds(self, shape: tuple[int, ...], mask: tuple[int, ...]) -> int:
        """Return the multiply-adds of the LSTM."""
        return self.lstm.multiply_adds(shape)


class SequenceClassifier(Layer):
    """Embedding, an encoder that also takes a mask of the padding, and a dense layer; see `sequence_classifier`.

    Parameters
    ----------
    embedding, encoder, output : Layer
        The three parts.
    length : int
        The length of the longest sequence.
    """

    def __init__(self, embedding: Layer, encoder: Layer, output: Layer, *, length: int) -> None:
        self.embedding, self.encoder, self.output, self.length = embedding, encoder, output, length

    def forward(self, x: Any) -> Any:
        """Return the logits of sequences."""
        self.output_shape(x.shape)
        vectors = self.embedding(x)
        mask = tgl.not_equal(x, PADDING).astype(vectors.dtype)
        return self.output(self.encoder(vectors, mask))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (N, classes)."""
        if len(shape) != 2 or not 0 < shape[1] <= self.length:
            raise ShapeError(
                f"SequenceClassifier: expected sequences (N, T) of 1 to {self.length} numbers, got x.shape == {shape}"
            )
        encoded = self.encoder.output_shape(self.embedding.output_shape(shape), shape)
        result: tuple[int, ...] = self.output.output_shape(encoded)
        return result

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return the multiply-adds of the encoder and the last layer."""
        vectors = self.embedding.output_shape(shape)
        encoded = self.encoder.output_shape(vectors, shape)
        return self.encoder.multiply_adds(vectors, shape) + self.output.multiply_adds(encoded)


def sequence_classifier(
    *,
    length: int = 32,
    vocabulary: int = 65,
    features: int = 32,
    encoder: str = "attention",
    heads: int = 4,
    classes: int = 10,
    rng: Rng = None,
) -> SequenceClassifier:
    """Return a classifier of sequences of integers, which returns logits.

    Parameters
    ----------
    length : int
        T, the length of the longest sequence.
    vocabulary : int
        The numbers in sequences are below this one. 0 is the padding at the end of a short sequence. The amount of
        padding changes no result.
    features : int
        F, the length of the vectors.
    encoder : {"attention", "lstm"}
        The part that turns a sequence into one vector.
    heads : int
        The number of attention heads.
    classes : int
        The number of outputs.
    rng : int or numpy.random.Generator
        The source of the initial weights.

    Shapes
    ------
    x : (N, T) integers; logits : (N, classes)

    Raises
    ------
    OptionError
        The encoder is unknown, or a number is out of range.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", NIPS 2017, section 3.1, one encoder layer with learned positions; or
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997.

    Examples
    --------
    >>> model = sequence_classifier(length=6, vocabulary=9, rng=0)
    >>> model(np.array([[3, 1, 4, 0, 0, 0], [1, 5, 8, 2, 6, 5]])).shape
    (2, 10)
    """
    if min(length, vocabulary) < 1:
        raise OptionError(
            f"sequence_classifier: expected length and vocabulary of 1 or more, got {length=} and {vocabulary=}"
        )
    rng = initializers.as_rng(rng)
    embedding = Embedding(vocabulary, features, init=0.5, rng=rng)
    if encoder not in ("attention", "lstm"):
        raise OptionError(f"sequence_classifier: expected encoder 'attention' or 'lstm', got {encoder!r}")
    attention = encoder == "attention"
    encoding = AttentionEncoder(features, heads, length, rng=rng) if attention else LSTMEncoder(features, rng=rng)
    output = Dense(features, classes, init="glorot_uniform", rng=rng)
    return SequenceClassifier(embedding, encoding, output, length=length)
