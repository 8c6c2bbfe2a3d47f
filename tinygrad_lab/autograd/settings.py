"""Settings of the current thread and task: recording, anomaly detection, and which kernels may run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tinygrad_lab.errors import OptionError

if TYPE_CHECKING:
    from tinygrad_lab.autograd.anomaly import Watcher


def providers_from_environment() -> frozenset[str] | None:
    """Return the kernel providers that TINYGRAD_LAB_KERNELS names; None for all.

    Raises
    ------
    OptionError
        A name is unknown.
    """
    names = os.environ.get("TINYGRAD_LAB_KERNELS", "all")
    if names == "all":
        return None
    given = frozenset(name.strip() for name in names.split(",")) - {"none", ""}
    if unknown := sorted(given - {"numpy", "numba", "cupy"}):
        raise OptionError(f"TINYGRAD_LAB_KERNELS: expected all, none, or some of numpy,numba,cupy, got {unknown}")
    return given


class _Wrong(frozenset[str]):
    """Providers of a wrong variable: the error comes when a kernel is chosen, not when the package is imported."""

    def __contains__(self, provider: object) -> bool:
        return provider in (providers_from_environment() or ())


def _initial_providers() -> frozenset[str] | None:
    try:
        return providers_from_environment()
    except OptionError:
        return _Wrong()


@dataclass(frozen=True, slots=True)
class Settings:
    """The switches of the engine.

    Parameters
    ----------
    recording : bool
        Whether operations are put on the tape.
    watcher : Watcher or None
        Sees every operation on tensors, every node and every gradient; `detect_anomaly` checks them this way.
    transforming : bool
        Whether a function is being differentiated by a transform, such as `grad`.
    analytic : bool
        Whether functions that are not analytic accept complex numbers by analytic continuation; otherwise they raise.
    providers : frozenset of str or None
        The kernel providers that may replace reference forwards; None for all providers.
        TINYGRAD_LAB_KERNELS (``all``, ``none``, ``numpy``, ``numpy,numba``) sets the initial value.
    observer : callable or None
        Sees every operation before it runs, and chooses its forward. ``observer(primitive, xp, values, options)``
        returns a function of the values and options, or None for the reference forward. The conformance kit compares
        kernels with their references this way. `observing` sets it.
    """

    recording: bool = True
    watcher: Watcher | None = None
    transforming: bool = False
    analytic: bool = False
    providers: frozenset[str] | None = None
    observer: Callable[..., Any] | None = None


OBSERVERS: list[Callable[..., Any]] = []  # of all threads; operations look for their own only if there are any
SETTINGS = ContextVar("tinygrad_lab.autograd.settings", default=Settings(providers=_initial_providers()))


def using(**changes: Any) -> AbstractContextManager[None]:
    """Change some `Settings` inside a ``with`` block or a decorated function, for this thread and task alone.

    Raises
    ------
    OptionError
        The changes include `observer`, which only `observing` sets.
    """
    if "observer" in changes:
        raise OptionError("using: expected settings other than observer, got observer; use observing(observer)")
    return _changed(changes)


@contextmanager
def _changed(changes: dict[str, Any]) -> Iterator[None]:
    token = SETTINGS.set(replace(SETTINGS.get(), **changes))
    try:
        yield
    finally:
        SETTINGS.reset(token)


@contextmanager
def observing(observer: Callable[..., Any]) -> Iterator[None]:
    """Let an observer choose the forwards inside the ``with`` block, for this thread and task alone; see `Settings`."""
    OBSERVERS.append(observer)
    try:
        with _changed({"observer": observer}):
            yield
    finally:
        OBSERVERS.remove(observer)


def no_grad() -> AbstractContextManager[None]:
    """Record nothing inside the ``with`` block (or the decorated function), in this thread and task."""
    return using(recording=False)


def analytic() -> AbstractContextManager[None]:
    """Accept complex numbers, for the complex step: `norm`, `var`, `std` and losses square z, not |z|."""
    return using(analytic=True)


def reference_only() -> AbstractContextManager[None]:
    """Run the reference forwards and no kernel inside the ``with`` block."""
    return using(providers=frozenset())
