"""Right answers in other code pass: the grader checks results, not code."""

from __future__ import annotations

import pytest

from tinygrad_lab.learn.catalog import find_exercise
from tinygrad_lab.learn.grading import grade

RIGHT = {
    "scalar_tape": """
import math
class Value:
    "With a closure for each operation, and the order by counting."
    count = 0
    def __init__(self, data, parents=()):
        Value.count += 1
        self.data, self.parents, self.grad, self.number = data, set(parents), 0, Value.count
        self.hand_on = lambda: None
    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))
        def hand_on():
            self.grad += out.grad
            other.grad += out.grad
        out.hand_on = hand_on
        return out
    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))
        def hand_on():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad
        out.hand_on = hand_on
        return out
    def tanh(self):
        out = Value((math.exp(2 * self.data) - 1) / (math.exp(2 * self.data) + 1), (self,))
        def hand_on():
            self.grad += out.grad / math.cosh(self.data) ** 2
        out.hand_on = hand_on
        return out
    def backward(self):
        found, todo = {self}, [self]
        while todo:
            new = todo.pop().parents - found
            found |= new
            todo += new
        for value in found:
            value.grad = 0
        self.grad = 1
        for value in sorted(found, key=lambda v: -v.number):
            value.hand_on()
""",
    "broadcasting": """
import numpy as np
def sum_to(g, shape):
    while g.ndim > len(shape):
        g = g.sum(0)
    for axis, length in enumerate(shape):
        if g.shape[axis] != length:
            g = g.sum(axis, keepdims=True)
    return g
def multiply_backward(g, x, y):
    return [sum_to(g * y, x.shape), sum_to(g * x, y.shape)]
""",
    "matmul": """
import numpy as np
def dense_backward(g, x, w):
    return np.einsum("no,io->ni", g, w), np.einsum("ni,no->io", x, g), np.ones(len(g)) @ g
""",
    "cross_entropy": """
import numpy as np
from scipy.special import log_softmax, softmax
def cross_entropy(logits, labels):
    return -float(np.mean([log_softmax(row)[t] for row, t in zip(logits, labels)]))
def cross_entropy_backward(g, logits, labels):
    return g * (softmax(logits, axis=1) - np.eye(logits.shape[1])[labels]) / logits.shape[0]
""",
    "im2col": """
import numpy as np
def im2col(x, kernel_size, stride):
    views = np.lib.stride_tricks.sliding_window_view(x, (kernel_size, kernel_size), (1, 2))[:, ::stride, ::stride]
    return np.moveaxis(views, 3, -1).reshape(-1, kernel_size * kernel_size * x.shape[-1])
""",
    "max_pool": """
import numpy as np
def windows(x, k, s):
    for p in range((x.shape[1] - k) // s + 1):
        for q in range((x.shape[2] - k) // s + 1):
            yield p, q, slice(p * s, p * s + k), slice(q * s, q * s + k)
def max_pool(x, kernel_size, stride):
    rows, columns = ((size - kernel_size) // stride + 1 for size in x.shape[1:3])
    out = np.zeros((len(x), rows, columns, x.shape[3]))
    for p, q, rows, columns in windows(x, kernel_size, stride):
        out[:, p, q] = x[:, rows, columns].max((1, 2))
    return out
def max_pool_backward(g, x, kernel_size, stride):
    dx = np.zeros(x.shape)
    for p, q, rows, columns in windows(x, kernel_size, stride):
        for n in range(len(x)):
            for c in range(x.shape[3]):
                i, j = np.unravel_index(np.argmax(x[n, rows, columns, c]), (kernel_size, kernel_size))
                dx[n, rows, columns, c][i, j] += g[n, p, q, c]
    return dx
""",
    "dropout": """
import tinygrad_lab as tgl
class Dropout(tgl.Layer):
    def __init__(self, rate=0.5):
        self.rate = rate
    def forward(self, x):
        if self.training and self.rate:
            left_out = self.random(x).uniform() < self.rate
            return tgl.where(left_out, 0.0 * x, x / (1 - self.rate))
        return x
    def output_shape(self, shape):
        return shape
""",
    "batch_norm": """
import numpy as np
def batch_norm_backward(g, x, scale, eps):
    n, mean, var = len(x), x.mean(0), x.var(0)
    d_normal = g * scale
    d_var = (d_normal * (x - mean)).sum(0) * -0.5 * (var + eps) ** -1.5
    d_mean = -d_normal.sum(0) / np.sqrt(var + eps) + d_var * (-2 * (x - mean)).mean(0)
    dx = d_normal / np.sqrt(var + eps) + d_var * 2 * (x - mean) / n + d_mean / n
    return dx, (g * (x - mean)).sum(0) / np.sqrt(var + eps), g.sum(0)
""",
    "layer_norm": """
import tinygrad_lab as tgl
class LayerNorm(tgl.Layer):
    def __init__(self, features, *, eps=1e-5):
        self.eps = eps
        self.shift = tgl.Parameter(tgl.initializers.zeros((features,)))
        self.scale = tgl.Parameter(tgl.initializers.ones((features,)))
    def forward(self, x):
        root = (tgl.var(x, -1, keepdims=True) + self.eps) ** 0.5
        return (x - x.mean(-1, keepdims=True)) / root * self.scale + self.shift
    def output_shape(self, shape):
        return shape
""",
    "momentum": """
import numpy as np
class SGD:
    def __init__(self, parameters, *, lr, momentum=0.9):
        self.parameters, self.lr, self.momentum, self.velocity = parameters, lr, momentum, {}
    def step(self):
        for path, p in self.parameters.items():
            if p.grad is not None:
                v = self.velocity.setdefault(path, np.zeros_like(p.numpy()))
                v *= self.momentum
                v += p.grad.numpy()
                p.assign(p.numpy() - self.lr * v)
    def state(self):
        return {path: np.array(v) for path, v in self.velocity.items()}
    def load_state(self, state):
        for path, v in state.items():
            self.velocity[path] = np.array(v)
""",
    "complex_step": """
import numpy as np
def slope(f, x, u):
    return f(x + 1e-100j * u).imag * 1e100
def jacobian(f, x):
    return np.array([slope(f, x, e) for e in np.identity(x.size)]).T
def agrees(f, vjp, x):
    j = jacobian(f, x)
    return all(np.abs(vjp(v, x) - j.T @ v).max() < 1e-9 for v in np.eye(len(j)))
""",
}


