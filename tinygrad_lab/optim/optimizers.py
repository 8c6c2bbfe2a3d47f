"""The built-in optimizers. Each docstring names its paper and the deviations from it."""

from __future__ import annotations

from collections.abc import Mapping

from tinygrad_lab.backend import Array
from tinygrad_lab.errors import OptionError
from tinygrad_lab.nn.variables import Parameter
from tinygrad_lab.optim.optimizer import Groups, Optimizer, Options, Rates
from tinygrad_lab.optim.updates import (
    adadelta_update,
    adagrad_update,
    adam_update,
    momentum_update,
    rmsprop_update,
    sgd_update,
)


class SGD(Optimizer):
    r"""Stochastic gradient descent, optionally with momentum.

    .. math:: g_t = \nabla L(p_{t-1}) + \lambda p_{t-1}, \quad v_t = \mu v_{t-1} + g_t, \quad p_t = p_{t-1} - \eta v_t

    With Nesterov's momentum the last equation becomes :math:`p_t = p_{t-1} - \eta (g_t + \mu v_t)`.

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn.
    lr : float
        eta.
    momentum : float
        mu; 0 keeps no state.
    nesterov : bool
        Whether to use Nesterov's momentum.
    weight_decay : float
        lambda.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is out of its range or unknown, or nesterov is set without momentum.

    References
    ----------
    B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, equations 1 to 4.
    Deviation from both, as in PyTorch: each step multiplies the velocity by the current learning rate. In the papers,
    each gradient is multiplied by the learning rate before it is added to the velocity. Here, a change of the rate
    takes effect at once; with a constant rate, the steps are the same. Nesterov's momentum is that of Sutskever et al.
    if p is the look-ahead point (Y. Bengio et al., "Advances in optimizing recurrent networks", 2013, section 3.5).
    """

    by_rates = True
    reuses = True

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
        """Return the new value of parameter p with gradient g, in a new array."""
        if not self.slots:
            return sgd_update(p, g, lr=lr, weight_decay=options["weight_decay"])
        return momentum_update(p, g, state["velocity"], lr=lr, **options)


class AdaGrad(Optimizer):
    r"""AdaGrad: the rate of each coordinate falls with its past gradients, so rare features keep learning.

    .. math:: s_t = s_{t-1} + g_t^2, \quad p_t = p_{t-1} - \eta \frac{g_t}{\sqrt{s_t} + \epsilon}, \qquad
              g_t = \nabla L(p_{t-1}) + \lambda p_{t-1}

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn.
    lr : float
        eta.
    eps : float
        epsilon, against division by 0.
    weight_decay : float
        lambda.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is out of its range or unknown.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12, 2011, section 1.1, in the diagonal form and without projection. epsilon is outside of the root, as in
    PyTorch; s starts at 0.
    """

    by_rates = True
    slots = ("squares",)

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        lr: float = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "eps": eps, "weight_decay": weight_decay}, groups)

    def update(self, p: Array, g: Array, state: dict[str, Array], *, lr: float, step: int, options: Options) -> Array:
        """Return the new value of parameter p with gradient g, in a new array."""
        return adagrad_update(p, g, state["squares"], lr=lr, **options)


class RMSprop(Optimizer):
    r"""RMSprop: the gradient divided by the root of its recent mean square.

    .. math:: s_t = \rho s_{t-1} + (1 - \rho) g_t^2, \quad v_t = \mu v_{t-1} + \frac{g_t}{\sqrt{s_t} + \epsilon}, \quad
              p_t = p_{t-1} - \eta v_t, \qquad g_t = \nabla L(p_{t-1}) + \lambda p_{t-1}

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn.
    lr : float
        eta.
    rho : float
        The share of the mean square that each step keeps.
    eps : float
        epsilon, against division by 0.
    momentum : float
        mu; 0 keeps no velocity.
    weight_decay : float
        lambda.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is out of its range or unknown.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012, with rho = 0.9. Three things are as in PyTorch: the
    default of rho, epsilon outside of the root, and momentum. The mean of the gradient is not subtracted.
    """

    by_rates = True

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        lr: float = 0.01,
        rho: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        groups: Groups | None = None,
    ) -> None:
        options = {"lr": lr, "rho": rho, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, options, groups)
        with_velocity = any(own["momentum"] for own in self.options.values())
        self.slots = ("squares", "velocity") if with_velocity else ("squares",)

    def update(self, p: Array, g: Array, state: dict[str, Array], *, lr: float, step: int, options: Options) -> Array:
        """Return the new value of parameter p with gradient g, in a new array."""
        return rmsprop_update(p, g, state["squares"], state.get("velocity"), lr=lr, **options)


