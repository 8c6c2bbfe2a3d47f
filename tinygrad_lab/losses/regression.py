"""Regression losses: squared, absolute, and Huber's between the two."""

from __future__ import annotations

from typing import Any

from tinygrad_lab.errors import OptionError
from tinygrad_lab.losses.reduction import as_target, compares, reduce
from tinygrad_lab.ops.arithmetic import absolute, clip
from tinygrad_lab.ops.elementary import square
from tinygrad_lab.ops.widths import in_floats


@compares("numbers")
@in_floats
def mse(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    r"""Squared error.

    .. math:: \ell = (y - t)^2, \qquad \frac{\partial \ell}{\partial y} = 2 (y - t)

    Parameters
    ----------
    prediction : Tensor or array of floats
        y.
    target : Tensor or array
        t.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each element.

    Shapes
    ------
    prediction, target : (...); loss : () or (...)

    Units
    -----
    Those of y, squared.

    Raises
    ------
    ShapeError
        The shapes differ.
    OptionError
        The reduction is unknown.

    References
    ----------
    A. M. Legendre, "Nouvelles méthodes pour la détermination des orbites des comètes", 1805, appendix. There is
    no factor 1/2.

    Examples
    --------
    >>> print(mse(np.array([1.0, 3.0]), [1, 1]))
    2.0
    """
    return reduce(square(prediction - as_target("mse", target, prediction)), reduction, "mse")


@compares("numbers")
@in_floats
def mae(prediction: Any, target: Any, *, reduction: str = "mean") -> Any:
    r"""Absolute error.

    .. math:: \ell = |y - t|, \qquad \frac{\partial \ell}{\partial y} = \mathrm{sign}(y - t)

    Parameters
    ----------
    prediction : Tensor or array of floats
        y.
    target : Tensor or array
        t.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each element.

    Shapes
    ------
    prediction, target : (...); loss : () or (...)

    Units
    -----
    Those of y.

    Raises
    ------
    ShapeError
        The shapes differ.
    OptionError
        The reduction is unknown.

    References
    ----------
    R. Boscovich, "De litteraria expeditione per pontificiam ditionem", 1757. At y = t the derivative is taken as 0.

    Examples
    --------
    >>> print(mae(np.array([1.0, 3.0]), [1, 1]))
    1.0
    """
    return reduce(absolute(prediction - as_target("mae", target, prediction)), reduction, "mae")


@compares("numbers")
@in_floats
def huber(prediction: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    r"""Squared error near the target, absolute error far from it.

    .. math:: \ell = \begin{cases} \tfrac12 d^2 & |d| \le \delta \\ \delta (|d| - \tfrac12 \delta) & \text{else}
              \end{cases}, \quad d = y - t, \qquad \frac{\partial \ell}{\partial y} = \mathrm{clip}(d, -\delta, \delta)

    Parameters
    ----------
    prediction : Tensor or array of floats
        y.
    target : Tensor or array
        t.
    delta : float
        The distance at which the squared error becomes the absolute error.
    reduction : {"mean", "sum", "none"}
        The reduction over all elements.

    Returns
    -------
    Tensor or array
        The loss: a scalar, or one for each element.

    Shapes
    ------
    prediction, target : (...); loss : () or (...)

    Units
    -----
    Those of y, squared.

    Raises
    ------
    ShapeError
        The shapes differ.
    OptionError
        delta is not positive, or the reduction is unknown.

    References
    ----------
    P. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964, section 1.

    Examples
    --------
    >>> print(huber(np.array([1.5, 4.0]), [1, 1], reduction="none"))
    [0.125 2.5  ]
    """
    if not delta > 0:
        raise OptionError(f"huber: expected delta above 0, got {delta}")
    difference = prediction - as_target("huber", target, prediction)
    held = clip(difference, -delta, delta)
    return reduce(held * (difference - 0.5 * held), reduction, "huber")
