"""Sphinx directive ``command``: a command's help, and a session with its real output.

```{command} summary
tinygrad-lab summary lenet5
```

When the page is built, the lines of the content run in order in an empty folder. A line that begins with ``@`` runs
but is not shown.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx

import tinygrad_lab.cli
from tinygrad_lab.sphinx.restructured import ComposingDirective, code

COLUMNS = 100
WITHIN = 240  # seconds for one command
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
FOLDER = Path(tinygrad_lab.cli.__file__).parent


class CommandDirective(ComposingDirective):
    """A command's help, and a session."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the help and the session as blocks of text."""
        name = self.arguments[0]
        self.env.note_dependency(__file__)
        self.env.note_dependency(str(FOLDER / f"{name.replace('-', '_')}.py"))
        parts: list[nodes.Node] = [self.section("Usage", code(usage(name)))]
        with tempfile.TemporaryDirectory() as folder:
            session = []
            for line in self.content:
                text = printed(shlex.split(line.removeprefix("@")), Path(folder))
                if not line.startswith("@"):
                    session.append(f"$ {line}\n{text}")
            if session:
                parts.append(self.section("A session", code("\n\n".join(session), "console")))
        return parts


def usage(name: str) -> str:
    """Return a command's help."""
    text = io.StringIO()
    with patch.dict(os.environ, COLUMNS=str(COLUMNS), NO_COLOR="1"), redirect_stdout(text), suppress(SystemExit):
        tinygrad_lab.cli.main([name, "--help"])
    return ANSI.sub("", text.getvalue())


def printed(words: list[str], folder: Path) -> str:
    """Run a command of the project in a folder and return its output.

    Raises
    ------
    RuntimeError
        The command fails. The message is its output.
    """
    if words[0] != "tinygrad-lab":
        raise RuntimeError(f"command: expected lines that begin with tinygrad-lab, got {shlex.join(words)}")
    words = [found for word in words for found in (sorted(map(str, folder.glob(word))) if "*" in word else [word])]
    environment = os.environ | {
        "COLUMNS": str(COLUMNS),
        "NO_COLOR": "1",
        "TERM": "dumb",
        "PYTHONWARNINGS": "ignore",
        "TINYGRAD_LAB_DATA": str(folder / "data"),
        "TINYGRAD_LAB_LEARN": str(folder / "progress"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lab", *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    text = ANSI.sub("", done.stdout).replace(f"{folder}/", "").replace(str(folder), ".")
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
