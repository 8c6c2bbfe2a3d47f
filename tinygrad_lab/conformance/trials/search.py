"""The search for failing cases: Hypothesis draws structures, and shrinks a failure to the smallest one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st

from tinygrad_lab.conformance.cases.case import Case, Input

log = logging.getLogger(__name__)

MOST_SHRINKS = 400  # trials for making a failure smaller

Body = Callable[[Case], None]


@dataclass(frozen=True)
class Profile:
    """The effort of a search: the number of cases, and the work for each.

    Parameters
    ----------
    examples : int
        The number of structures drawn for each plugin.
    seed : int
        The seed of Hypothesis; the same seed draws the same structures.
    shrink : bool
        Whether to look for the smallest case of a failure.
    hasty : bool
        Whether to stop at the first failure.
    full, sampled : int
        See `tinygrad_lab.conformance.trials.trial.Effort`.
    """

    examples: int = 15
    seed: int = 0
    shrink: bool = True
    hasty: bool = False
    full: int = 64
    sampled: int = 8


PROFILES = {"quick": Profile(examples=5), "ci": Profile(), "thorough": Profile(examples=1000, full=128, sampled=12)}


@dataclass
class Drawn:
    """The drawn structures that were used, and the number of draws that could not be used."""

    structures: list[Case] = field(default_factory=list)
    rejected: int = 0

    @property
    def rejection_rate(self) -> float:
        """The share of draws that could not be used."""
        return self.rejected / max(1, self.rejected + len(self.structures))


class Rejected(Exception):
    """A drawn case cannot be used: every draw of its values lies too close to a kink."""


def as_case(drawn: Any) -> Case:
    """Return the case of a strategy's draw: a Case, an Input, a shape, or a tuple of Inputs or shapes."""
    if isinstance(drawn, Case):
        return drawn
    if isinstance(drawn, Input):
        return Case(inputs=(drawn,))
    if isinstance(drawn, tuple) and all(isinstance(n, int) for n in drawn):
        return Case(inputs=(Input(drawn),))
    return Case(inputs=tuple(i if isinstance(i, Input) else Input(tuple(i)) for i in drawn))


def seeded(strategy: Any) -> st.SearchStrategy[Case]:
    """Return a strategy of cases with a seed."""
    parts = st.tuples(strategy, st.integers(0, 2**32 - 1))
    return parts.map(lambda pair: replace(as_case(pair[0]), seed=pair[1]))


def settings(examples: int, *phases: Phase) -> hypothesis.settings:
    """Return Hypothesis settings under which a run depends only on its seed."""
    return hypothesis.settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )


def explore(strategy: Any, profile: Profile, body: Body) -> Drawn:
    """Call `body` with drawn cases; the only exception that it may raise is Rejected.

    Returns
    -------
    Drawn
        The structures that were used.
    """
    drawn = Drawn()

    @settings(profile.examples, Phase.generate)
    @hypothesis.seed(profile.seed)
    @hypothesis.given(seeded(strategy))
    def run(case: Case) -> None:
        try:
            body(case)
        except Rejected:
            drawn.rejected += 1
            hypothesis.reject()
        drawn.structures.append(case)

    try:
        run()
    except hypothesis.errors.Unsatisfiable:
        log.debug("no case could be used")
    return drawn


def shrink(strategy: Any, profile: Profile, check: Callable[[Case], Exception | None]) -> tuple[Case, Exception] | None:
    """Return the smallest case for which `check` returns an error, and that error; None if no case fails."""
    verdicts: dict[str, Exception | None] = {}
    failed: list[tuple[Case, Exception]] = []

    @settings(profile.examples, Phase.generate, Phase.shrink)
    @hypothesis.seed(profile.seed)
    @hypothesis.given(seeded(strategy))
    def run(case: Case) -> None:
        key = repr(case)
        if key not in verdicts:
            exhausted = failed and len(verdicts) > profile.examples + MOST_SHRINKS
            verdicts[key] = None if exhausted else check(case)
        error = verdicts[key]
        if error is not None:
            failed.append((case, error))
            raise _Broken

    try:
        run()
    except (_Broken, hypothesis.errors.Flaky):
        log.debug("shrunk in %d trials", len(verdicts))
    return failed[-1] if failed else None


class _Broken(Exception):
    """A case fails. Hypothesis takes two types of exceptions for two bugs, so there is only this one."""
