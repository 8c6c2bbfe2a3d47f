"""The tape and its backward pass: accumulation, memory, hooks and errors."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_lab as tgl
from tests.autograd.conftest import Make, host
from tinygrad_lab.errors import DTypeError, GradientError, ShapeError


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the garbage collector off, so that only reference counts free objects; gc.collect() skips older ones."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


# --------------------------------------------------------------------------------------------------------- accumulation


def test_the_gradients_of_a_value_used_twice_add_up(variable: Make) -> None:
    x = variable([2.0, 3.0])
    y = x * x
    z = y + tgl.exp(y) * y + y
    z.sum().backward()
    e = np.exp([4.0, 9.0])
    np.testing.assert_allclose(host(x.grad), (2 + e * [5.0, 10.0]) * 2 * np.array([2.0, 3.0]))


def test_one_operation_may_take_the_same_value_twice(variable: Make) -> None:
    x = variable([3.0])
    (tgl.multiply(x, x) + tgl.concatenate([x, x]).sum()).sum().backward()
    assert host(x.grad).tolist() == [8.0]


def test_gradients_of_several_backward_passes_add_up(variable: Make) -> None:
    x = variable([1.0, 2.0])
    (x * x).sum().backward()
    first = x.grad
    (3.0 * x).sum().backward()
    assert host(x.grad).tolist() == [5.0, 7.0]
    assert host(first).tolist() == [2.0, 4.0]  # the gradient that was read before has not changed


def test_assigning_a_new_array_clears_the_gradient(variable: Make, make: Make) -> None:
    x = variable([1.0])
    x.sum().backward()
    x.assign(make([2.0]))
    assert x.grad is None


def test_backward_of_a_leaf_gives_1(variable: Make) -> None:
    x = variable(2.0)
    x.backward()
    assert float(host(x.grad)) == 1.0


def test_each_node_is_visited_once_however_many_paths_lead_to_it(variable: Make) -> None:
    """2^60 paths, 60 nodes."""
    x = variable(1.0)
    y = x * 1.0
    for _ in range(60):
        y = y + y
    y.backward()
    assert float(host(x.grad)) == 2.0**60


def test_gradients_are_added_in_place_only_into_arrays_of_the_backward_pass(variable: Make, make: Make) -> None:
    """The caller's cotangent and the gradients that hooks have seen do not change."""
    x, cotangent = variable([1.0, 2.0]), make([1.0, 10.0])
    seen: list[tuple[Any, np.ndarray]] = []
    parts = [x * 1.0, x + 0.0, x + 0.0, x + 0.0, x * 2.0]
    for part in (x, *parts):
        part.register_hook(lambda g: seen.append((g.value, host(g).copy())))
    total = parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
    total.backward(cotangent)
    assert host(x.grad).tolist() == [6.0, 60.0]
    for array, then in seen:
        assert np.array_equal(host(array), then)


def test_a_rule_may_return_its_cotangent_itself(make: Make) -> None:
    """f(x) = x + x + x: J^T v = 3v is added up without writing into v, which is read-only."""
    v = make([1.0, 2.0])
    _, pull = tgl.vjp(lambda x: x + x + x, make([0.0, 0.0]))
    (g,) = pull(v)
    assert host(g).tolist() == [3.0, 6.0]
    assert host(pull(v)[0]).tolist() == [3.0, 6.0]


# -------------------------------------------------------------------------------------------- long chains, small arrays


@pytest.mark.slow
def test_a_chain_of_100_000_operations(variable: Make) -> None:
    x = variable([1.0])
    y = x
    for _ in range(50_000):
        y = y * 1.0 + 0.0
    y.sum().backward()
    assert host(x.grad).tolist() == [1.0]
    del y  # the chain is freed without recursion


def test_a_long_chain_without_a_backward_pass_is_freed_without_recursion(variable: Make, no_collector: None) -> None:
    y = variable([1.0])
    for _ in range(100_000):
        y = -y
    last = weakref.ref(y)
    del y
    assert last() is None


def test_a_wide_sum_of_10_000_terms(variable: Make) -> None:
    x = variable([1.0])
    y = tgl.concatenate([x * float(i) for i in range(10_000)]).sum()
    y.backward()
    assert host(x.grad).tolist() == [float(sum(range(10_000)))]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,)])
def test_arrays_without_axes_or_elements(make: Make, shape: tuple[int, ...]) -> None:
    x = tgl.tensor(make(np.ones(shape)), requires_grad=True)
    y = tgl.exp(x * x) + x / 2.0
    y.backward(make(np.ones(shape)))
    assert x.grad is not None
    assert x.grad.shape == shape
    assert x.grad.dtype == "float64"
    np.testing.assert_allclose(host(x.grad), np.full(shape, 2 * np.e + 0.5))


