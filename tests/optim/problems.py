"""A test problem for many steps of optimizers: L_t(p) = sum(c p^2 / 2 + d_t p), a bowl that is shaken."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_lab as tgl
from tinygrad_lab.optim import Optimizer

Array = np.ndarray
STEPS = 100


class Bowl:
    """Two parameters, their initial values, and the shaking d_t."""

    def __init__(self, seed: int = 0, dtype: str = "float64") -> None:
        rng = np.random.default_rng(seed)
        shapes = {"layer.weight": (3, 2), "layer.bias": (2,)}
        self.start = {path: rng.normal(size=shape).astype(dtype) for path, shape in shapes.items()}
        self.curvature = {path: rng.uniform(0.1, 2.0, shape).astype(dtype) for path, shape in shapes.items()}
        self.shaking = [
            {path: rng.normal(size=shape).astype(dtype) for path, shape in shapes.items()} for _ in range(STEPS)
        ]

    def parameters(self) -> dict[str, tgl.Parameter]:
        return {path: tgl.Parameter(array.copy()) for path, array in self.start.items()}

    def loss(self, parameters: Any, step: int) -> Any:
        terms = [
            (p * p * self.curvature[path] * 0.5 + p * self.shaking[step][path]).sum() for path, p in parameters.items()
        ]
        return terms[0] + terms[1]

    def gradient(self, path: str, p: Array, step: int) -> Array:
        return self.curvature[path] * p + self.shaking[step][path]

    def follow(self, optimizer: Optimizer, start: int = 0, stop: int = STEPS) -> dict[str, Array]:
        for step in range(start, stop):
            self.loss(optimizer.parameters, step).backward()
            optimizer.step()
        return {path: p.numpy() for path, p in optimizer.parameters.items()}
