"""Random recipes: each is accepted, or refused by one clear error before it allocates memory."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import accepted, cases, mutated, mutated_tree
from tests.fuzz.recipes import recipes
from tinygrad_lab import limits
from tinygrad_lab.train import find_recipe, recipe_names
from tinygrad_lab.train.build import build_trainer
from tinygrad_lab.train.recipe import Recipe, checked, recipe_text

pytestmark = pytest.mark.slow

BASES = recipes()


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "machine_memory", lambda: 1 << 30)


@pytest.mark.parametrize("base", range(len(BASES)))
def test_mutated_tables(base: int) -> None:
    for case in cases(120):
        tables = mutated_tree(BASES[base], random.Random(case))
        if isinstance(tables, dict):
            accepted(lambda: build(tables), case)  # noqa: B023  called here


def build(tables: dict[str, Any]) -> None:
    recipe = Recipe("mine", checked(tables, "mine"))
    for one in (recipe, *map(recipe.variant, recipe.variants)):
        build_trainer(one)


def test_damaged_recipe_files(tmp_path: Path) -> None:
    texts, path = [recipe_text(name).encode() for name in recipe_names()], tmp_path / "mine.toml"
    for case in cases(300):
        rng = random.Random(case)
        path.write_bytes(mutated(rng.choice(texts), rng))
        accepted(lambda: find_recipe(str(path)), case)


NESTED = [
    "a = " + "[" * 3000 + "]" * 3000,
    "a = " + "{b = " * 3000 + "1" + "}" * 3000,
    "a = " + "{b = " * 150 + "1" + "}" * 150,
    "a" + ".a" * 20_000 + " = 1",
    "\n".join("a" + ".a" * depth + ".x = 1" for depth in range(1000)),
    "\n".join("[a" + ".a" * 4000 + f"]\nb{n}" + ".c" * 4000 + " = 1" for n in range(7)),
    "a = " + "9" * 10_000,
    "a = 0x" + "f" * 10_000,
    "a = " + "9" * 1000,
    "model = '''" + "x\n" * 10**6 + "'''",
]


@pytest.mark.parametrize("number", range(len(NESTED)))
def test_deep_nesting_and_long_keys(number: int, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(NESTED[number])
    assert not accepted(lambda: find_recipe(str(tmp_path / "mine.toml")), number)
    setting = "model.x" + NESTED[number].removeprefix("a").removeprefix("model")
    accepted(lambda: find_recipe("lenet5").override([setting]), number)


SIZES = [
    'model={name="sequential", layers=[{name="flatten"}, {name="dense", in_features=1024, out_features=9000000000}]}',
    'model={name="sequential", layers=[{name="embedding", count=9223372036854775807, features=9223372036854775807}]}',
    'augment=[{name="center_crop", padding=20000}]',
    'augment=[{name="random_crop", size=[30000, 30000]}]',
    "model.image=[60000, 60000, 1]",
]


@pytest.mark.parametrize("setting", SIZES)
def test_excessive_sizes_are_refused(setting: str) -> None:
    assert not accepted(lambda: build_trainer(find_recipe("lenet5").override([setting])))


PATHS = st.sampled_from(
    [f"{table}.{key}" for tables in BASES for table, content in tables.items() if table != "augment" for key in content]
    + [table for tables in BASES for table in tables]
    + ["augment.rotation.degrees", "augment.none.x", "augment.flip", "x.y", "model.name.x", ".", "", "variants.other"]
)
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["[", "{}", "[{}]", '[{name="flip"}]', "{name=3}", '{name="adam"}', "adam", "1e308", "true"]),
)


@given(settings=st.lists(st.tuples(PATHS, VALUES).map("=".join) | st.text(max_size=20), min_size=1, max_size=3))
def test_random_settings(settings: list[str]) -> None:
    accepted(lambda: find_recipe("lenet5").override(settings), settings)
