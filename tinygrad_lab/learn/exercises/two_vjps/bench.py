"""Code beside an answer to `two_vjps`: functions of tensors, and their derivatives by the learner's transforms."""

from __future__ import annotations

from typing import Any

import tinygrad_lab as tgl
from tinygrad_lab.autograd.tape import unbox
from tinygrad_lab.learn.answer import Answer


def twisted(x: Any) -> Any:
    """Return as many results as x has elements, each computed from several of them."""
    return tgl.sin(x) * tgl.cumsum(x, 0) + tgl.exp(x)


def longer(x: Any) -> Any:
    """Return more results than x has elements."""
    return tgl.concatenate([tgl.tanh(x), x * x])


def energy(x: Any) -> Any:
    """Return one number, whose Hessian is full."""
    return tgl.exp(tgl.mean(x * x)) + tgl.sum(tgl.sin(x) * x)


FUNCTIONS = {f.__name__: f for f in (twisted, longer, energy)}


def pushed(answer: Answer, name: str, x: Any, u: Any) -> Any:
    """Return J u by the learner's transform."""
    return unbox(answer.jvp(FUNCTIONS[name], x, u))


def curved(answer: Answer, x: Any, u: Any) -> Any:
    """Return H u by the learner's transform."""
    return unbox(answer.hessian_vector(energy, x, u))
