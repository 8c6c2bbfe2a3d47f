"""Loss of networks with auxiliary classifiers."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.errors import OptionError
from tinygrad_lab.losses.classification import softmax_cross_entropy
from tinygrad_lab.losses.reduction import compares


@compares("classes")
def auxiliary_cross_entropy(
    logits: Any, labels: Any, *, weight: float = 0.3, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    r"""Softmax cross entropy of a network's own logits, plus a weighted one for each auxiliary classifier.

    .. math:: \ell = \ell_0 + w \sum_i \ell_i

    Parameters
    ----------
    logits : tuple of Tensors or arrays, or a Tensor or array
        The network's own logits, then those of the auxiliary classifiers. In evaluation there are only the network's
        own.
    labels : array of integers, or Tensor or array of floats
        See `softmax_cross_entropy`.
    weight : float
        w, not negative.
    reduction, label_smoothing
        See `softmax_cross_entropy`.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each example.

    Shapes
    ------
    logits : each (..., K); labels : (...) integers or (..., K) floats; loss : () or (...)

    Units
    -----
    Nats.

    Raises
    ------
    ShapeError
        The labels do not fit the logits.
    OptionError
        A label is not one of 0 ... K - 1, or an option is invalid.

    References
    ----------
    C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 5, for w = 0.3.

    Examples
    --------
    >>> sure, unsure = np.array([[0.0, 100.0]]), np.array([[0.0, 0.0]])
    >>> print(auxiliary_cross_entropy((sure, unsure, unsure), [1]).round(4), round(0.3 * 2 * np.log(2.0), 4))
    0.4159 0.4159
    """
    if not weight >= 0:
        raise OptionError(f"auxiliary_cross_entropy: expected a weight that is not negative, got {weight}")
    own, *auxiliary = logits if isinstance(logits, tuple) else (logits,)
    total = softmax_cross_entropy(own, labels, reduction=reduction, label_smoothing=label_smoothing)
    for each in auxiliary:
        total = total + weight * softmax_cross_entropy(
            each, labels, reduction=reduction, label_smoothing=label_smoothing
        )
    return total
