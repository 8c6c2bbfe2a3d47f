"""Optimizers, learning-rate schedules, gradient clipping and averages of weights."""

from tinygrad_lab.optim import kernels
from tinygrad_lab.optim.averaging import ExponentialMovingAverage, StochasticWeightAverage, WeightAverage
from tinygrad_lab.optim.clipping import clip_by_norm, clip_by_value, gradient_norm
from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.optimizers import SGD, AdaDelta, AdaGrad, Adam, AdamW, RMSprop

__all__ = [
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "ExponentialMovingAverage",
    "Optimizer",
    "RMSprop",
    "StochasticWeightAverage",
    "WeightAverage",
    "clip_by_norm",
    "clip_by_value",
    "gradient_norm",
    "kernels",
]
