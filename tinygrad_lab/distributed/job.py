"""A job of several ranks that fails as one: one rank reports, in one line, and all of them end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from tinygrad_lab.distributed.group import Group
from tinygrad_lab.errors import DistributedError, LabError

_GRACE = 8.0  # seconds in which the reporting rank ends the job; the others wait for it


@contextmanager
def together(group: Group) -> Iterator[None]:
    """Wait at the end of the ``with`` block until no rank can fail in it; if some fail, the first of them reports.

    Use it for preparations, which a rank may find impossible: no other rank may begin to wait for it then.
    """
    error: LabError | None = None
    try:
        yield
    except LabError as found:
        error = found
    failed = group.gather_objects(None if error is None else str(error))
    if not any(failed):
        return
    first = next(rank for rank, text in enumerate(failed) if text)
    if error is None or group.rank != first:
        _leave()
    if all(text == failed[first] for text in failed):
        raise error
    raise DistributedError(f"rank {first} of {group.size}: {error}") from error


@contextmanager
def one_report(group: Group, *agreed: type[BaseException]) -> Iterator[None]:
    """Let rank 0 alone report errors that all ranks have together, and name the rank in any other error."""
    try:
        yield
    except agreed:
        if group.rank:
            _leave()
        raise
    except Exception as error:
        if group.size == 1:
            raise
        who = f"rank {group.rank} of {group.size}"
        if isinstance(error, LabError):
            raise DistributedError(f"{who}: {error}") from error
        sys.stderr.write(f"tinygrad-lab: {who} failed: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
        raise


def expect_alike(group: Group, facts: Mapping[str, str]) -> None:
    """Check that all ranks have the same facts, such as versions and settings.

    Raises
    ------
    DistributedError
        Two ranks differ. All ranks raise it.
    """
    found = group.gather_objects(dict(facts))
    for rank, theirs in enumerate(found):
        for name in facts:
            if theirs.get(name) != found[0].get(name):
                raise DistributedError(
                    f"ranks: expected the same {name} on all, got {found[0].get(name)} on rank 0 and "
                    f"{theirs.get(name)} on rank {rank}"
                )


def _leave() -> NoReturn:
    """End this rank silently, after the rank that reports has had time to end the job."""
    time.sleep(_GRACE)
    raise SystemExit(1)
