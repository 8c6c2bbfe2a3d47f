"""TOML and JSON from untrusted files, parsed within bounds on size, depth and integers."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinygrad_lab.errors import ConfigError

_MOST_BYTES = 1 << 27
_MOST_TOML, _LONGEST_LINE = 1 << 17, 1 << 13  # characters
_MOST_DOTS = 500  # in a line: tomllib needs time quadratic in the number of a key's parts
_DEEPEST = 64  # nested tables and lists; a network of layers inside of layers has a dozen
_INTEGERS = range(-(2**63), 2**63)  # the range of TOML's integers


def read_text(path: Path, who: str) -> str:
    """Return the content of a text file.

    Raises
    ------
    ConfigError
        The file cannot be read, is larger than 128 MiB, or is not in UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"{who}: expected a file of at most {_MOST_BYTES >> 20} MiB, got {path}, which is larger")
        return content.decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{who}: expected a file at {path}, found none") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{who}: expected a file that can be read, got {path}: {error}") from error


def from_toml(text: str, who: str) -> Any:
    """Return the tables of a TOML text.

    Raises
    ------
    ConfigError
        The text is not TOML, or it exceeds the bounds of this module.

    Examples
    --------
    >>> from_toml("epochs = 3", "recipe")
    {'epochs': 3}
    """
    try:
        return _toml(text, who)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = f": {text.splitlines()[int(found[1]) - 1].strip()!r:.80}" if found and text.strip() else ""
        raise ConfigError(f"{who}: expected TOML, got {error}{line}") from error


def value_of(text: str, who: str) -> Any:
    """Return a value in TOML's notation; a text that is not TOML is returned as it is, as if it were quoted.

    Raises
    ------
    ConfigError
        The text exceeds the bounds of this module.

    Examples
    --------
    >>> value_of("[1, 2]", "--set"), value_of("adam", "--set")
    ([1, 2], 'adam')
    """
    try:
        return _toml(f"value = {text}", who)["value"]
    except tomllib.TOMLDecodeError:
        return text


def from_json(text: str, who: str) -> Any:
    """Return the content of a JSON text.

    Raises
    ------
    ConfigError
        The text is not JSON, or it exceeds the bounds of this module.
    """
    try:
        return _bounded(json.loads(text), who)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{who}: expected JSON, got {error}") from error


def _toml(text: str, who: str) -> Any:
    """Parse TOML; the caller handles `tomllib.TOMLDecodeError`."""
    lines = text.split("\n")
    if len(text) > _MOST_TOML or any(len(line) > _LONGEST_LINE or line.count(".") > _MOST_DOTS for line in lines):
        longest, dots = max(map(len, lines)), max(line.count(".") for line in lines)
        raise ConfigError(
            f"{who}: expected TOML of at most {_MOST_TOML:,} characters, in lines of at most {_LONGEST_LINE:,} "
            f"characters and {_MOST_DOTS} dots, got {len(text):,} characters, and lines of up to {longest:,} "
            f"characters and {dots:,} dots; shorten it"
        )
    try:
        return _bounded(tomllib.loads(text), who)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, RecursionError) as error:  # integers of thousands of digits, deep nesting
        raise ConfigError(f"{who}: expected TOML that can be read, got {error}") from error


def _bounded(tree: Any, who: str) -> Any:
    level = [tree]
    for _ in range(_DEEPEST):
        for value in level:
            if type(value) is int and value not in _INTEGERS:
                raise ConfigError(f"{who}: expected integers of at most 64 bits, got {value.bit_length()} bits")
        level = list(_inside(level))
        if not level:
            return tree
    raise ConfigError(f"{who}: expected tables and lists of at most {_DEEPEST} levels, got more")


def _inside(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
