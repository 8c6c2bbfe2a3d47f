"""The pytest plugin: ``pytest --conformance[=NAME,...]`` runs one test for each registered layer.

Every pytest session of an environment with tinygrad_lab loads this module, so it imports the kit only for that option.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

KEY = "conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("tinygrad_lab")
    help_text = "check every registered layer of tinygrad_lab with the conformance kit, or the named ones (NAME,NAME)"
    group.addoption("--conformance", nargs="?", const="", default=None, metavar="NAME", help=help_text)
    group.addoption("--conformance-examples", type=int, metavar="N", help="number of cases drawn for each layer")
    group.addoption("--conformance-seed", type=int, metavar="N", help="seed of the drawn cases (default: 0)")


def wanted_names(config: pytest.Config) -> list[str]:
    """Return the names of the layers to check.

    Raises
    ------
    UsageError
        A name is not registered.
    """
    wanted = config.getoption("--conformance")
    if wanted is None:
        return []
    from tinygrad_lab.registry import layers

    names = [name.strip() for name in wanted.split(",") if name.strip()] or list(layers)
    if unknown := [name for name in names if name not in layers]:
        raise pytest.UsageError(f"--conformance: unknown layer: {', '.join(unknown)}; known are {', '.join(layers)}")
    return names


def pytest_configure(config: pytest.Config) -> None:
    """Refuse unknown names before tests are collected: a worker of xdist would lose the message."""
    wanted_names(config)
    examples = config.getoption("--conformance-examples")
    if examples is not None and examples < 1:
        raise pytest.UsageError(f"--conformance-examples: expected at least 1, got {examples}")


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each layer."""
    names = wanted_names(config)
    items += [ConformanceItem.from_parent(session, name=name, nodeid=f"{KEY}::{name}") for name in names]


def pytest_sessionfinish() -> None:
    """Stop the second process, in which the kit rebuilds layers, if it is running."""
    module = sys.modules.get("tinygrad_lab.conformance.meta.fresh_process")
    if module is not None:
        module.FRESH.stop()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the kit's notes."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    notes = [value for r in reports for key, value in getattr(r, "user_properties", []) if key == KEY]
    if any(notes):
        terminalreporter.section("conformance notes")
        for note in sorted(filter(None, notes)):
            terminalreporter.line(note)


class ConformanceItem(pytest.Item):
    """The check of one layer."""

    def runtest(self) -> None:
        """Check the layer."""
        from tinygrad_lab.conformance.checks import conclude, inspect_layer

        options = self.config.option
        result = inspect_layer(self.name, examples=options.conformance_examples, seed=options.conformance_seed)
        self.user_properties.append((KEY, "\n".join(f"{self.name}: {note}" for note in result.notes)))
        conclude(result)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Return the report without the kit's own traceback."""
        from tinygrad_lab.conformance.trials.results import NonconformanceError

        if isinstance(excinfo.value, NonconformanceError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return the test's place and name."""
        return self.path, None, f"{KEY}: {self.name}"
