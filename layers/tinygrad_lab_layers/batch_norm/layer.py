r"""Batch normalization.

.. math:: y = \phi\Bigl(\gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta\Bigr)
"""

from __future__ import annotations

import math
from typing import Any

import tinygrad_lab as tgl


class BatchNorm(tgl.Layer):
    r"""Normalizes each channel by its mean and variance over the batch, then applies a learned scale and shift.

    .. math:: y = \phi\Bigl(\gamma\,\frac{x - \mu}{\sqrt{v + \varepsilon}} + \beta\Bigr),
              \qquad \mu = \frac1m \sum x, \quad v = \frac1m \sum (x - \mu)^2

    with the sums over all m = N H W elements of a channel, and an activation phi. Evaluation uses running statistics,
    which training updates: :math:`\bar\mu \leftarrow \lambda \bar\mu + (1 - \lambda) \mu`. The running variance is
    updated in the same way, from a variance with the divisor m - 1 instead of m; if m = 1, it does not change. A frozen
    layer (`Layer.freeze`) uses its running statistics in training too, and does not change them. If a batch is divided
    into parts, the statistics are those of each part, or of the whole batch with ``training.sync_batch_norm``.

    Parameters
    ----------
    channels : int
        C.
    momentum : float
        lambda, the share of the running statistics that a step keeps. (This is Keras's convention; PyTorch's momentum
        is 1 - lambda.)
    eps : float
        epsilon, above 0.
    activation : {"relu"} or None
        phi, fused with the normalization; None is the identity.

    Shapes
    ------
    x : (N, ..., C); y : same shape as x; gamma (scale), beta (shift), running_mean and running_var : (C,)

    Raises
    ------
    ShapeError
        The last axis of x is not C long, or x has no elements in training.
    OptionError
        eps is not above 0, the momentum is not in [0, 1], the number of channels is negative, or there is no such
        activation.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", ICML 2015, algorithms 1 and 2. The paper averages the statistics over several batches after training; today
    a moving average in training is usual.

    Examples
    --------
    >>> import numpy as np
    >>> y = BatchNorm(1)(np.array([[1.0], [2.0], [3.0]]).astype("float32"))
    >>> y.numpy().round(3).reshape(-1)
    array([-1.225,  0.   ,  1.225], dtype=float32)
    """

    integers = False

    def __init__(
        self, channels: int, *, momentum: float = 0.9, eps: float = 1e-5, activation: str | None = None
    ) -> None:
        if channels < 0:
            raise tgl.errors.OptionError(f"BatchNorm: expected channels >= 0, got {channels}")
        if eps <= 0 or not 0 <= momentum <= 1:
            raise tgl.errors.OptionError(
                f"BatchNorm({channels}): expected eps > 0 and 0 <= momentum <= 1, got eps={eps}, momentum={momentum}"
            )
        if activation not in (None, "relu"):
            raise tgl.errors.OptionError(
                f"BatchNorm({channels}): expected activation 'relu' or None, got {activation!r}"
            )
        self.channels, self.momentum, self.eps, self.activation = channels, momentum, eps, activation
        self.scale = tgl.Parameter(tgl.initializers.ones((channels,)))
        self.shift = tgl.Parameter(tgl.initializers.zeros((channels,)))
        self.running_mean = tgl.Buffer(tgl.initializers.zeros((channels,)))
        self.running_var = tgl.Buffer(tgl.initializers.ones((channels,)))

    def forward(self, x: Any) -> Any:
        """Return the normalized maps; in training, propose new running statistics."""
        self.output_shape(x.shape)
        if not self.training or self.frozen:
            factor = self.scale / tgl.sqrt(self.running_var + self.eps)
            rescale = tgl.channel_affine_relu if self.activation else tgl.channel_affine
            return rescale(x, self.running_mean, factor, self.shift)
        count = math.prod(x.shape[:-1])
        if count == 0:
            raise tgl.errors.ShapeError(
                f"{self}: expected at least one element of each channel in training, got x.shape == {x.shape}"
            )
        if (part := tgl.batch_part()) is not None and part.sum is not None:
            count = count // part.images * part.whole
            y, mean, variance = self._synchronized(x, count, part.sum)
        else:
            normalize = tgl.batch_norm_relu if self.activation else tgl.batch_norm
            y, mean, variance = normalize(x, self.scale, self.shift, eps=self.eps)
        with tgl.no_grad():
            self.update(running_mean=self._moved(self.running_mean, mean))
            if count > 1:  # the unbiased variance of one value is undefined
                unbiased = variance * (count / (count - 1))
                self.update(running_var=self._moved(self.running_var, unbiased))
        return y

    def _synchronized(self, x: Any, count: int, sum_over_batch: Any) -> tuple[Any, Any, Any]:
        """Return the normalized maps, and the mean and variance over the `count` elements of the whole batch."""
        axes = tuple(range(x.ndim - 1))
        mean = sum_over_batch(tgl.sum(x, axis=axes)) / count
        centered = x - mean
        variance = sum_over_batch(tgl.sum(centered * centered, axis=axes)) / count
        rescale = tgl.channel_affine_relu if self.activation else tgl.channel_affine
        return rescale(x, mean, self.scale / tgl.sqrt(variance + self.eps), self.shift), mean, variance

    def _moved(self, running: Any, new: Any) -> Any:
        return running * self.momentum + new * (1.0 - self.momentum)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x."""
        if len(shape) < 2 or shape[-1] != self.channels:
            raise tgl.errors.ShapeError(f"{self}: expected shape (N, ..., {self.channels}), got x.shape == {shape}")
        return shape
