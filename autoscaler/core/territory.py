"""Which projects a daemon looks after, and what it saw beside them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from autoscaler.core.model import ServiceId

OWN = "auto"
"""In AUTOSCALER_PROJECTS: the project or stack that the daemon itself is part of."""
EVERY = "*"
"""In AUTOSCALER_PROJECTS: all projects and stacks."""


@dataclass(frozen=True, slots=True)
class Territory:
    """The Compose projects and Swarm stacks that one daemon looks after."""

    projects: frozenset[str] | None
    """Their names; None: all, and services that belong to none."""
    because: str = "AUTOSCALER_PROJECTS says so"
    """Why these; part of a sentence."""
    named: bool = False
    """Whether the user has named the projects, so that a name may be wrong."""

    @classmethod
    def of(cls, wanted: Collection[str], own: str | None, part_of_none: str) -> Self:
        """Return what AUTOSCALER_PROJECTS means for a daemon that is part of the project `own`.

        `part_of_none` says why `own` is None.
        """
        if OWN not in wanted:
            names = None if EVERY in wanted else frozenset(wanted)
            return cls(names, named=names is not None)
        if own is None:
            return cls(None, part_of_none)
        return cls(frozenset({own}), "this process runs in a container of it")

    def includes(self, project: str | None) -> bool:
        """Whether a service of this project is looked after; None: it belongs to no project."""
        return self.projects is None or project in self.projects

    def shared(self, other: Territory) -> Territory | None:
        """Return what both look after; None where that is nothing."""
        if self.projects is None:
            return other
        if other.projects is None:
            return self
        both = self.projects & other.projects
        return Territory(both) if both else None

    def __str__(self) -> str:
        if self.projects is None:
            return "all projects"
        names = ", ".join(sorted(self.projects))
        return f"project{'' if len(self.projects) == 1 else 's'} {names}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one look saw beside the services that are looked after."""

    projects: frozenset[str] = frozenset()
    """Every Compose project and stack that there is, labelled or not."""
    left_alone: tuple[ServiceId, ...] = ()
    """Services of projects that are not looked after, which would be otherwise."""
    services: frozenset[ServiceId] = frozenset()
    """Every service that there is, looked after or not."""

    @classmethod
    def joined(cls, parts: Iterable[Surroundings]) -> Self:
        """Return what several orchestrators saw, as one."""
        all_ = list(parts)
        return cls(
            frozenset().union(*(part.projects for part in all_)),
            tuple(sorted(id_ for part in all_ for id_ in part.left_alone)),
            frozenset().union(*(part.services for part in all_)),
        )


def misnamed(territory: Territory, there: Collection[str]) -> Iterator[str]:
    """Yield a warning for each name in AUTOSCALER_PROJECTS that no project or stack has."""
    if not territory.named or territory.projects is None:
        return
    listed = ", ".join(sorted(there)) or "none"
    for name in sorted(territory.projects - set(there)):
        near = difflib.get_close_matches(name, sorted(there), n=1)
        hint = f"the nearest is {near[0]}; " if near else ""
        yield (
            f"AUTOSCALER_PROJECTS names {name!r}, and no project or stack of that name is there"
            f" ({hint}there are: {listed}); correct the name, or deploy the project"
        )
