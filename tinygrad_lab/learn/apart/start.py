"""Program of an answer's process: ``python start.py``, in a folder with a ``task.json``, runs an answer.

It is run by its path, with an empty search path, and imports only the parts of this project that the task names: an
exercise in plain NumPy finds no ``tinygrad_lab`` to import.

It forks into two processes. The *guard* waits until the answer's process ends, or the grader closes the connection;
then it ends all processes that the answer has started. The answer's process runs `tinygrad_lab.learn.apart.service`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import types
from pathlib import Path
from typing import NoReturn

ROUNDS = 1000  # attempts to end all descendants, which may start others meanwhile
PATIENCE = 0.02  # seconds between polls of a process on systems without pidfd


def main() -> None:
    """Start the answer's process, and become its guard."""
    task = json.loads(Path("task.json").read_text(encoding="utf-8"))
    sys.path[:] = task["path"]
    for name, folder in task["packages"].items():  # in place of their __init__.py, which would import all of it
        sys.modules[name] = module = types.ModuleType(name)
        module.__path__ = [folder]
    from tinygrad_lab.learn.apart import confinement

    if hasattr(os, "fork"):
        confinement.isolate()
        if child := os.fork():
            guard(child)
        confinement.limit_resources(task["seconds"], task["memory"])
    from tinygrad_lab.learn.apart.service import serve

    serve(task)


def guard(child: int) -> NoReturn:
    """Wait for the end of a process or of the connection, end all that was started, and exit as the process did."""
    signal.signal(signal.SIGUSR1, lambda *_: send(child, signal.SIGUSR1))  # the grader asks for the current line
    signal.signal(signal.SIGTERM, lambda *_: send(child, signal.SIGKILL))
    for descriptor in (1, 2):  # otherwise the grader would wait for our output
        os.close(descriptor)
    status = wait(child)
    for _ in range(ROUNDS):
        if not end_children():
            break
    if os.WIFSIGNALED(status):
        with contextlib.suppress(OSError):  # SIGKILL cannot be handled
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def send(child: int, number: int) -> None:
    """Send a signal to a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def wait(child: int) -> int:
    """Wait for the end of a process and return its status; end it if the grader is gone."""
    poller = select.poll()
    poller.register(0, 0)  # an event comes when the grader's end is closed
    opened = pidfd(child)
    if opened is not None:
        poller.register(opened, select.POLLIN)
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        events = poller.poll(None if opened is not None else PATIENCE * 1000)
        if any(descriptor == 0 for descriptor, _ in events):
            send(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]


def pidfd(child: int) -> int | None:
    """Return a descriptor that is readable when a process has ended, or None on systems without them."""
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(child)
    return None


def end_children() -> bool:
    """End the children of this process, including adopted orphans; return whether there were any."""
    found = children()
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    for pid in found:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return bool(found)


def children() -> list[int]:
    """Return the numbers of the processes whose parent this one is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main()