# The tape of tutorial 1: functions outside of the class, and a second walk that counts twice.
TUTORIAL_TAPE = """
import math
class Value:
    count = 0
    def __init__(self, data, made_from=()):
        self.data, self.made_from, self.grad = data, made_from, 0.0
        Value.count += 1
        self.order = Value.count
    def __add__(self, other):
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])
    def __mul__(self, other):
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])
def tanh(x):
    t = math.tanh(x.data)
    return Value(t, [(x, 1 - t * t)])
def backward(result):
    found, seen = [result], {result}
    for value in found:
        for x, _ in value.made_from:
            if x not in seen:
                seen.add(x)
                found.append(x)
    result.grad = 1.0
    for y in sorted(found, key=lambda value: value.order, reverse=True):
        for x, local in y.made_from:
            x.grad += y.grad * local
"""


def test_the_tape_of_the_tutorial_fails_only_at_the_second_walk() -> None:
    verdict = grade(find_exercise("scalar_tape"), {"scalar_tape.py": TUTORIAL_TAPE})
    assert (len(verdict.steps), verdict.failed) == (4, "a second walk from the same result")
    assert verdict.mistakes == ["second_walk"]
    start = "    result.grad = 1.0"
    mended = TUTORIAL_TAPE.replace(start, f"    for y in found:\n        y.grad = 0.0\n{start}")
    assert grade(find_exercise("scalar_tape"), {"scalar_tape.py": mended}).passed


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_in_other_code_passes(name: str) -> None:
    verdict = grade(find_exercise(name), {f"{name}.py": RIGHT[name]})
    assert verdict.passed, (verdict.failed, verdict.what, verdict.shown, verdict.because)
