"""The pytest plugin: ``pytest --conformance[=NAME,...]`` runs one test for each registered plugin.

Every pytest session of an environment with tinygrad_lab loads this module, so it imports the kit only if the option is
given.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

KEY = "conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("tinygrad_lab")
    help_text = "check every registered plugin of tinygrad_lab with the conformance kit, or the named ones (NAME,NAME)"
    group.addoption("--conformance", nargs="?", const="", default=None, metavar="NAME", help=help_text)
    group.addoption("--conformance-examples", type=int, metavar="N", help="number of cases drawn for each plugin")
    group.addoption("--conformance-seed", type=int, metavar="N", help="seed of the drawn cases (default: 0)")


def wanted_plugins(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the kinds and names of the plugins to check.

    Raises
    ------
    UsageError
        A name is not registered.
    """
    wanted = config.getoption("--conformance")
    if wanted is None:
        return []
    from tinygrad_lab.errors import PluginError
    from tinygrad_lab.registry import plugins_named

    try:
        return plugins_named([name.strip() for name in wanted.split(",") if name.strip()])
    except PluginError as error:
        raise pytest.UsageError(f"--conformance: {error}") from error


def pytest_configure(config: pytest.Config) -> None:
    """Refuse unknown names before tests are collected: a worker of xdist would lose the message."""
    wanted_plugins(config)
    examples = config.getoption("--conformance-examples")
    if examples is not None and examples < 1:
        raise pytest.UsageError(f"--conformance-examples: expected at least 1, got {examples}")


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each plugin."""
    for kind, name in wanted_plugins(config):
        label = name if kind == "layer" else f"{kind} {name}"
        items.append(ConformanceItem.from_parent(session, name=label, nodeid=f"{KEY}::{label}", plugin=(kind, name)))


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
    """The check of one plugin."""

    def __init__(self, *, plugin: tuple[str, str], **others: Any) -> None:
        super().__init__(**others)
        self.plugin = plugin

    def runtest(self) -> None:
        """Check the plugin."""
        from tinygrad_lab.conformance.checks import conclude
        from tinygrad_lab.conformance.kinds.table import inspect_plugin

        options, (kind, name) = self.config.option, self.plugin
        result = inspect_plugin(kind, name, examples=options.conformance_examples, seed=options.conformance_seed)
        if result.skipped:
            pytest.skip(result.skipped)
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