# --------------------------------------------------------------------------------------------------------------- memory


def test_the_graph_is_freed_without_the_garbage_collector(variable: Make, no_collector: None) -> None:
    x = variable([1.0, 2.0])
    a = x * x
    b = tgl.exp(a)
    loss = tgl.max_pool2d(b.reshape(1, 1, 2, 1), kernel_size=(1, 2), stride=(1, 2), padding=((0, 0), (0, 0)))[0].sum()
    nodes = [weakref.ref(t) for t in (a, b, loss)]
    loss.backward()
    del a, b, loss
    assert [ref() for ref in nodes] == [None] * 3
    assert gc.collect() == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda x: tgl.grad(lambda x: (x * x).sum())(x.value),
        lambda x: tgl.grad(lambda y: tgl.grad(lambda z: (z**3).sum())(y).sum())(x),
        lambda x: tgl.jvp(tgl.sin, (x.value,), (x.value,)),
        lambda x: tgl.vjp(tgl.sin, x)[1](x.value),
        lambda x: tgl.hvp(lambda x: tgl.exp(x).sum(), (x,), (x,)),
        lambda x: tgl.checkpoint(lambda x: tgl.sin(tgl.exp(x)), x).sum().backward(),
        lambda x: tgl.softmax(x).register_hook(lambda g: g),
        lambda x: tgl.jacobian(tgl.tanh)(x),
        lambda x: (x * 2.0).sum().backward(keep_graph=True),
    ],
)
def test_no_reference_cycles(use: Callable[[Any], Any], variable: Make, no_collector: None) -> None:
    x = variable([0.5, 0.25])
    use(x)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        use(x)
        gc.collect()
        assert [o for o in gc.garbage if type(o).__module__.startswith("tinygrad_lab")] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


class Tracker:
    """Counts, by weak references, how many of a primitive's results are still in memory."""

    def __init__(self) -> None:
        self.refs: list[weakref.ref[Any]] = []

    def alive(self) -> int:
        return sum(ref() is not None for ref in self.refs)


def test_the_backward_pass_frees_saved_arrays_as_it_goes(no_collector: None) -> None:
    """When the backward pass is at a node, the arrays that newer nodes saved are already freed."""
    saved, alive = Tracker(), []

    @tgl.primitive
    def step(xp: Any, x: Any) -> Any:
        y = x + 1.0
        saved.refs.append(weakref.ref(y))
        return y

    def rule(g: Any, out: Any) -> Any:
        del out
        alive.append(saved.alive())
        return g

    step.defvjp(x=rule)
    y = tgl.tensor(np.zeros(3), requires_grad=True)
    for _ in range(10):
        y = step(y)
    loss = y.sum()
    del y
    assert saved.alive() == 10
    loss.backward()
    assert saved.alive() == 0
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] <= 2


def test_only_arrays_that_the_rules_name_are_kept(no_collector: None) -> None:
    """An addition and a multiplication by a number keep no array."""
    big = [tgl.tensor(np.full(4, float(k)), requires_grad=True) for k in range(3)]
    refs = [weakref.ref(t.value) for t in big]
    total = big[0] + big[1]
    product = (total * 2.0).sum()
    del big, total
    assert [ref() for ref in refs[:2]] == [None, None]
    assert product.requires_grad


def test_a_second_backward_pass_needs_keep_graph(variable: Make) -> None:
    x = variable([2.0])
    y = tgl.exp(x).sum()
    y.backward(keep_graph=True)
    y.backward()
    np.testing.assert_allclose(host(x.grad), 2 * np.exp([2.0]))
    expected = r"sum_axes: expected a tape that no backward pass has used yet.*keep_graph=True"
    with pytest.raises(GradientError, match=expected):
        y.backward()


def test_a_backward_pass_does_not_free_other_tapes(variable: Make) -> None:
    x = variable([2.0])
    a = tgl.exp(x)
    tgl.grad(lambda z: (z * z).sum())(a.value)
    (a * 1.0).sum().backward()
    np.testing.assert_allclose(host(x.grad), np.exp([2.0]))


# ---------------------------------------------------------------------------------------------------------------- hooks


def test_a_hook_sees_and_replaces_the_gradient(variable: Make) -> None:
    x, seen = variable([1.0, 2.0]), []
    y = x * 2.0
    remove = y.register_hook(lambda g: seen.append(host(g).tolist()))
    y.register_hook(lambda g: g * 10.0)
    (y * y).sum().backward(keep_graph=True)
    assert seen == [[4.0, 8.0]]
    assert host(x.grad).tolist() == [80.0, 160.0]
    remove()
    remove()  # removing a hook twice does no harm
    (y * 1.0).sum().backward()
    assert len(seen) == 1


