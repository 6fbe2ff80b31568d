"""The replicas that a simulation has. Times are in seconds since the trace began."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker said of itself when it last reported."""

    at: float
    busy: int
    """Tasks that it ran then."""
    done: int
    """Tasks that it had finished by then."""


@dataclass(eq=False, slots=True)
class SimulatedReplica:
    """One replica, with one worker in it."""

    name: str
    since: float
    """When it was asked for."""
    ready_at: float
    """When it takes its first task, and its worker first reports."""
    heartbeat: float = 0.0
    """Seconds between two reports of its worker; 0: it does not report."""
    busy: int = 0
    """Tasks that it runs now."""
    done: int = 0
    """Tasks that it has finished."""
    leaving: bool = False
    """It was told to stop: it finishes what it runs and takes no new tasks."""
    _reported: Heartbeat | None = None

    def take(self, tasks: int, now: float) -> None:
        """Begin so many tasks."""
        self.reported(now)
        self.busy += tasks

    def finish(self, tasks: int, now: float) -> None:
        """End so many tasks."""
        self.reported(now)
        self.busy -= tasks
        self.done += tasks

    def reported(self, now: float) -> Heartbeat | None:
        """Return the latest heartbeat; None where there was none.

        Heartbeats are written down late, when something is about to change or somebody asks: until
        then all that was due say the same.
        """
        if self.heartbeat and now >= self.ready_at:
            due = self.ready_at + (now - self.ready_at) // self.heartbeat * self.heartbeat
            if self._reported is None or due > self._reported.at:
                self._reported = Heartbeat(due, self.busy, self.done)
        return self._reported


class Fleet:
    """The replicas of one service, and what they have cost. Times are in seconds."""

    def __init__(self, replicas: int, heartbeat: float = 0.0) -> None:
        """Begin with so many replicas, all ready; workers report every `heartbeat` seconds."""
        self._heartbeat = heartbeat
        self._numbers = itertools.count(1)
        self.staying = [self._new(0.0, 0.0) for _ in range(replicas)]
        """Those that are running or starting, oldest first."""
        self.peak = replicas
        """The most replicas at once that were running or starting."""
        self._finishing: set[SimulatedReplica] = set()
        self._spent = 0.0

    @property
    def draining(self) -> int:
        """Replicas that were told to stop and still finish what they run."""
        return len(self._finishing)

    def grow(self, replicas: int, now: float, startup: float) -> list[SimulatedReplica]:
        """Start replicas until there are `replicas` of them; return the new ones."""
        new = [self._new(now, now + startup) for _ in range(replicas - len(self.staying))]
        self.staying += new
        self.peak = max(self.peak, replicas)
        return new

    def shrink(self, replicas: int, now: float) -> list[SimulatedReplica]:
        """Stop replicas until `replicas` of them are left; return the stopped ones.

        Replicas that are still starting stop first, then the least busy, the newest first.
        """
        order = sorted(self.staying, key=lambda one: (one.ready_at <= now, one.busy, -one.since))
        return self._stop(order[: len(self.staying) - replicas], now)

    def stop(self, names: Collection[str], now: float) -> list[SimulatedReplica]:
        """Stop the replicas of these names; return them."""
        return self._stop([replica for replica in self.staying if replica.name in names], now)

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

    def _new(self, since: float, ready_at: float) -> SimulatedReplica:
        name = f"worker-{next(self._numbers)}"
        return SimulatedReplica(name, since, ready_at, self._heartbeat)

    def _stop(self, leaving: list[SimulatedReplica], now: float) -> list[SimulatedReplica]:
        for replica in leaving:
            self.staying.remove(replica)
            self._finishing.add(replica)
            replica.leaving = True
            self.settle(replica, now)
        return leaving
