"""The optimizers. Each follows its paper, as its docstring says with what deviations."""

from __future__ import annotations

from collections.abc import Mapping

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError
from tinygrad_lab.layer import Parameter
from tinygrad_lab.optim.optimizer import Groups, Optimizer, Options
from tinygrad_lab.optim.updates import momentum_update, sgd_update


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum if wanted.

    .. math:: g_t = \nabla L(p_{t-1}) + \lambda p_{t-1}, \quad v_t = \mu v_{t-1} + g_t, \quad p_t = p_{t-1} - \eta v_t

    With Nesterov's momentum the last is :math:`p_t = p_{t-1} - \eta (g_t + \mu v_t)`.

    Parameters
    ----------
    parameters : mapping of path to Parameter
        What to learn.
    lr : float
        eta.
    momentum : float
        mu; 0 keeps no state.
    nesterov : bool
        Whether to look ahead.
    weight_decay : float
        lambda.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is negative or unknown, or Nesterov's momentum is asked for without momentum.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964, equation 9;
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, equations 1 to 4.
    Deviation from both, as PyTorch has it: the rate multiplies the velocity when it is applied and not the gradient when
    it is gathered, so that a change of rate acts at once; for a constant rate the two agree. Nesterov's form is theirs
    with p standing for the point looked ahead to (Y. Bengio et al., "Advances in optimizing recurrent networks", 2013,
    equation 7).
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        groups: Groups | None = None,
    ) -> None:
        if nesterov and not momentum:
            raise OptionError("SGD: expected momentum with nesterov=True, got momentum=0; set momentum=0.9")
        options = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(parameters, options, groups)
        if any(own["momentum"] for own in self.options.values()):
            self.slots = ("velocity",)

    def update(self, p: Array, g: Array, state: dict[str, Array], *, lr: float, step: int, options: Options) -> Array:
        """Return a fresh array for parameter p with gradient g."""
        decay = options["weight_decay"]
        if not self.slots:
            return sgd_update(p, g, lr=lr, weight_decay=decay)
        momentum, nesterov = options["momentum"], options["nesterov"]
        return momentum_update(p, g, state["velocity"], lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)
