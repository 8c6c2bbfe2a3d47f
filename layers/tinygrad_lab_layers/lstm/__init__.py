"""LSTM: a recurrent layer with a memory that gates write, keep and read."""

from tinygrad_lab_layers.lstm.layer import LSTM

__all__ = ["LSTM"]
