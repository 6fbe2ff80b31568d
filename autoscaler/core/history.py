"""What a decision may know of the past of a service. Pure: every look returns a new history."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter

from autoscaler.core.backlog import Backlog, QueueName, TaskQueue, UnknownBacklog
from autoscaler.core.in_flight import Crew, InFlight, observe_crews
from autoscaler.core.spells import Spells, observe_spells
from autoscaler.core.throughput import Throughput

LATE = timedelta(seconds=15)
"""How much later than usual a look may come: as long as Temporal may take to answer for backlogs
and for heartbeats, and a little more. Whoever waits for an answer does look."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A number of replicas and when it was noted."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class BegunChange:
    """A change of replicas that the daemon has begun, until a look shows what came of it."""

    at: datetime
    """When it was decided."""
    current: int
    desired: int

    def outcome(self, replicas: int, now: datetime) -> tuple[Sample, ...]:
        """Return what was changed by the time that a look sees `replicas`, and when.

        What lies between `current` and `desired` counts as this change, and the rest as somebody
        else's, which is as old as the look that sees it.
        """
        low, high = sorted((self.current, self.desired))
        reached = min(max(replicas, low), high)
        samples = (Sample(self.at, reached - self.current), Sample(now, replicas - reached))
        return tuple(sample for sample in samples if sample.replicas)


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
    """What the stabilization windows look back on, oldest first; no two equal ones in a row. A look
    that brought nothing new leaves none, unless another number came of it."""
    changes: tuple[Sample, ...] = ()
    """Replicas added (or, below zero, removed), whoever did it, oldest first. A change of the
    daemon's is as old as its decision, and one of somebody else's as the look that saw it."""
    begun: BegunChange | None = None
    """The daemon's own change, while it is under way or no look has seen what came of it."""
    rate_limited_since: Mapping[TaskQueue, datetime] = field(default_factory=dict)
    """The task queues whose rate the server limits, each with since when at every look."""
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
    spells: Spells = field(default_factory=dict)
    longest_task: timedelta = timedelta()
    """The longest that any task was seen to run. It may have run longer than that."""
    crews: Mapping[str, Crew] = field(default_factory=dict)
    """By host: the processes with workers, where several are known to run in one replica."""
    throughput: Throughput = field(default_factory=Throughput)
    """What one busy replica was seen to get done."""

    @classmethod
    def seed(cls, replicas: int, now: datetime) -> History:
        """Start with the present count, so that a restart never scales in at once."""
        return cls(replicas, now, now, (Sample(now, replicas),))

    @property
    def looked_at(self) -> datetime:
        """When the latest look was: each knows the backlog, or leaves a recommendation."""
        return max((self.known_at, *(sample.at for sample in self.recommendations[-1:])))

    @property
    def expected(self) -> int:
        """Replicas that there should be since the latest look: what was begun then counts."""
        return self.replicas if self.begun is None else self.begun.desired

    def resumed(self, now: datetime, interval: timedelta) -> History:
        """Return the history that a look at `now` begins with, where `interval` is usual.

        Time in which nobody looked is time in which nobody knew, and does not pass: while a host
        was suspended, an engine hung, a service was not seen; or where a clock was set. Where more
        than an interval and `LATE` lies between two looks, or less than nothing, every moment is
        moved, so that the earlier look was one interval ago.
        """
        if timedelta() <= now - self.looked_at <= interval + LATE:
            return self
        return self._moved(now - interval - self.looked_at)

    def _moved(self, by: timedelta) -> History:
        """Return the same history, as if all of it had happened later; earlier, where below zero.

        Spells end: they go by the clocks of the workers, and nobody knows what those ran meanwhile.
        """

        def moved(at: datetime | None) -> datetime | None:
            return None if at is None else at + by

        def all_moved(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
            return tuple(replace(sample, at=sample.at + by) for sample in samples)

        return replace(
            self,
            known_at=self.known_at + by,
            active_at=self.active_at + by,
            recommendations=all_moved(self.recommendations),
            changes=all_moved(self.changes),
            begun=None if self.begun is None else replace(self.begun, at=self.begun.at + by),
            rate_limited_since={
                queue: since + by for queue, since in self.rate_limited_since.items()
            },
            stalled_since=moved(self.stalled_since),
            grown_in_stall_at=moved(self.grown_in_stall_at),
            silent_since={queue: since + by for queue, since in self.silent_since.items()},
            unreported_since=moved(self.unreported_since),
            spells={},
            throughput=self.throughput.moved(by),
        )

    def observe(  # noqa: PLR0913 - all that a look brings
        self,
        replicas: int,
        backlog: Backlog | UnknownBacklog,
        recommended: int,
        now: datetime,
        keep: timedelta,
        *,
        changing: bool = False,
    ) -> History:
        """Return the history after a look that recommends `recommended` replicas.

        `changing` says that the change that was begun is still under way, and leads to `replicas`.
        Changes and recommendations older than `keep` are forgotten.
        """
        new = isinstance(backlog, UnknownBacklog) or backlog.new
        recommendations = _from(self._recommended(recommended, now, new=new), now - keep)
        changes = _from((*self.changes, *self._changed(replicas, now, changing)), now - keep)
        begun = self.begun if changing else None
        if isinstance(backlog, UnknownBacklog):
            return replace(
                self,
                replicas=replicas,
                recommendations=recommendations,
                changes=changes,
                begun=begun,
                known_at=self.known_at if backlog.why else now,
                active_at=now,
                rate_limited_since={},
                stalled_since=None,
                grown_in_stall_at=None,
            )
        waiting, moving, queues = backlog.waiting, backlog.moving, backlog.queues
        stalled_since = _since(waiting > 0 and not moving, self.stalled_since, now)
        stalled_with = self.replicas if self.stalled_since is None else self.stalled_with
        grown = stalled_since is not None and replicas > stalled_with
        lively = self.lively if queues <= self.lively else self.lively | backlog.lively_queues
        silent = queues - lively if replicas else ()
        return History(
            replicas=replicas,
            recommendations=recommendations,
            changes=changes,
            begun=begun,
            known_at=now,
            active_at=now if backlog.active else self.active_at,
            rate_limited_since={
                queue: self.rate_limited_since.get(queue, now) for queue in backlog.rate_limited
            },
            stalled_since=stalled_since,
            stalled_with=stalled_with,
            grown_in_stall_at=_since(grown, self.grown_in_stall_at, now),
            lively=lively,
            silent_since={queue: self.silent_since.get(queue, now) for queue in silent},
            unreported_since=self.unreported_since,
            spells=self.spells,
            longest_task=self.longest_task,
            crews=self.crews,
            throughput=self.throughput,
        )

    def begin_change(self, desired: int) -> History:
        """Return the history after the daemon has begun what it decided at the latest look."""
        return replace(self, begun=BegunChange(self.looked_at, self.replicas, desired))

    def _recommended(self, replicas: int, now: datetime, *, new: bool) -> tuple[Sample, ...]:
        """Return the recommendations after a look, which is `new` or repeats an earlier answer.

        Of equal recommendations in a row only the latest is kept: windows ask for the smallest and
        the largest, and every window that reaches an earlier one reaches the latest as well.
        """
        past = self.recommendations
        if past and past[-1].replicas == replicas:
            if not new:
                return past
            past = past[:-1]
        return (*past, Sample(now, replicas))

    def _changed(self, replicas: int, now: datetime, changing: bool) -> tuple[Sample, ...]:  # noqa: FBT001
        """Return the changes that a look at `now` has shown, oldest first."""
        if self.begun is not None:
            return () if changing else self.begun.outcome(replicas, now)
        return (Sample(now, replicas - self.replicas),) if replicas != self.replicas else ()

    def observe_in_flight(self, in_flight: InFlight, now: datetime) -> History:
        """Return the history after a look at what the workers report.

        A service whose workers run tasks is active, whatever its backlog says.
        """
        spells, longest = observe_spells(in_flight.workers, self.spells)
        return replace(
            self,
            active_at=now if any(each.running for each in in_flight.workers) else self.active_at,
            unreported_since=_since(
                bool(in_flight.replicas) and in_flight.unreported, self.unreported_since, now
            ),
            spells=spells,
            longest_task=max(longest, self.longest_task),
            crews=observe_crews(in_flight, self.crews),
            throughput=self.throughput.observe_reports(in_flight, now),
        )

    def since(self, start: datetime) -> tuple[int, ...]:
        """Return the recommendations made at or after `start`, in replicas, oldest first."""
        return tuple(sample.replicas for sample in _from(self.recommendations, start))

    def changed_by(self, start: datetime) -> int:
        """Return the replicas that were added after `start`, less those removed.

        A change under way counts as made.
        """
        changed = sum(change.replicas for change in self.changes if change.at > start)
        if self.begun is not None and self.begun.at > start:
            changed += self.begun.desired - self.begun.current
        return changed


def _from(samples: tuple[Sample, ...], start: datetime) -> tuple[Sample, ...]:
    """Return the samples made at or after `start`. They come, and are returned, oldest first."""
    return samples[bisect_left(samples, start, key=attrgetter("at")) :]


def _since(holds: bool, before: datetime | None, now: datetime) -> datetime | None:  # noqa: FBT001
    """Return since when something holds; None where it does not."""
    return (before or now) if holds else None
