"""Side effects that happen once, even if `checkpoint` recomputes the forward that causes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

Log = tuple[list[Any], Iterator[Any] | None, Any]  # results so far, results to replay, the enclosing log

_LOG: ContextVar[Log | None] = ContextVar("tinygrad_lab.autograd.effects", default=None)


def once(effect: Callable[[], Any]) -> Any:
    """Run an effect and return its result. During recomputation by `checkpoint`, return the recorded result instead.

    Use it for anything that must not happen twice when a forward is recomputed: drawing a seed, counting a step,
    updating running statistics.
    """
    return _perform(effect, _LOG.get())


def _perform(effect: Callable[[], Any], log: Log | None) -> Any:
    if log is None:
        return effect()
    results, replay, around = log
    if replay is not None:
        return next(replay)
    results.append(_perform(effect, around))
    return results[-1]


def logging_effects(results: list[Any], f: Callable[..., Any], *xs: Any) -> Any:
    """Call f and append the results of its effects to `results`."""
    return _call_with((results, None, _LOG.get()), f, xs)


def replaying_effects(results: list[Any], f: Callable[..., Any], *xs: Any) -> Any:
    """Call f again. Its effects do not run; they return the recorded results."""
    return _call_with((results, iter(results), None), f, xs)


def _call_with(log: Log, f: Callable[..., Any], xs: tuple[Any, ...]) -> Any:
    token = _LOG.set(log)
    try:
        return f(*xs)
    finally:
        _LOG.reset(token)
