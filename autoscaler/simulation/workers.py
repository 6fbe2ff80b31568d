"""The model of workers: what one replica can do, and the replicas that a simulation has."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.core.errors import ConfigurationError

_LONGEST = timedelta(days=1).total_seconds()
_MOST_SLOTS = 10_000


@dataclass(frozen=True, slots=True)
class Workers:
    """What a replica can do. Raises ConfigurationError that names every wrong value."""

    service_time: float = 2.0
    """Seconds that a task runs."""
    slots: int = 2
    """Tasks that a replica runs at once."""
    startup: float = 3.0
    """Seconds from the decision to add a replica until the replica takes its first task."""

    def __post_init__(self) -> None:
        wrong = []
        if not 0 < self.service_time <= _LONGEST:
            wrong.append("the service time must be more than 0s and at most 24h")
        if not 1 <= self.slots <= _MOST_SLOTS:
            wrong.append(f"the slots of a replica must be from 1 to {_MOST_SLOTS}")
        if not 0 <= self.startup <= _LONGEST:
            wrong.append("the start-up time must be from 0s to 24h")
        if wrong:
            raise ConfigurationError(wrong)


@dataclass(eq=False, slots=True)
class SimulatedReplica:
    """One replica. Times are in seconds since the trace began."""

    since: float
    """When it was asked for."""
    ready_at: float
    """When it takes its first task."""
    busy: int = 0
    """Tasks that it runs now."""
    leaving: bool = False
    """It was told to stop: it finishes what it runs and takes no new tasks."""


class Fleet:
    """The replicas of one service, and what they have cost. Times are in seconds."""

    def __init__(self, replicas: int) -> None:
        """Begin with so many replicas, all ready."""
        self.staying = [SimulatedReplica(0.0, 0.0) for _ in range(replicas)]
        self.peak = replicas
        """The most replicas at once that were running or starting."""
        self._finishing: set[SimulatedReplica] = set()
        self._spent = 0.0

    def grow(self, replicas: int, now: float, startup: float) -> list[SimulatedReplica]:
        """Start replicas until there are `replicas` of them; return the new ones."""
        new = [SimulatedReplica(now, now + startup) for _ in range(replicas - len(self.staying))]
        self.staying += new
        self.peak = max(self.peak, replicas)
        return new

    def shrink(self, replicas: int, now: float) -> list[SimulatedReplica]:
        """Stop replicas until `replicas` of them are left; return the stopped ones.

        Replicas that are still starting stop first, then the least busy, the newest first.
        """
        order = sorted(self.staying, key=lambda one: (one.ready_at <= now, one.busy, -one.since))
        leaving = order[: len(self.staying) - replicas]
        for replica in leaving:
            self.staying.remove(replica)
            self._finishing.add(replica)
            replica.leaving = True
            self.settle(replica, now)
        return leaving

    def settle(self, replica: SimulatedReplica, now: float) -> None:
        """Remove a replica that was told to stop, once it has finished what it ran."""
        if replica.leaving and not replica.busy:
            self._finishing.remove(replica)
            self._spent += now - replica.since

    def seconds(self, now: float) -> float:
        """Return the replica-seconds so far."""
        here = itertools.chain(self.staying, self._finishing)
        return self._spent + sum(now - replica.since for replica in here)

    def ready(self, now: float) -> int:
        """Count the replicas that take tasks."""
        return sum(replica.ready_at <= now for replica in self.staying)
