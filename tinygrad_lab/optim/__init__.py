"""Optimizers: how parameters follow their gradients."""

from tinygrad_lab.optim.optimizer import Optimizer
from tinygrad_lab.optim.optimizers import SGD

__all__ = ["SGD", "Optimizer"]
