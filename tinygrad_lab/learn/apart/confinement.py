"""Limits of an answer's process: namespaces, resources, and what an audit hook refuses.

What the operating system offers is used where it is there: namespaces of Linux take the network away and end every
process with the first one. The audit hook works everywhere, but it runs beside the answer: it keeps honest and careless
code in, and is no wall against code that corrupts its own interpreter. No verdict depends on either.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

MEMORY = 4 << 30  # bytes of address space
FILE_SIZE = 1 << 20  # bytes of a file that is written
OPEN_FILES = 64
NEW_USER, NEW_PID, NEW_NET, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000  # of unshare(2)
DEATH_SIGNAL, SUBREAPER, NO_NEW_PRIVILEGES = 1, 36, 38  # of prctl(2)

PROCESSES = "an answer may not start or signal processes"
NETWORK = "an answer may not use the network"
INSIDE = "an answer may not look into the interpreter that runs it"
REFUSED = {  # beginnings of the names of audit events
    "os.exec": PROCESSES,
    "os.fork": PROCESSES,
    "os.kill": PROCESSES,
    "os.posix_spawn": PROCESSES,
    "os.spawn": PROCESSES,
    "os.startfile": PROCESSES,
    "os.system": PROCESSES,
    "pty.spawn": PROCESSES,
    "signal.pthread_kill": PROCESSES,
    "subprocess.Popen": PROCESSES,
    "ftplib.": NETWORK,
    "socket.": NETWORK,
    "urllib.": NETWORK,
    "cpython.": INSIDE,
    "ctypes.": INSIDE,
    "gc.get_objects": INSIDE,
    "resource.": INSIDE,
    "sys.addaudithook": INSIDE,
}
CHANGES = (  # audit events whose first arguments are paths that are changed
    "os.chflags",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "shutil.chown",
    "shutil.rmtree",
)
MODULES = {  # that open a way around what is refused above
    "_ctypes": INSIDE,
    "_interpreters": INSIDE,
    "_multiprocessing": PROCESSES,
    "_posixshmem": PROCESSES,
    "_xxsubinterpreters": INSIDE,
    "ctypes": INSIDE,
    "multiprocessing": PROCESSES,
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DEVICES = frozenset(("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"))


def isolate() -> None:
    """Take the network and the sight of other processes away from children to come, where Linux lets us.

    The calling process adopts what its descendants leave behind, so that it can end that too.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for flags in (NEW_USER | NEW_PID | NEW_NET | NEW_IPC, NEW_USER | NEW_NET):
        if libc.unshare(flags) == 0:
            return  # the others were refused: a container, or a system that forbids it


def limit_resources(seconds: float, memory: int = MEMORY) -> None:
    """Limit processor time, memory, files and core dumps of this process and its children, where there are limits."""
    if sys.platform == "win32":
        return
    import resource

    limits = {
        "RLIMIT_AS": memory,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": int(seconds) + 2,
        "RLIMIT_FSIZE": FILE_SIZE,
        "RLIMIT_NOFILE": OPEN_FILES,
    }
    for name, most in limits.items():
        _, hard = resource.getrlimit(kind := getattr(resource, name))
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):  # a system that does not know this limit
            resource.setrlimit(kind, (most, most))


def confine(readable: Sequence[str], denied: Sequence[str], writable: str, modules: dict[str, str]) -> None:
    """Refuse, from now on, what an answer need not do; there is no way back.

    Parameters
    ----------
    readable, denied : sequence of str
        Folders whose files may be read, and folders inside them whose files may not.
    writable : str
        The one folder that may be written to, and read.
    modules : dict
        Modules that may not be imported from now on, with the reason.
    """
    refused = {**MODULES, **modules}
    for name in [name for name in sys.modules if within_modules(name, refused)]:
        del sys.modules[name]
    sys.modules["_posixsubprocess"] = no_processes()  # `subprocess` can be imported, as NumPy's tests do
    may_read, real = reader(readable, denied, writable), os.path.realpath(writable)

    def check(event: str, arguments: Any) -> None:
        if event == "open":
            check_open(*arguments, may_read=may_read, writable=real)
        elif event == "import":
            check_import(arguments[0], refused)
        elif event in CHANGES:
            check_change(arguments, real)
        else:
            check_event(event)

    sys.addaudithook(check)


