"""Command line ``tinygrad-lab COMMAND``, with one module for each command.

A command's module has a one-line docstring, ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit
status. It is imported only when its command is called.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import os
import pkgutil
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tinygrad_lab.autograd.settings import providers_from_environment
from tinygrad_lab.errors import LabError, OptionError, hint
from tinygrad_lab.files.writing import refusal

_LONGEST_MESSAGE = 2000  # characters


@functools.cache
def commands() -> dict[str, str]:
    """Return the commands and what each does, without importing them."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        spec = importlib.util.find_spec(f"{__name__}.{module.name}")
        if spec is not None and spec.origin is not None:
            text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
            found[module.name.replace("_", "-")] = text.splitlines()[0] if text else ""
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 (an error), 2 (a wrong call), or 128 + the stopping signal."""
    argv = sys.argv[1:] if argv is None else list(argv)
    command = argv[0] if argv else ""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that the terminal lacks is no reason to fail
    try:
        providers_from_environment()
    except OptionError as error:
        print(f"tinygrad-lab: {error}", file=sys.stderr)
        return 2
    try:
        status = _run(argv)
        if sys.stdout is not None:  # it may be closed
            sys.stdout.flush()
        return status
    except LabError as error:
        text = str(error).removeprefix(f"{command}: ")  # the library's prefix; the program adds its own
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", []))
        print(f"tinygrad-lab {command}: {_shortened(text + notes)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        _forget_output()
        return 0
    except (OSError, MemoryError) as error:  # an error of the machine, not of this program
        print(f"tinygrad-lab {command}: {_shortened(_of_the_machine(error))}", file=sys.stderr)
        _forget_output()
        return 1
    except KeyboardInterrupt as stop:
        print(" ".join(["tinygrad-lab", f"{command}:", "stopped", *map(str, stop.args)]), file=sys.stderr)
        return 128 + getattr(stop, "number", signal.SIGINT)


def _shortened(text: str) -> str:
    """Return a message, without its middle if it is too long to read."""
    half = _LONGEST_MESSAGE // 2
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:half]} ... {text[-half:]}"


def _of_the_machine(error: OSError | MemoryError) -> str:
    """Return a message about the memory, the file or the output that the machine refused."""
    if isinstance(error, MemoryError):
        return f"this machine has too little memory{f': {error}' if str(error) else ''}"
    return str(error) if error.filename is not None else f"the system refused to read or write: {refusal(error)}"


def _forget_output() -> None:
    """Discard unwritten output, so that flushing it when the program ends does not fail again."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError):  # not a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser(names: Collection[str]) -> argparse.ArgumentParser:
    """Return the parser of the program, with the arguments of the named commands, which are imported."""
    from tinygrad_lab import __version__

    parser = argparse.ArgumentParser(prog="tinygrad-lab", description="Automatic differentiation to learn from.")
    parser.add_argument("--version", action="version", version=f"tinygrad-lab {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in commands().items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in names:
            module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
            module.add_arguments(subparser)
            subparser.set_defaults(module=module, parser=subparser)
    return parser


def _run(argv: Sequence[str]) -> int:
    """Read the arguments and run the command that they name."""
    known = commands()
    parser = make_parser(known.keys() & argv[:1])
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        parser.error(f"expected a command, got {argv[0]!r}; {hint(argv[0], known)}")
    arguments, unknown = parser.parse_known_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    if unknown:  # argparse would show the usage of the whole program
        advice = arguments.module.advice(unknown) if hasattr(arguments.module, "advice") else ""
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")
    arguments.argv = list(argv)
    return int(arguments.module.run(arguments))
