"""Limits of replicas that several services share: groups, and all services together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.core.labels import nearest
from autoscaler.core.share import Limit
from autoscaler.core.spec import ScalingSpec

ALL = "all services"
"""The limit of all services together."""


@dataclass(frozen=True, slots=True)
class Groups:
    """What the settings say of the replicas of several services."""

    most: Mapping[str, int] = field(default_factory=dict)
    """Most replicas of each group, by its canonical name."""
    of_all: int | None = None
    """Most replicas of all services together; None: as many as they may have."""

    @property
    def limits(self) -> Sequence[Limit]:
        """Every limit of replicas."""
        groups = [Limit(_limit(name), most) for name, most in self.most.items()]
        return groups if self.of_all is None else [*groups, Limit(ALL, self.of_all)]

    def costs(self, spec: ScalingSpec | None) -> Mapping[str, int]:
        """Return what one replica takes of each limit.

        `spec` is None for a service whose labels were never right: its group is unknown.
        """
        named = () if spec is None else spec.groups
        costs = {_limit(name): 1 for name in named if name in self.most}
        return costs if self.of_all is None else {**costs, ALL: 1}

    def warnings(self, spec: ScalingSpec) -> tuple[str, ...]:
        """Return a warning for each group that the labels name and that has no limit."""
        return tuple(
            f"group {name!r} has no limit{nearest(name, self.most) if self.most else ''}:"
            f" set AUTOSCALER_GROUPS__{name.upper()} for the daemon, or correct the label group"
            for name in spec.groups
            if name not in self.most
        )


NO_GROUPS = Groups()


def group_of(limit: str) -> str | None:
    """Return the group that a limit is of, by the limit's name; None for any other limit."""
    return limit.removeprefix(_BEGIN) if limit.startswith(_BEGIN) else None


_BEGIN = "group "


def _limit(group: str) -> str:
    return f"{_BEGIN}{group}"