def no_processes() -> types.ModuleType:
    """Return a module in place of the one that starts processes without an audit event."""

    def fork_exec(*arguments: Any) -> NoReturn:
        raise PermissionError(PROCESSES)

    module = types.ModuleType("_posixsubprocess")
    module.fork_exec = fork_exec  # type: ignore[attr-defined]  # a module of our own
    if "subprocess" in sys.modules:
        sys.modules["subprocess"]._fork_exec = fork_exec  # type: ignore[attr-defined]  # where it has kept the function
    return module


def within_modules(name: str, refused: Collection[str]) -> str:
    """Return which of the refused modules a module is, or is part of; an empty text if none.

    Examples
    --------
    >>> within_modules("scipy.special", {"scipy": ""}), within_modules("scipyx", {"scipy": ""})
    ('scipy', '')
    """
    parts = name.split(".")
    return next((part for k in range(len(parts)) if (part := ".".join(parts[: k + 1])) in refused), "")


def reader(readable: Sequence[str], denied: Sequence[str], writable: str) -> Callable[[str], bool]:
    """Return a function that tells whether a file may be read, by its real path."""
    inside = tuple(os.path.realpath(folder) for folder in (*readable, writable))
    outside = tuple(os.path.realpath(folder) for folder in denied)

    def may_read(path: str) -> bool:
        if path in DEVICES:
            return True
        allowed = any(is_within(path, folder) for folder in inside)
        return allowed and not any(is_within(path, folder) for folder in outside) and not Path(path).is_dir()

    return may_read


def is_within(path: str, folder: str) -> bool:
    """Return whether a real path is that of a folder or of something in it.

    Examples
    --------
    >>> is_within("/a/bc", "/a/b"), is_within("/a/b/c", "/a/b")
    (False, True)
    """
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def check_open(path: Any, mode: Any, flags: Any, *, may_read: Callable[[str], bool], writable: str) -> None:
    """Refuse to open a file that may not be read or written.

    Raises
    ------
    PermissionError
        It may not.
    """
    if not isinstance(path, (str, bytes)):  # a descriptor that is open already
        return
    real = os.path.realpath(os.fsdecode(path))
    writes = bool(flags & WRITING) if isinstance(flags, int) else bool(set(mode or "r") & set("wax+"))
    if is_within(real, writable) or real == os.devnull:
        return
    if writes:
        raise PermissionError(f"an answer may not write files, got {os.fsdecode(path)}")
    if not may_read(real):
        raise PermissionError(f"an answer may read its own folder and Python's libraries, got {os.fsdecode(path)}")


def check_import(name: str, refused: dict[str, str]) -> None:
    """Refuse to import a module, with the reason.

    Raises
    ------
    ImportError
        It is one of those refused.
    """
    if found := within_modules(name, refused):
        raise ImportError(f"{refused[found]} (import of {name})")


def check_change(paths: Sequence[Any], writable: str) -> None:
    """Refuse to change files other than those in a folder.

    Raises
    ------
    PermissionError
        They lie elsewhere.
    """
    for path in paths[:2]:
        if isinstance(path, (str, bytes)) and not is_within(os.path.realpath(os.fsdecode(path)), writable):
            raise PermissionError(f"an answer may not change files, got {os.fsdecode(path)}")


def check_event(event: str) -> None:
    """Refuse what has to do with processes, the network or the interpreter.

    Raises
    ------
    PermissionError
        The event is one of those.
    """
    for beginning, reason in REFUSED.items():
        if event.startswith(beginning):
            raise PermissionError(reason)
