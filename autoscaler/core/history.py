"""What a decision may know of the past of a service. Pure: every look returns a new history."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter

from autoscaler.core.in_flight import InFlight
from autoscaler.core.model import Backlog, QueueName, UnknownBacklog


@dataclass(frozen=True, slots=True)
class Sample:
    """A number of replicas and when it was noted."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which a worker had tasks running and finished none."""

    since: datetime
    processed: int
    """Tasks that the worker had finished when the spell began."""


@dataclass(frozen=True, slots=True)
class History:
    """The past of one service. It does not depend on the labels."""

    replicas: int
    """Replicas at the latest look."""
    known_at: datetime
    """When the backlog was last known, or when nobody asked for it."""
    active_at: datetime
    """When tasks last waited, were added, were dispatched or ran, or when that was unknown."""
    recommendations: tuple[Sample, ...] = ()
    """What the stabilization windows look back on, oldest first; no two equal ones in a row."""
    changes: tuple[Sample, ...] = ()
    """Replicas added (or, below zero, removed), whoever did it, oldest first."""
    rate_limited_since: datetime | None = None
    """Since when the server has limited the rate of a queue at every look."""
    stalled_since: datetime | None = None
    """Since when tasks wait while none is added or dispatched."""
    stalled_with: int = 0
    """Replicas when the stall began."""
    grown_in_stall_at: datetime | None = None
    """Since when there are more replicas than when the stall began."""
    lively: frozenset[QueueName] = frozenset()
    """The task queues that ever showed a sign of life."""
    silent_since: Mapping[QueueName, datetime] = field(default_factory=dict)
    """The task queues that never did, each with since when replicas have run for it."""
    unreported_since: datetime | None = None
    """Since when no worker has reported what it runs, at every look that asked."""
    spells: Mapping[str, Spell] = field(default_factory=dict)
    """By worker instance: the workers that had tasks running at the latest look."""
    longest_task: timedelta = timedelta()
    """The longest that any task was seen to run. It may have run longer than that."""

    @classmethod
    def seed(cls, replicas: int, now: datetime) -> History:
        """Start with the present count, so that a restart never scales in at once."""
        return cls(replicas, now, now, (Sample(now, replicas),))

    def observe(
        self,
        replicas: int,
        backlog: Backlog | UnknownBacklog,
        recommended: int,
        now: datetime,
        keep: timedelta,
    ) -> History:
        """Return the history after a look that recommends `recommended` replicas.

        Changes and recommendations older than `keep` are forgotten. Of equal recommendations in
        a row only the latest is kept: windows ask for the smallest and the largest, and every
        window that reaches an earlier one reaches the latest as well.
        """
        changes = _from(self.changes, now - keep)
        if replicas != self.replicas:
            changes = (*changes, Sample(now, replicas - self.replicas))
        past = self.recommendations
        if past and past[-1].replicas == recommended:
            past = past[:-1]
        recommendations = (*_from(past, now - keep), Sample(now, recommended))
        if isinstance(backlog, UnknownBacklog):
            return replace(
                self,
                replicas=replicas,
                changes=changes,
                recommendations=recommendations,
                known_at=self.known_at if backlog.why else now,
                active_at=now,
                rate_limited_since=None,
                stalled_since=None,
                grown_in_stall_at=None,
            )
        waiting, moving, queues = backlog.waiting, backlog.moving, backlog.queues
        stalled_since = _since(waiting > 0 and not moving, self.stalled_since, now)
        stalled_with = self.replicas if self.stalled_since is None else self.stalled_with
        grown = stalled_since is not None and replicas > stalled_with
        lively = self.lively if queues <= self.lively else self.lively | backlog.lively_queues
        silent = queues - lively if replicas else ()
        return replace(
            self,
            replicas=replicas,
            changes=changes,
            recommendations=recommendations,
            known_at=now,
            active_at=now if waiting or moving else self.active_at,
            rate_limited_since=_since(backlog.rate_limited, self.rate_limited_since, now),
            stalled_since=stalled_since,
            stalled_with=stalled_with,
            grown_in_stall_at=_since(grown, self.grown_in_stall_at, now),
            lively=lively,
            silent_since={queue: self.silent_since.get(queue, now) for queue in silent},
        )

    def observe_in_flight(self, in_flight: InFlight, now: datetime) -> History:
        """Return the history after a look at what the workers report.

        A service whose workers run tasks is active, whatever its backlog says.
        """
        spells: dict[str, Spell] = {}
        longest = self.longest_task
        for worker in in_flight.workers:
            if worker.running:
                before = self.spells.get(worker.instance)
                same = before is not None and before.processed == worker.processed
                spell = before if before and same else Spell(worker.at, worker.processed)
                spells[worker.instance] = spell
                longest = max(longest, worker.at - spell.since)
        return replace(
            self,
            active_at=now if spells else self.active_at,
            unreported_since=_since(
                bool(in_flight.replicas) and in_flight.unreported, self.unreported_since, now
            ),
            spells=spells,
            longest_task=longest,
        )

    def since(self, start: datetime) -> tuple[int, ...]:
        """Return the recommendations made at or after `start`, in replicas, oldest first."""
        return tuple(sample.replicas for sample in _from(self.recommendations, start))

    def changed_by(self, start: datetime) -> int:
        """Return the replicas that were added after `start`, less those removed."""
        return sum(change.replicas for change in self.changes if change.at > start)


def _from(samples: tuple[Sample, ...], start: datetime) -> tuple[Sample, ...]:
    """Return the samples made at or after `start`. They come, and are returned, oldest first."""
    return samples[bisect_left(samples, start, key=attrgetter("at")) :]


def _since(holds: bool, before: datetime | None, now: datetime) -> datetime | None:  # noqa: FBT001
    """Return since when something holds; None where it does not."""
    return (before or now) if holds else None
