"""Mutants: the kinds of damage, and the mutants that survive."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from tinygrad_lab.conformance import Case, Input, LayerCases
from tinygrad_lab.conformance.mutants import Finder, changed, kill_mutants, mutants_of
from tinygrad_lab.conformance.trials.search import Profile

SOURCE = """
import tinygrad_lab as tgl


@tgl.primitive
def shifted(xp, x, w):
    return xp.sum(x, axis=0) - w * 2


shifted.defvjp(
    x=lambda g, x_like: tgl.broadcast_to(g, shape=x_like.shape),
    w=lambda g, w_like: tgl.sum_to(-2 * g, w_like),
)


class Shifted(tgl.Layer):
    def __init__(self, n):
        self.n = n + 1 - 1
        self.w = tgl.Parameter(tgl.initializers.zeros((n,)))

    def forward(self, x):
        if x.shape[-1] != self.n:
            raise tgl.errors.ShapeError("n" + "m")
        return shifted(x, self.w)

    def output_shape(self, shape):
        return shape[1:]
"""


def damages(tmp_path: Path) -> list[str]:
    path = tmp_path / "shifted.py"
    path.write_text(SOURCE)
    return [mutant.damage for mutant in mutants_of(str(path), "Shifted")]


def test_each_kind_of_damage_is_made(tmp_path: Path) -> None:
    found = damages(tmp_path)
    assert any(d.startswith("term dropped: xp.sum(x, axis=0) - w * 2 -> xp.sum(x, axis=0)") for d in found)
    assert any(d.startswith("sign changed: xp.sum(x, axis=0) - w * 2 -> xp.sum(x, axis=0) + w * 2") for d in found)
    assert any(d.startswith("mean for sum") for d in found)
    assert any(d.startswith("sum_to dropped") for d in found)
    assert any(d.startswith("sign lost: -2 -> 2") or "-2" in d for d in found)
    assert sum(d.startswith("result times 1.01") for d in found) == 4


def test_shapes_options_messages_and_indices_are_not_mutated(tmp_path: Path) -> None:
    text = " ".join(damages(tmp_path))
    assert "n + 1" not in text
    assert "'n' + 'm'" not in text
    assert "shape[1:]" not in text


def test_expressions_of_each_kind_are_changed() -> None:
    import ast

    def kinds(text: str) -> set[str]:
        return {name for name, _ in changed(ast.parse(text, mode="eval").body)}

    assert kinds("a @ b") == {"operands exchanged"}
    assert kinds("a.T") == {"transpose dropped"}
    assert kinds("x ** 2") == {"power dropped"}
    assert kinds("a / b") == {"factor dropped", "times 1.01"}
    assert kinds("x.transpose(0, 1)") == {"transpose dropped"}
    assert kinds("f(x)") == set()


def test_without_a_reference_a_changed_forward_survives() -> None:
    strategy = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(lambda s: Case(inputs=(Input(s),)))
    quick = Profile(examples=6)
    blind = kill_mutants("silu", LayerCases(strategy), profile=quick)
    seeing = kill_mutants("silu", profile=quick)
    assert blind.survivors
    assert len(seeing.survivors) < len(blind.survivors)
    assert "survives: line" in blind.summary()


def test_another_class_in_the_file_is_not_mutated() -> None:
    import ast

    finder = Finder("Other")
    finder.visit(ast.parse(SOURCE))
    assert all("self" not in ast.unparse(node) for node in finder.found)


@pytest.mark.parametrize("name", ["embedding", "leaky_relu", "silu"])
def test_survivors_of_a_layer_are_killed_or_have_a_reason(name: str) -> None:
    assert kill_mutants(name).unexplained == []


def test_a_survivor_is_listed_with_its_reason() -> None:
    strategy = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(lambda s: Case(inputs=(Input(s),)))
    quick = Profile(examples=3)
    damage = kill_mutants("silu", LayerCases(strategy), profile=quick).survivors[0].damage
    found = kill_mutants("silu", LayerCases(strategy, equivalent={damage: "so it is", "gone": "?"}), profile=quick)
    assert damage not in [m.damage for m in found.unexplained]
    assert f"{damage}; no difference: so it is" in found.summary()
    assert "`equivalent` names a mutant that does not survive: gone" in found.summary()
