"""Options of a check: how long to search, which properties, and on which devices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict, TypeVar

from tinygrad_lab.conformance.cases.case import Case
from tinygrad_lab.conformance.trials.search import PROFILES, Profile
from tinygrad_lab.conformance.trials.trial import Effort
from tinygrad_lab.errors import ConfigError, hint

Anything = TypeVar("Anything")
WHOLE = ("adequacy", "bad_inputs", "fresh_process", "misfits")  # properties that are not checked case by case


class Keywords(TypedDict, total=False):
    """The keywords that every check takes and packs into `Options`; `check_layer` describes them."""

    profile: str | Profile
    examples: int | None
    seed: int | None
    properties: Collection[str] | None
    devices: Collection[str]
    case: Case | None


@dataclass(frozen=True)
class Options:
    """The options of one check.

    Parameters
    ----------
    profile : Profile
        How many cases to draw.
    properties : frozenset of str or None
        The properties to check; None for all.
    devices : tuple of str
        Other devices to compare the CPU with.
    case : Case or None
        The only case to check; None draws cases.
    """

    profile: Profile = PROFILES["ci"]
    properties: frozenset[str] | None = None
    devices: tuple[str, ...] = ()
    case: Case | None = None

    @classmethod
    def pack(
        cls,
        *,
        profile: str | Profile = "ci",
        examples: int | None = None,
        seed: int | None = None,
        properties: Collection[str] | None = None,
        devices: Collection[str] = (),
        case: Case | None = None,
    ) -> Options:
        """Return the options that a check's keywords describe.

        Raises
        ------
        ConfigError
            The profile is unknown, the number of examples is below 1, or the properties are a string.
        """
        if isinstance(properties, str):
            raise ConfigError(f"properties: expected a list of names, got {properties!r}; write [{properties!r}]")
        if examples is not None and examples < 1:
            raise ConfigError(f"examples: expected at least 1, got {examples}")
        if isinstance(profile, str) and profile not in PROFILES:
            raise ConfigError(f"profile: expected one of {sorted(PROFILES)} or a Profile, got {profile!r}")
        chosen = PROFILES[profile] if isinstance(profile, str) else profile
        changes: dict[str, Any] = {"examples": examples, "seed": seed}
        chosen = replace(chosen, **{name: value for name, value in changes.items() if value is not None})
        return cls(chosen, None if properties is None else frozenset(properties), tuple(devices), case)

    @property
    def effort(self) -> Effort:
        """The work that a property puts into one case."""
        return Effort(self.profile.full, self.profile.sampled, self.devices)

    def chosen(self, properties: Mapping[str, Anything], others: Collection[str] = ()) -> dict[str, Anything]:
        """Return the properties to check on each case; `forward` is always one of them.

        Parameters
        ----------
        properties : mapping
            The properties that can be checked on each case.
        others : collection of str
            Other known names, such as laws that the layer does not declare; they are accepted but not checked.

        Raises
        ------
        ConfigError
            A property is unknown.
        """
        wanted, known = self.properties, {*properties, *WHOLE, *others}
        for name in sorted((wanted or set()) - known):
            raise ConfigError(f"properties: expected a known name, got {name!r}; {hint(name, sorted(known))}")
        return {name: p for name, p in properties.items() if wanted is None or name in wanted or name == "forward"}

    def includes(self, name: str) -> bool:
        """Return whether to check a property of the whole layer; for a single case, only if it is named."""
        return self.case is None if self.properties is None else name in self.properties
