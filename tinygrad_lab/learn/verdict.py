"""The verdict on an answer: which steps passed, and what is to be said of the first that did not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Verdict:
    """What is said of an answer.

    Parameters
    ----------
    passed : bool
        Whether all steps passed.
    steps : list of str
        Those that passed.
    failed : str
        The one that did not; empty where the answer could not be run at all.
    what : str
        What is wrong.
    shown : str
        The smallest counterexample: arguments, expected and given.
    because : list of str
        What would explain it, likeliest first.
    mistakes : list of str
        The names of the typical mistakes that were recognized.
    printed : str
        What the learner's code printed.
    """

    passed: bool = False
    steps: list[str] = field(default_factory=list)
    failed: str = ""
    what: str = ""
    shown: str = ""
    because: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    printed: str = ""
