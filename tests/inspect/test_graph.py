"""Drawings of tapes: every operation and variable, its value and gradient, and lines that never cross a box."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tests.strict_device  # noqa: F401  registers the device
import tinygrad_lab as tgl
from tinygrad_lab.errors import DTypeError, GradientError, OptionError

SVG = "{http://www.w3.org/2000/svg}"


def branched() -> tuple[Any, Any, Any]:
    a, b = tgl.tensor([1.0, 2.0], requires_grad=True), tgl.tensor(3.0, requires_grad=True)

    def compute() -> Any:
        left, right = a * b, tgl.sin(a)
        return ((left + right) * a * 2.0 - tgl.exp(right) / b).sum()

    return compute, a, b


def test_values_and_gradients_are_those_of_the_backward_pass() -> None:
    compute, a, b = branched()
    drawing = tgl.draw_graph(compute)
    assert a.grad is None
    result = compute()
    result.backward()
    words = dict(part.split(" (", 1) for part in drawing.description.split("; "))
    assert words["a"] == f"2,) = [1., 2.], gradient {np.array2string(a.grad.numpy(), precision=4, separator=', ')}"
    assert words["b"] == f") = 3., gradient {b.grad.item():.4f}"
    assert drawing.title == f"sum_axes: {result.item():.4f}"
    assert {box.block.title for box in drawing.boxes} >= {"a", "b", "multiply 2", "sin", "exp", "divide"}


def test_gradients_of_a_penalty_are_those_of_the_backward_pass() -> None:
    w, x = tgl.tensor([-1.0, 2.0], requires_grad=True), tgl.tensor([1.0, 1.0], requires_grad=True)

    def penalty() -> Any:
        inner = tgl.grad(lambda w: tgl.sin(x * w).sum())(w)
        return (inner * inner).sum()

    description = tgl.draw_graph(penalty).description
    product = next(part for part in description.split("; ") if " of x and " in part)
    assert product.endswith("gradient [0.9093, 0.7568]")  # -x**2 sin(2 x w)


def test_boxes_do_not_overlap_and_lines_lead_down_past_them() -> None:
    drawing = tgl.draw_graph(branched()[0])
    boxes = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in drawing.boxes]
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= drawing.width
        assert bottom <= drawing.height
        assert not [b for b in boxes[:i] if b[0] < right and left < b[2] and b[1] < bottom and top < b[3]]
    root = ET.fromstring(drawing.svg)
    lines = [line.get("points", "").split() for line in root.iter(f"{SVG}polyline")]
    assert len(lines) == 14  # the arguments of all operations that are on the tape
    for points in ([tuple(map(float, point.split(","))) for point in line] for line in lines):
        for (x0, y0), (x1, y1) in pairwise(points):
            assert y1 > y0
            for t in np.linspace(0.01, 0.99, 50):
                x, y = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
                assert not [b for b in boxes if b[0] < x < b[2] and b[1] < y < b[3]]


def test_a_tensor_computed_earlier_and_a_used_tape() -> None:
    compute, a, _ = branched()
    result = compute()
    assert "gradient" in tgl.draw_graph(result, of={"first": a}).description
    assert "first (2,)" in tgl.draw_graph(result, of={"first": a}).description
    result.backward()
    assert "gradient" not in tgl.draw_graph(result).description
    assert "gradient" not in tgl.draw_graph(a * 2.0).description  # no scalar, and no cotangent
    assert "gradient [2., 4.]" in tgl.draw_graph(a * 2.0, cotangent=np.array([1.0, 2.0])).description


def test_on_a_device_whose_arrays_numpy_cannot_read() -> None:
    w = tgl.tensor([1.0, 2.0], requires_grad=True, device="strict")
    assert "w (2,) = [1., 2.], gradient [3., 3.]" in tgl.draw_graph(lambda: (w * 3.0).sum()).description


def test_wrong_calls_are_refused() -> None:
    x = tgl.tensor(1.0, requires_grad=True)
    with pytest.raises(GradientError, match="expected one tensor on the tape, got float"):
        tgl.draw_graph(lambda: 3.0)
    with pytest.raises(DTypeError, match="expected a Tensor or a function, got str"):
        tgl.draw_graph("x")  # type: ignore[arg-type]
    y = x
    for _ in range(500):
        y = y + 1.0
    with pytest.raises(OptionError, match="at most 400 operations and variables, got 501"):
        tgl.draw_graph(y)


def test_tensors_and_layers_have_html_for_notebooks() -> None:
    x = tgl.tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert "(2,) float64 on cpu, leaf" in x._repr_html_()
    assert "gradient" not in x._repr_html_()
    (x * x).sum().backward()
    assert "gradient<pre>[2. 4.]</pre>" in x._repr_html_()
    dense = tgl.layers["dense"]
    model = tgl.Sequential(dense(3, 4, rng=0), dense(4, 2, rng=1)).freeze()
    html = model._repr_html_()
    assert html.count("<tr>") == 4
    assert "26</td>" in html
    assert "frozen" in html
    assert "Dense(3 -&gt; 4)" in html
