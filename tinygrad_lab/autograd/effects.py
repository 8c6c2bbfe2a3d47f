"""Effects that must happen once, though the forward that causes them may be recomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

Log = tuple[list[Any], Iterator[Any] | None, Any]  # results so far, the results to replay, the log around this one

_LOG: ContextVar[Log | None] = ContextVar("tinygrad_lab.autograd.effects", default=None)


def once(effect: Callable[[], Any]) -> Any:
    """Run an effect and return its result; when `checkpoint` recomputes, return that result again instead.

    Whatever must not happen twice when a forward is recomputed goes through here: drawing a seed, counting a step,
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
    """Call f; the results of its effects are appended to `results`."""
    return _call_with((results, None, _LOG.get()), f, xs)


def replaying_effects(results: list[Any], f: Callable[..., Any], *xs: Any) -> Any:
    """Call f again; its effects do not happen, but return what they returned the first time."""
    return _call_with((results, iter(results), None), f, xs)


def _call_with(log: Log, f: Callable[..., Any], xs: tuple[Any, ...]) -> Any:
    token = _LOG.set(log)
    try:
        return f(*xs)
    finally:
        _LOG.reset(token)
