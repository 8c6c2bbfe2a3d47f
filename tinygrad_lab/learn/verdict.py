"""Verdict on an answer: the steps that passed, and the explanation of the first that did not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Verdict:
    """Result of grading an answer.

    Parameters
    ----------
    passed : bool
        Whether all steps passed.
    steps : list of str
        The steps that passed.
    failed : str
        The step that failed; empty if the answer could not be run at all.
    what : str
        The error.
    shown : str
        The smallest counterexample: the arguments, the expected result and the computed one.
    because : list of str
        Possible explanations, the likeliest first.
    mistakes : list of str
        The names of the typical mistakes that were recognized.
    printed : str
        The output of the learner's code.
    """

    passed: bool = False
    steps: list[str] = field(default_factory=list)
    failed: str = ""
    what: str = ""
    shown: str = ""
    because: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    printed: str = ""
