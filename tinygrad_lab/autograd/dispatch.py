"""Kernel dispatch: register faster forwards of primitives and choose one for a call.

The reference forward of a primitive is its specification. A kernel is an alternative forward for some calls. It must
agree with the reference to within a declared error, which the conformance kit checks.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from marshal import dumps
from typing import Any

from tinygrad_lab.autograd.settings import OBSERVERS, SETTINGS
from tinygrad_lab.backend import BACKENDS, ORDINARY, installed, is_array
from tinygrad_lab.errors import DTypeError, OptionError, hint, warn_once

PROVIDERS: set[str] = set()  # of all registered kernels
DEVICE_OF = {"numpy": "cpu", "numba": "cpu", "cupy": "cuda"}  # any other provider has the name of its device


@functools.cache
def provider_serves(provider: str, xp: Any) -> bool:
    """Return whether a provider's kernels run on arrays of a namespace.

    If Numba cannot be imported, its kernels never run, and the logger ``tinygrad_lab`` warns once.
    """
    backend = BACKENDS.get(DEVICE_OF.get(provider, provider))
    if backend is None or backend.namespace is not xp:
        return False
    if provider != "numba":
        return True
    try:
        if installed("numba"):
            importlib.import_module("numba")
            return True
        why = "Numba is not installed"
    except ImportError as error:
        why = str(error)
    warn_once(f"no compiled kernels ({why}); kernels in NumPy run instead, at about half the speed; pip install numba")
    return False


def have_kernels(xp: Any) -> bool:
    """Return whether any kernel is registered for arrays of a namespace."""
    return any(provider_serves(provider, xp) for provider in PROVIDERS)


@dataclass
class Kernel:
    """A faster forward of one primitive.

    Parameters
    ----------
    provider : str
        ``"numpy"`` (blocked array code), ``"numba"`` or ``"cupy"``.
    run : callable
        The forward, without the namespace argument.
    when : callable or None
        Predicate on the same arguments: whether the kernel supports the call. None: it supports every call.
    min_size : int
        The kernel is used only if the largest array has at least this many elements; for fewer, it does not pay off.
        The conformance kit runs it on smaller arrays too.
    error_bound : float or callable
        Bound on its float32 error, relative to the standard deviation of the result. A function returns the bound if
        it depends on settings.
    calls : int
        How often the kernel ran; tests read it.
    """

    provider: str
    run: Callable[..., Any]
    when: Callable[..., bool] | None
    error_bound: float | Callable[[], float]
    min_size: int = 0
    calls: int = 0

    @property
    def bound(self) -> float:
        """The bound on its float32 error under the current settings."""
        return self.error_bound() if callable(self.error_bound) else self.error_bound


class ShapeCheck:
    """Check of a primitive's shapes and options, before its reference forward or any kernel runs.

    Calls that passed are cached, so a repeated call with the same shapes and options costs about a microsecond and the
    rule can be written for readability. The cache keys are bytes, which unlike hashes differ for 1, 1.0 and True.

    Parameters
    ----------
    op : Primitive
        The primitive whose calls are checked.
    rule : callable
        ``rule(op, *shapes, **options)`` raises an error if the arguments do not fit. It gets the shape of each array
        (None for an argument that is None), never the array, so its result depends only on the shapes and options.
    """

    MOST = 1 << 12  # calls in the cache

    def __init__(self, op: Any, rule: Callable[..., None]) -> None:
        self.op, self.rule, self.passed = op, rule, set[bytes]()

    def __call__(self, values: list[Any], options: dict[str, Any]) -> None:
        """Apply the rule.

        Raises
        ------
        ShapeError, OptionError, DTypeError
            The arguments do not fit.
        """
        given: list[Any] = []
        for value in values:  # faster than a comprehension for a few values
            given.append(getattr(value, "shape", value))
        given.append(options)
        try:
            call = dumps(given, 2)
        except ValueError:  # an option is an array
            call = None
        if call not in self.passed:
            self._apply(values, options)
            if call is not None:
                if len(self.passed) >= self.MOST:
                    self.passed.clear()
                self.passed.add(call)

    def _apply(self, values: list[Any], options: dict[str, Any]) -> None:
        for i, value in enumerate(values):
            if value is not None and not hasattr(value, "shape"):
                raise DTypeError(
                    f"{self.op}: expected an array for {self.op.names(i)}, got {type(value).__name__}; "
                    "use numpy.asarray?"
                )
        self.rule(self.op, *(None if value is None else value.shape for value in values), **options)


class KernelTable(list[Kernel]):
    """The kernels of one primitive, newest first.

    Parameters
    ----------
    op : Primitive
        The primitive.
    """

    def __init__(self, op: Any) -> None:
        super().__init__()
        self.op = op

    def register(
        self,
        provider: str,
        *,
        when: Callable[..., bool] | None = None,
        min_size: int = 0,
        error_bound: float | Callable[[], float] = 0.0,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the decorated function as a kernel; see `Kernel`. It is tried before those registered earlier.

        Raises
        ------
        OptionError
            The provider is missing, as in ``@op.kernel``, or unknown, or the function has a parameter ``xp``.
        """
        if not isinstance(provider, str):
            raise OptionError(f"{self.op}.kernel: expected the name of a provider; write @{self.op}.kernel('numba')")
        if provider not in (known := DEVICE_OF.keys() | (BACKENDS.keys() - DEVICE_OF.values())):
            raise OptionError(f"{self.op}.kernel: expected a provider, got {provider!r}; {hint(provider, known)}")

        def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
            if next(iter(inspect.signature(run).parameters), "") == "xp":
                got = f"got {run.__name__}(xp, ...); leave out the first parameter"
                raise OptionError(f"{self.op}.kernel: expected a function of the arrays and options alone, {got}")
            PROVIDERS.add(provider)
            self.insert(0, Kernel(provider, run, when, error_bound, min_size))
            return run

        return decorate

    def serving(
        self, xp: Any, values: list[Any], options: dict[str, Any], *, any_size: bool = False
    ) -> Iterator[Kernel]:
        """Yield the enabled kernels that support the call; `any_size` includes those whose launch would not pay off."""
        allowed, size = SETTINGS.get().providers, 0
        for value in values:
            if is_array(value):
                if value.dtype not in ORDINARY or not value.size:
                    return  # kernels take only ordinary dtypes; on an empty array none is faster than the reference
                size = max(size, value.size)
        for kernel in self:
            if (
                (allowed is None or kernel.provider in allowed)
                and (any_size or size >= kernel.min_size)
                and provider_serves(kernel.provider, xp)
                and (kernel.when is None or kernel.when(*values, **options))
            ):
                yield kernel

    def choose(self, xp: Any, values: list[Any], options: dict[str, Any]) -> Callable[..., Any] | None:
        """Return the first enabled kernel that supports the call, or None. An observer, if set, chooses instead."""
        if OBSERVERS and (observer := SETTINGS.get().observer):
            chosen: Callable[..., Any] | None = observer(self.op, xp, values, options)
            return chosen
        for kernel in self.serving(xp, values, options):
            kernel.calls += 1
            return kernel.run
        return None
