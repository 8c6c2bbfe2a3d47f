"""Confinement of an answer's process by namespaces, resource limits and an audit hook.

On Linux, namespaces remove the network, and end all processes when the first one ends. The audit hook works on every
system, but in the same process as the answer: it stops honest and careless code, but not code that corrupts its own
interpreter. No verdict depends on the namespaces or the hook.
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
FILE_SIZE = 1 << 20  # bytes of a written file
OPEN_FILES = 64
NEW_USER, NEW_PID, NEW_NET, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000  # flags of unshare(2)
DEATH_SIGNAL, SUBREAPER, NO_NEW_PRIVILEGES = 1, 36, 38  # options of prctl(2)

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
CHANGES = (  # audit events whose first arguments are the paths to change
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
MODULES = {  # modules that would allow a way around the refusals above
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
    """Remove the network and the view of other processes from future children, if Linux allows it.

    The calling process adopts orphans of its descendants, so that it can end them too.
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for flags in (NEW_USER | NEW_PID | NEW_NET | NEW_IPC, NEW_USER | NEW_NET):
        if libc.unshare(flags) == 0:
            return  # otherwise, as in some containers, fewer flags are tried


def limit_resources(seconds: float, memory: int = MEMORY) -> None:
    """Limit processor time, memory, files and core dumps of this process and its children, if the system has limits."""
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
        with contextlib.suppress(OSError, ValueError):  # the system has no such limit
            resource.setrlimit(kind, (most, most))


def confine(readable: Sequence[str], denied: Sequence[str], writable: str, modules: dict[str, str]) -> None:
    """Refuse, from now on and irrevocably, everything that an answer does not need.

    Parameters
    ----------
    readable, denied : sequence of str
        Folders whose files may be read, and folders inside them whose files may not.
    writable : str
        The only folder that may be written to; it may be read too.
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
    """Return a replacement of the module that starts processes without an audit event."""

    def fork_exec(*arguments: Any) -> NoReturn:
        raise PermissionError(PROCESSES)

    module = types.ModuleType("_posixsubprocess")
    module.fork_exec = fork_exec  # type: ignore[attr-defined]  # a module of our own
    if "subprocess" in sys.modules:
        sys.modules["subprocess"]._fork_exec = fork_exec  # type: ignore[attr-defined]  # it has its own reference
    return module


def within_modules(name: str, refused: Collection[str]) -> str:
    """Return the refused module that a module is or belongs to, or an empty text.

    Examples
    --------
    >>> within_modules("scipy.special", {"scipy": ""}), within_modules("scipyx", {"scipy": ""})
    ('scipy', '')
    """
    parts = name.split(".")
    return next((part for k in range(len(parts)) if (part := ".".join(parts[: k + 1])) in refused), "")


def reader(readable: Sequence[str], denied: Sequence[str], writable: str) -> Callable[[str], bool]:
    """Return a function that decides by its real path whether a file may be read."""
    inside = tuple(os.path.realpath(folder) for folder in (*readable, writable))
    outside = tuple(os.path.realpath(folder) for folder in denied)

    def may_read(path: str) -> bool:
        if path in DEVICES:
            return True
        allowed = any(is_within(path, folder) for folder in inside)
        return allowed and not any(is_within(path, folder) for folder in outside) and not Path(path).is_dir()

    return may_read


def is_within(path: str, folder: str) -> bool:
    """Return whether a real path is a folder or is inside of it.

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
        The file is not allowed.
    """
    if not isinstance(path, (str, bytes)):  # an open descriptor
        return
    real = os.path.realpath(os.fsdecode(path))
    writes = bool(flags & WRITING) if isinstance(flags, int) else bool(set(mode or "r") & set("wax+"))
    if is_within(real, writable) or real == os.devnull:
        return
    if writes:
        raise PermissionError(f"an answer may not write files, got {os.fsdecode(path)}")
    if not may_read(real):
        raise PermissionError(f"an answer may read only its own folder and Python's libraries, got {os.fsdecode(path)}")


def check_import(name: str, refused: dict[str, str]) -> None:
    """Refuse to import a module, with the reason.

    Raises
    ------
    ImportError
        The module is refused.
    """
    if found := within_modules(name, refused):
        raise ImportError(f"{refused[found]} (import of {name})")


def check_change(paths: Sequence[Any], writable: str) -> None:
    """Refuse to change files other than those in a folder.

    Raises
    ------
    PermissionError
        The files are elsewhere.
    """
    for path in paths[:2]:
        if isinstance(path, (str, bytes)) and not is_within(os.path.realpath(os.fsdecode(path)), writable):
            raise PermissionError(f"an answer may not change files, got {os.fsdecode(path)}")


def check_event(event: str) -> None:
    """Refuse events of processes, the network and the interpreter.

    Raises
    ------
    PermissionError
        The event is refused.
    """
    for beginning, reason in REFUSED.items():
        if event.startswith(beginning):
            raise PermissionError(reason)
