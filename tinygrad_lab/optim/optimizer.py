"""Base class of optimizers: parameter groups, private state, and the step."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_lab.arguments import Checked, check_state, fits, to_python
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.backend import Array, is_array, namespace, transfer, zeros_like
from tinygrad_lab.errors import OptionError, StateError
from tinygrad_lab.foreign_names import OPTIMIZER, missing
from tinygrad_lab.nn.variables import Parameter

Options = dict[str, Any]
Rates = Mapping[str, Any]
Groups = Mapping[str, Mapping[str, Any]]

SHARES = frozenset({"momentum", "rho", "beta1", "beta2"})  # options: the share of an array that each step keeps


class Optimizer(metaclass=Checked):
    """Base class of all optimizers.

    A subclass names the arrays that it keeps for each parameter in `slots` and defines `update`. Its constructor passes
    its options to the constructor of `Optimizer`.

    Parameters
    ----------
    parameters : mapping of path to Parameter
        The parameters to learn, as `Layer.parameters` returns them. Frozen ones, and those without a gradient, are
        skipped.
    options : dict
        The options of `update`, including ``lr``.
    groups : mapping of path pattern to options, optional
        Other options for the parameters whose paths match a pattern with the wildcards ``*`` and ``?``; later patterns
        override earlier ones. ``lr_factor`` multiplies the learning rate, so a schedule affects every group.

    Attributes
    ----------
    lr : float
        The learning rate of the next step; a schedule sets it.
    slots : tuple of str
        The names of the arrays that are kept for each parameter.
    by_rates : bool
        Whether `rates` returns everything that differs from step to step, so that a GPU can capture a step in a graph
        and repeat it.
    in_place : bool
        Whether updates may reuse the memory of a parameter that nothing else references, so that large networks need no
        second copy; initially False. Set it only if no other thread uses the network: a thread that takes a parameter's
        array during a step would see it change.

    Raises
    ------
    OptionError
        There are no parameters, an option is unknown or out of range, or a pattern matches nothing.

    Examples
    --------
    >>> from tinygrad_lab.optim import SGD
    >>> w, b = tgl.Parameter(np.ones(2)), tgl.Parameter(np.ones(1))
    >>> optimizer = SGD({"w": w, "b": b}, lr=0.1, weight_decay=1e-4, groups={"b": {"weight_decay": 0, "lr_factor": 2}})
    >>> (w.sum() + b.sum()).backward()
    >>> optimizer.step()
    >>> print(w.numpy(), b.numpy())
    [0.89999 0.89999] [0.8]
    """

    slots: tuple[str, ...] = ()
    by_rates: bool = False
    reuses: bool = False  # whether this class's own `update` takes the option `reuse`, to write the result into p
    in_place: bool = False

    def __init__(self, parameters: Mapping[str, Parameter], options: Options, groups: Groups | None = None) -> None:
        self.parameters = self._by_name(parameters)
        options = {name: to_python(value) for name, value in options.items()}
        self._check(options)
        self.lr: float = options.pop("lr")
        self.options = self._by_path({**options, "lr_factor": 1.0}, groups or {})
        self._lr_factors: dict[str, float] = {path: own.pop("lr_factor") for path, own in self.options.items()}
        self._state: dict[str, dict[str, Array]] = {}
        self._steps: dict[str, int] = {}

    if not TYPE_CHECKING:  # otherwise type checkers would accept any name

        def __getattr__(self, name):
            raise missing(f"'{type(self).__name__}' object", name, OPTIMIZER)

    def update(self, p: Array, g: Array, state: dict[str, Array], *, lr: float, step: int, options: Options) -> Array:
        """Return the new value of parameter p with gradient g, in a new array.

        Parameters
        ----------
        p, g : array
            The parameter and its gradient; do not write into them.
        state : dict of name to array
            This parameter's `slots`, initially zeros; update them in place.
        lr : float
            The learning rate of the parameter's group.
        step : int
            The number of updates of this parameter, including this one.
        options : dict
            The options of the parameter's group.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected a subclass that defines update")

    def rates(self, *, lr: float, step: int, options: Options) -> dict[str, float]:
        """Return the numbers of an update that differ from step to step; by default only the learning rate.

        They are computed on the host in double precision. An optimizer whose updates depend on the step in another way
        overrides this and `apply`, and sets `by_rates`.
        """
        return {"lr": lr}

    def apply(self, p: Array, g: Array, state: dict[str, Array], *, rates: Rates, options: Options) -> Array:
        """Return the new value of parameter p like `update`, but from `rates`, which may be on the device."""
        return self.update(p, g, state, lr=rates["lr"], step=0, options=options)

    @property
    def memory(self) -> Mapping[str, Mapping[str, Array]]:
        """The optimizer's own arrays by path and slot; `load_state` replaces the mapping."""
        return self._state

    def rates_of(self, path: str, *, step: int) -> dict[str, float]:
        """Return the rates of a parameter's update number `step`."""
        return self.rates(lr=float(self.lr) * self._lr_factors[path], step=step, options=self.options[path])

    def counted(self, path: str) -> dict[str, float]:
        """Count an update of a parameter that the caller performs, and return its rates."""
        self._steps[path] = self._steps.get(path, 0) + 1
        return self.rates_of(path, step=self._steps[path])

    def updates(self, path: str) -> int:
        """Return how many updates a parameter has had."""
        return self._steps.get(path, 0)

    def prepare(self, paths: Iterable[str]) -> None:
        """Create the arrays (`slots`) of those of the given parameters that have none yet."""
        for path in paths:
            if path not in self._state:
                self._state[path] = {slot: zeros_like(self.parameters[path].value) for slot in self.slots}

    def applied(self, path: str, g: Array, rates: Rates) -> Array:
        """Return the new value of a parameter for a gradient and rates, without counting or assigning it."""
        self.prepare([path])
        p = self.parameters[path].value
        return self.apply(p, g, self._state[path], rates=rates, options=self.options[path])

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises
        ------
        StateError
            No parameter has a gradient.
        OptionError
            A parameter belongs to a head that `replace_head` replaced.
        """
        updated = False
        for path, parameter in self.parameters.items():
            if parameter.node is None or parameter.node.grad is None:
                self.expect_not_replaced(path)
                continue
            p, g, options = parameter.value, parameter.node.grad, self.options[path]
            if path not in self._state:
                self._state[path] = {slot: zeros_like(p) for slot in self.slots}
            self._steps[path] = self._steps.get(path, 0) + 1
            lr = float(self.lr) * self._lr_factors[path]
            if self.in_place and vars(type(self)).get("reuses"):  # a subclass may need p after its update
                del p  # so that only the parameter references its array
                options = {**options, "reuse": is_held_once(parameter)}
                p = parameter.value
            parameter.assign(self.update(p, g, self._state[path], lr=lr, step=self._steps[path], options=options))
            updated = True
        if not updated:
            who = f"{type(self).__name__}.step"
            raise StateError(f"{who}: expected a gradient of some parameter, got none; call loss.backward() first")

    def expect_not_replaced(self, path: str) -> None:
        """Check that a parameter does not belong to a head that `replace_head` replaced after this optimizer was made.

        Raises
        ------
        OptionError
            The parameter belongs to such a head; the new head would never be updated.
        """
        if self.parameters[path].replaced:
            raise OptionError(
                f"{type(self).__name__}: expected parameters of the model, got {path!r} of a head that replace_head "
                "replaced; make the optimizer after replace_head"
            )

    def state(self) -> dict[str, Any]:
        """Return the state for resuming as a flat dict of numbers and copies of arrays.

        Keys are ``lr``, ``PATH/step`` and ``PATH/SLOT``. Options are not included; they belong to the constructor.
        """
        flat: dict[str, Any] = {"lr": float(self.lr)}
        for path, arrays in self._state.items():
            flat[f"{path}/step"] = self._steps[path]
            flat.update((f"{path}/{slot}", namespace(array).array(array)) for slot, array in arrays.items())
        return flat

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state`; on an error nothing is changed.

        Raises
        ------
        StateError
            A key is missing or unknown, or an array has the wrong shape.
        """
        who = type(self).__name__
        paths = [key.removesuffix("/step") for key in state if key.endswith("/step")]
        expected = {"lr", *(f"{path}/{slot}" for path in paths for slot in ("step", *self.slots))}
        unknown = sorted({*(state.keys() - expected), *(path for path in paths if path not in self.parameters)})
        if missing := sorted(expected - state.keys()) or unknown:
            raise StateError(f"{who}: expected the state of its own parameters, missing {missing}, unknown {unknown}")
        check_state(who, {"lr": state["lr"]}, {"lr": float})
        for path in paths:
            check_state(who, {"step": state[f"{path}/step"]}, {"step": int})
            for slot in self.slots:
                if not is_array(unbox(state[f"{path}/{slot}"])):
                    got = type(state[f"{path}/{slot}"]).__name__
                    raise StateError(f"{who}: expected {path}/{slot} to be an array, got {got}")
                if unbox(state[f"{path}/{slot}"]).shape != self.parameters[path].shape:
                    got = unbox(state[f"{path}/{slot}"]).shape
                    raise StateError(f"{who}: expected {path}/{slot} of shape {self.parameters[path].shape}, got {got}")
        self.lr = float(state["lr"])
        self._steps = {path: int(state[f"{path}/step"]) for path in paths}
        self._state = {
            path: {slot: private_copy(state[f"{path}/{slot}"], self.parameters[path]) for slot in self.slots}
            for path in paths
        }

    def _by_name(self, parameters: Any) -> dict[str, Parameter]:
        """Return the parameters by path; raise if there are none or if these are not parameters."""
        got = "none"
        if not isinstance(parameters, Mapping):
            got = type(parameters).__name__
        elif wrong := {path: p for path, p in parameters.items() if not isinstance(p, Parameter)}:
            got = ", ".join(f"{type(p).__name__} at {path!r}" for path, p in wrong.items())
        elif parameters:
            return dict(parameters)
        raise OptionError(f"{self._who}: expected parameters to learn, got {got}; pass model.parameters()")

    def _by_path(self, options: Options, groups: Groups) -> dict[str, Options]:
        """Return every parameter's own options."""
        own = {path: dict(options) for path in self.parameters}
        if not fits(groups, dict) or not all(fits(changes, dict) for changes in groups.values()):
            example = {"*.bias": {"weight_decay": 0}}
            raise OptionError(f"{self._who}: expected groups by pattern, such as {example}, got {groups!r}")
        for pattern, changes in groups.items():
            matching = [path for path in own if fnmatchcase(path, pattern)]
            if not matching:
                near = difflib.get_close_matches(pattern, own, n=3, cutoff=0.3) or list(own)[:3]
                raise OptionError(f"{self._who}: expected a pattern of paths such as {near}, got {pattern!r}")
            if unknown := sorted(changes.keys() - options.keys()):
                known = f"{list(options)} (lr is shared by all groups; use lr_factor)"
                raise OptionError(f"{self._who}: expected group {pattern!r} to set some of {known}, got {unknown}")
            changes = {name: to_python(value) for name, value in changes.items()}
            self._check(changes)
            for path in matching:
                own[path].update(changes)
        return own

    @property
    def _who(self) -> str:
        return type(self).__name__

    def _check(self, options: Options) -> None:
        """Raise for negative or infinite options, and for one of `SHARES` that is not below 1."""
        for name, value in options.items():
            if not isinstance(value, (bool, int, float)) or not 0 <= value < math.inf:
                raise OptionError(f"{self._who}: expected {name} to be a finite number of at least 0, got {value!r}")
            if name in SHARES and value >= 1:
                raise OptionError(f"{self._who}: expected {name} below 1, because a step keeps this share, got {value}")

    def __repr__(self) -> str:
        return f"{self._who}({len(self.parameters)} parameters, lr={self.lr:g})"


def _holders(value: Array) -> tuple[int, int]:
    """Return the numbers of references to an array and to its base array."""
    return sys.getrefcount(value), 0 if value.base is None else sys.getrefcount(value.base)


def is_held_once(parameter: Parameter) -> bool:
    """Return whether only the parameter references its array: no tensor, view, state or tape.

    Its memory can then be reused for the new values, and a large parameter needs no second copy. The number of
    references is compared with that of an array with a single holder.
    """
    value = parameter.value
    if type(value) is not np.ndarray or not (value.flags.c_contiguous and value.flags.writeable):
        return False
    if value.base is not None and not (type(value.base) is np.ndarray and value.base.flags.owndata):
        return False
    own, base = _holders(value)
    return own <= _ONE_HOLDER[0] and base <= _ONE_HOLDER[1]


def _one_holder() -> tuple[int, int]:
    parameter = Parameter(np.empty(2)[:1])
    value = parameter.value
    return _holders(value)


_ONE_HOLDER = _one_holder()


def private_copy(array: Any, parameter: Parameter) -> Array:
    """Return a copy of an array in the dtype and on the device of a parameter, for in-place updates."""
    array = transfer(unbox(array), parameter.device)
    return namespace(array).array(array, dtype=parameter.dtype, order="C")
