"""The kit's second process ignores Ctrl-C; the kit ends it."""

from __future__ import annotations

import signal

import numpy as np

from tinygrad_lab.conformance.meta.fresh_process import FreshProcess
from tinygrad_lab_layers.dense import Dense


def test_the_process_ignores_ctrl_c() -> None:
    layer, inputs = Dense(2, 3, rng=0).astype("float64"), [np.ones((1, 2))]
    other = FreshProcess()
    try:
        first = other.round_trip(layer, inputs)
        other.process.send_signal(signal.SIGINT)
        assert other.round_trip(layer, inputs) == first
        process = other.process
    finally:
        other.stop()
    assert process.returncode == 0