def test_a_hook_on_a_leaf_sees_the_sum_of_a_backward_pass(variable: Make) -> None:
    x, seen = variable([1.0]), []
    x.register_hook(lambda g: seen.append(host(g).tolist()))
    (x * 2.0 + x * 3.0).sum().backward()
    assert seen == [[5.0]]


def test_a_hook_takes_part_in_second_derivatives(make: Make) -> None:
    """The hook doubles the gradient of y in the first backward pass and again in the second one."""

    def f(x: Any) -> Any:
        y = x * 1.0
        y.register_hook(lambda g: g * 2.0)
        return (y**3).sum()

    x = make([2.0])
    assert host(tgl.grad(f)(x)).tolist() == [24.0]  # 2 * 3 x^2
    assert host(tgl.grad(lambda x: tgl.grad(f)(x).sum())(x)).tolist() == [48.0]  # 2 * 2 * 6 x


def test_a_hook_needs_a_tape(make: Make) -> None:
    with pytest.raises(GradientError, match="register_hook: expected a tensor on the tape, got a constant"):
        tgl.tensor(make([1.0])).register_hook(lambda g: g)


# --------------------------------------------------------------------------------------------------------------- errors


def test_backward_requires_a_tape_and_a_cotangent_that_fits(variable: Make, make: Make) -> None:
    x = variable([1.0, 2.0])
    expected = r"backward: expected a cotangent of shape \(2,\), got none; take a sum, or"
    with pytest.raises(GradientError, match=expected):
        x.backward()
    with pytest.raises(GradientError, match="backward: expected a tensor on the tape, got a constant"):
        tgl.tensor(make([1.0])).backward()
    with pytest.raises(ShapeError, match=r"expected a cotangent of shape \(2,\) float64, got \(3,\) float64"):
        x.backward(make([1.0, 2.0, 3.0]))
    with pytest.raises(ShapeError, match=r"float64, got .* float32"):
        x.backward(make([1.0, 2.0], "float32"))
    x.backward([3.0, 4.0])  # a list is accepted
    x.backward(tgl.tensor(make([1.0, 1.0])))
    assert host(x.grad).tolist() == [4.0, 5.0]


def broken(rule: Any) -> tgl.Primitive:
    """A doubling primitive with a wrong rule."""

    @tgl.primitive
    def doubling(xp: Any, x: Any) -> Any:
        return 2.0 * x

    doubling.defvjp(x=rule)
    assert isinstance(doubling, tgl.Primitive)
    return doubling


def test_an_error_inside_a_rule_names_the_operation_and_the_shapes(variable: Make) -> None:
    x = variable([[1.0, 2.0]])
    message = r"doubling: its derivative rule for x failed on a cotangent of shape \(1, 2\): ZeroDivisionError: div"
    with pytest.raises(GradientError, match=message) as caught:
        broken(lambda g: 1 / 0)(x).sum().backward()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("rule", "got"),
    [
        (lambda g: tgl.sum(g), r"\(\) float64"),
        (lambda g: tgl.concatenate([g, g]), r"\(4,\) float64"),
        (lambda g: tgl.astype(g, dtype="float32"), r"\(2,\) float32"),
    ],
)
def test_a_gradient_that_does_not_fit_its_leaf_is_refused(rule: Any, got: str, variable: Make, make: Make) -> None:
    op = broken(rule)
    with pytest.raises(GradientError, match=rf"expected \(2,\) float64, got {got}"):
        op(variable([1.0, 2.0])).sum().backward()
    with pytest.raises(GradientError, match=rf"expected \(2,\) float64, got {got}"):
        tgl.grad(lambda x: op(x).sum())(make([1.0, 2.0]))


def test_wrong_shapes_name_the_operation(make: Make) -> None:
    x, y = tgl.tensor(make(np.ones((2, 3)))), make(np.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"add: .*\(2, 3\).*\(4, 3\)"):
        x + y
    with pytest.raises(ShapeError, match=r"reshape: .*\(2, 3\)"):
        x.reshape(4)
    with pytest.raises(ShapeError, match=r"matmul_matrices: .*\(2, 3, 4\).*\(3, 4, 5\)"):
        tgl.matmul(make(np.ones((2, 3, 4))), make(np.ones((3, 4, 5))))


def test_other_exceptions_of_a_forward_are_not_replaced(make: Make) -> None:
    with pytest.raises(IndexError):
        tgl.tensor(make([1.0, 2.0]))[5]
    with pytest.raises(DTypeError, match="is not converted to a NumPy array implicitly"):
        np.asarray(tgl.tensor(make([1.0]), requires_grad=True))