class AdaDelta(Optimizer):
    r"""AdaDelta: the gradient times the ratio of the sizes of recent steps and recent gradients.

    A step thus has the physical units of its parameter, and no learning rate needs to be chosen.

    .. math:: s_t = \rho s_{t-1} + (1 - \rho) g_t^2, \quad
              d_t = \frac{\sqrt{u_{t-1} + \epsilon}}{\sqrt{s_t + \epsilon}} g_t, \quad
              u_t = \rho u_{t-1} + (1 - \rho) d_t^2, \quad p_t = p_{t-1} - \eta d_t

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn.
    lr : float
        eta.
    rho : float
        The share of the mean squares that each step keeps.
    eps : float
        epsilon, which determines the size of the first steps.
    weight_decay : float
        lambda, in g = grad L + lambda p.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is out of its range or unknown.

    References
    ----------
    M. Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1. PyTorch added eta, which is 1 in the
    paper; the default of rho is PyTorch's too.
    """

    by_rates = True
    slots = ("squares", "steps_squared")

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, groups)

    def update(self, p: Array, g: Array, state: dict[str, Array], *, lr: float, step: int, options: Options) -> Array:
        """Return the new value of parameter p with gradient g, in a new array."""
        return adadelta_update(p, g, state["squares"], state["steps_squared"], lr=lr, **options)


class Adam(Optimizer):
    r"""Adam: momentum divided by the root of the gradient's recent mean square, both corrected for their bias toward 0.

    .. math:: m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \quad
              p_t = p_{t-1} - \eta \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn.
    lr : float
        eta.
    beta1, beta2 : float
        The shares of the two means, m and v, that each step keeps.
    eps : float
        epsilon, against division by 0.
    weight_decay : float
        lambda, in g = grad L + lambda p; `AdamW` decays the weights themselves.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is out of its range or unknown.

    References
    ----------
    D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1. t counts the updates of each
    parameter separately, so the corrections are also right for a parameter that is unfrozen late.
    """

    by_rates = True
    slots = ("mean", "squares")
    decoupled = False

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        groups: Groups | None = None,
    ) -> None:
        options = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, options, groups)

    def update(self, p: Array, g: Array, state: dict[str, Array], *, lr: float, step: int, options: Options) -> Array:
        """Return the new value of parameter p with gradient g, in a new array."""
        return self.apply(p, g, state, rates=self.rates(lr=lr, step=step, options=options), options=options)

    def rates(self, *, lr: float, step: int, options: Options) -> dict[str, float]:
        """Return the options rate, root and kept of `adam_update`: two bias corrections and the decay."""
        return {
            "rate": lr / (1.0 - options["beta1"] ** step),
            "root": (1.0 - options["beta2"] ** step) ** -0.5,
            "kept": 1.0 - lr * options["weight_decay"] if self.decoupled else 1.0,
        }

    def apply(self, p: Array, g: Array, state: dict[str, Array], *, rates: Rates, options: Options) -> Array:
        """Return the new value of parameter p with gradient g, in a new array."""
        own = {**options, "weight_decay": 0.0} if self.decoupled else options
        return adam_update(p, g, state["mean"], state["squares"], **rates, **own)


class AdamW(Adam):
    r"""`Adam` with decoupled weight decay: the decay is not divided by the root of the mean square.

    .. math:: p_t = (1 - \eta \lambda) p_{t-1}
                    - \eta \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn.
    lr : float
        eta.
    beta1, beta2 : float
        The shares of the two means, m and v, that each step keeps.
    eps : float
        epsilon, against division by 0.
    weight_decay : float
        lambda.
    groups : mapping of path pattern to options, optional
        See `Optimizer`.

    Raises
    ------
    OptionError
        An option is out of its range or unknown.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, algorithm 2. Deviation, as in PyTorch: the
    decay is multiplied by eta, not only by the schedule.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        *,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        groups: Groups | None = None,
    ) -> None:
        super().__init__(parameters, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, groups=groups)
