"""Loss functions of predictions and targets.

Each sums over the classes, if there are classes, and then reduces over the examples. Losses are registered in the
entry-point group ``tinygrad_lab.losses``.
"""

from tinygrad_lab.losses import kernels
from tinygrad_lab.losses.auxiliary import auxiliary_cross_entropy
from tinygrad_lab.losses.classification import (
    binary_cross_entropy_with_logits,
    hinge,
    kl_divergence,
    multiclass_hinge,
    nll,
    softmax_cross_entropy,
)
from tinygrad_lab.losses.reduction import compares, reduce
from tinygrad_lab.losses.regression import huber, mae, mse

__all__ = [
    "auxiliary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "compares",
    "hinge",
    "huber",
    "kernels",
    "kl_divergence",
    "mae",
    "mse",
    "multiclass_hinge",
    "nll",
    "reduce",
    "softmax_cross_entropy",
]
