"""What passes through the rooms of one tick: services, backlogs, situations, decisions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from autoscaler.core.spec import QueueType, ScalingSpec
from autoscaler.core.value import value


class ServiceId(NamedTuple):
    """A service as its orchestrator names it.

    What is looked up for every service in every tick is a tuple: it hashes several times as fast.
    """

    orchestrator: str
    """`compose` or `swarm`."""
    name: str
    """`project/service` on Compose, the service's own name on Swarm."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A number of replicas that the service cannot grow beyond, whatever its labels say."""

    replicas: int
    because: str
    """Why, and what the user can do about it; one sentence without a full stop."""


@value
class Service:
    """A labelled service as it stands now."""

    id: ServiceId
    labels: Mapping[str, str]
    """All labels of the service, the autoscaler's among them."""
    replicas: int
    """Replicas that count: running or starting. What drains does not."""
    ceiling: Ceiling | None = None
    refusal: str | None = None
    """Why the service cannot be scaled at present at all; one sentence without a full stop."""
    warnings: tuple[str, ...] = ()
    """What the user should know, each with what to do."""
    draining: int = 0
    """Replicas that were told to stop and have not ended; they are not among `replicas`."""
    grace: timedelta | None = None
    """Time between stop signal and kill; None where it was left at Docker's 10 s."""
    left_behind: int = 0
    """Replicas that somebody began to make and never started; the next change removes them."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a service, as far as it matters who stops next."""

    id: str
    """Of the container on Compose, of the task on Swarm."""
    host: str | None
    """Host name that its workers report; None where that cannot be told."""
    turn: int = 0
    """The scheduler stops those of a lower turn first, those of one turn in any order."""
    choosable: bool = True
    """Whether it can be stopped out of turn."""
    started: bool = True
    """Whether it can have work in flight at all."""


class WorkerVersion(NamedTuple):
    """One build of a Worker Deployment."""

    deployment: str
    build_id: str

    def __str__(self) -> str:
        return f"{self.deployment}:{self.build_id}"


class BuildStatus(StrEnum):
    """How far the life of a build has come, in Temporal's terms."""

    NEVER_POLLED = "never polled"
    """Temporal does not know it yet: none of its workers has ever polled."""
    INACTIVE = "inactive"
    CURRENT = "current"
    RAMPING = "ramping"
    DRAINING = "draining"
    """It gets no new workflows; some that are pinned to it are still open."""
    DRAINED = "drained"


class TaskQueue(NamedTuple):
    """One kind of task of one task queue: what DescribeTaskQueue answers for."""

    integration: str
    """In its canonical spelling."""
    namespace: str | None
    """None: the integration's own namespace."""
    name: str
    type: QueueType
    version: WorkerVersion | None = None
    """The build whose tasks count; None: those of all."""


class QueueName(NamedTuple):
    """A task queue with all its types: what a label names and workers poll."""

    integration: str
    namespace: str
    """Empty: the integration's own."""
    name: str

    @classmethod
    def of(cls, queue: TaskQueue) -> QueueName:
        """Leave out the type."""
        return cls(queue.integration, queue.namespace or "", queue.name)


NO_RATE = 0.001
"""Tasks a second: the server's averages fade, and never quite reach zero."""


@value
class QueueStats:
    """What Temporal says of one task queue and type."""

    waiting: int
    """Tasks in the backlog (approximate_backlog_count)."""
    age: timedelta
    """How long the oldest of them has waited (approximate_backlog_age)."""
    add_rate: float
    """Tasks added a second, averaged over 30 s by the server."""
    dispatch_rate: float
    """Tasks handed to workers a second, averaged over 30 s by the server."""
    rate_limited: bool = False
    """The server holds tasks back on purpose (rate_limiting_active)."""
    pollers: int = 0
    """Workers that polled of late."""
    build: BuildStatus | None = None
    """Of the build that was asked for; None where none was."""
    deployment: str = ""
    """Worker Deployment whose builds the figures sum up; empty where there is none."""


@value
class Backlog:
    """The backlogs of all task queues and types of one service, each read just now."""

    parts: Mapping[TaskQueue, QueueStats]
    waiting: int
    """Waiting tasks in all queues and types together."""
    age: timedelta
    """How long the oldest task of all has waited."""
    adding: bool
    """Whether tasks have been added in the last half minute."""
    dispatching: bool
    """Whether tasks have been handed to workers in the last half minute."""
    rate_limited: bool
    """Whether the server holds back tasks of any queue on purpose."""
    build: BuildStatus | None
    """How far the build that the service runs has come; None where it names none."""
    summed: Mapping[str, str]
    """Task queues whose builds are summed up, each with its Worker Deployment."""

    @classmethod
    def of(cls, parts: Mapping[TaskQueue, QueueStats]) -> Backlog:
        """Add up, once, what a decision asks for many times."""
        waiting, age = 0, timedelta()
        adding = dispatching = rate_limited = False
        build = None
        summed: dict[str, str] = {}
        for queue, stats in parts.items():
            waiting += stats.waiting
            age = max(age, stats.age)
            adding = adding or stats.add_rate > NO_RATE
            dispatching = dispatching or stats.dispatch_rate > NO_RATE
            rate_limited = rate_limited or stats.rate_limited
            build = build or stats.build
            if stats.deployment:
                summed[queue.name] = stats.deployment
        return cls(parts, waiting, age, adding, dispatching, rate_limited, build, summed)

    @property
    def queues(self) -> frozenset[QueueName]:
        """All task queues, without their types."""
        return frozenset(map(QueueName.of, self.parts))

    @property
    def lively_queues(self) -> frozenset[QueueName]:
        """The task queues that show any sign of life, of whatever type."""
        return frozenset(
            QueueName.of(queue)
            for queue, stats in self.parts.items()
            if stats.waiting or stats.pollers or stats.add_rate > NO_RATE
        )


@value
class UnknownBacklog:
    """A backlog that could not be read. It is never taken for an empty one."""

    why: tuple[str, ...]
    """What kept it from being read, each with what to do; empty where nobody asked."""


class SlotKind(StrEnum):
    """What a worker has slots for."""

    WORKFLOW = "workflow"
    """In use for as long as a workflow is cached: nothing is lost with it."""
    ACTIVITY = "activity"
    LOCAL_ACTIVITY = "local activity"
    NEXUS = "nexus"


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of one kind of one worker."""

    used: int = 0
    free: int = 0
    processed: int = 0
    """Tasks that have been finished in them since the worker started."""


LONGEST_HEARTBEAT = timedelta(seconds=60)
"""Between two heartbeats of a worker: the SDKs' default, and the longest that they allow."""
HEARTBEAT_SLACK = timedelta(seconds=5)
"""How late a heartbeat may come, and how far apart two machines' clocks may be."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker said of itself in its latest heartbeat."""

    instance: str
    """Its key: a worker that is started again has another."""
    host: str
    at: datetime
    """Time of the heartbeat, by the worker's own clock."""
    interval: timedelta
    """Time since the heartbeat before it; zero in the first."""
    leaving: bool
    """It was told to stop: it takes no new tasks and finishes what it runs."""
    slots: Mapping[SlotKind, Slots]

    @property
    def running(self) -> int:
        """Tasks that would be lost with it. Workflows are not: another worker goes on."""
        return sum(
            slots.used for kind, slots in self.slots.items() if kind is not SlotKind.WORKFLOW
        )

    @property
    def processed(self) -> int:
        """Such tasks that it has finished since it started."""
        return sum(
            slots.processed for kind, slots in self.slots.items() if kind is not SlotKind.WORKFLOW
        )

    def fresh(self, now: datetime) -> bool:
        """Whether its next heartbeat is not overdue: older ones say nothing of the present."""
        return now - self.at <= (self.interval or LONGEST_HEARTBEAT) + HEARTBEAT_SLACK


@dataclass(frozen=True, slots=True)
class WorkerQuery:
    """Which workers are asked for: those on some hosts, and those of some task queues."""

    integration: str
    """In its canonical spelling."""
    namespace: str | None
    """None: the integration's own namespace."""
    hosts: frozenset[str]
    queues: frozenset[str]


@dataclass(frozen=True, slots=True)
class InFlight:
    """The replicas of a service, and what their workers report."""

    replicas: tuple[Replica, ...]
    """In the order in which they would be stopped if all were idle."""
    workers: tuple[Worker, ...]
    """Those on the replicas' hosts; where a host cannot be told, all of the task queues."""

    @property
    def unreported(self) -> bool:
        """Whether nobody reports, and that says something: those that have not started cannot."""
        started = any(replica.started for replica in self.replicas)
        return not self.workers and (started or not self.replicas)


@dataclass(frozen=True, slots=True)
class UnknownInFlight:
    """It could not be read what is in flight. It is never taken for nothing."""

    why: str
    """What kept it from being read, with what to do."""


class ReasonCode(StrEnum):
    """What moved a decision: the one vocabulary of logs, metrics, page and `plan`."""

    BACKLOG = "backlog"
    BACKLOG_UNKNOWN = "backlog-unknown"
    MAX_WAIT = "max-wait"
    SLOTS = "slots"
    FALLBACK = "fallback"
    ACTIVATION = "activation"
    COOLDOWN = "cooldown"
    BUILD = "build"
    SCALE_OUT_LIMIT = "scale-out-limit"
    SCALE_IN_LIMIT = "scale-in-limit"
    RATE_LIMITED = "rate-limited"
    PHANTOM = "phantom"
    OFF = "off"
    STOPPED_BY_HAND = "stopped-by-hand"
    REFUSED = "refused"
    SCALE_OUT_WINDOW = "scale-out-window"
    SCALE_IN_WINDOW = "scale-in-window"
    PAUSED = "paused"
    MIN = "min"
    MAX = "max"
    CEILING = "ceiling"
    BUSY = "busy"


@value
class Reason:
    """One step of a decision, in words."""

    code: ReasonCode
    text: str

    def __str__(self) -> str:
        return self.text


@value
class Sample:
    """A number of replicas and when it was noted."""

    at: datetime
    replicas: int


_AT = attrgetter("at")


@dataclass(frozen=True, slots=True)
class Spell:
    """A while in which a worker has had tasks running and finished none."""

    since: datetime
    processed: int


@value
class History:
    """What a decision may know of the past of one service. It does not depend on the labels."""

    replicas: int
    """Replicas at the latest look."""
    known_at: datetime
    """When the backlog was last known, or nobody asked for it."""
    active_at: datetime
    """When there last was a backlog, or anything added, dispatched or in flight, or unknown."""
    recommendations: tuple[Sample, ...] = ()
    """What the stabilization windows look back on, oldest first; no two equal ones in a row."""
    changes: tuple[Sample, ...] = ()
    """Replicas added (or, below zero, removed), whoever did it, oldest first."""
    rate_limited_since: datetime | None = None
    stalled_since: datetime | None = None
    """Since when tasks wait and none is added or dispatched."""
    stalled_with: int = 0
    """Replicas when it began."""
    grown_in_stall_at: datetime | None = None
    """Since when there are more than those."""
    lively: frozenset[QueueName] = frozenset()
    """The task queues that ever showed a sign of life."""
    silent_since: Mapping[QueueName, datetime] = field(default_factory=dict)
    """Since when replicas run for task queues that never have."""
    unreported_since: datetime | None = None
    """Since when nobody reports what is in flight, whenever somebody looked."""
    spells: Mapping[str, Spell] = field(default_factory=dict)
    """Of the workers that were at work at the latest look."""
    longest_task: timedelta = timedelta()
    """The longest that any task was seen to run: each may have run longer."""

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
        """Take note of what is seen now, and of the replicas that it calls for.

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
        waiting, queues = backlog.waiting, backlog.queues
        moving = backlog.adding or backlog.dispatching
        stalled_since = _since(waiting > 0 and not moving, self.stalled_since, now)
        stalled_with = self.replicas if self.stalled_since is None else self.stalled_with
        grown = stalled_since is not None and replicas > stalled_with
        lively = self.lively if queues <= self.lively else self.lively | backlog.lively_queues
        silent = queues - lively if replicas else ()
        # Every field is named: `replace` takes several times as long, and this is every tick's.
        return History(
            replicas=replicas,
            known_at=now,
            active_at=now if waiting or moving else self.active_at,
            recommendations=recommendations,
            changes=changes,
            rate_limited_since=_since(backlog.rate_limited, self.rate_limited_since, now),
            stalled_since=stalled_since,
            stalled_with=stalled_with,
            grown_in_stall_at=_since(grown, self.grown_in_stall_at, now),
            lively=lively,
            silent_since={queue: self.silent_since.get(queue, now) for queue in silent},
            unreported_since=self.unreported_since,
            spells=self.spells,
            longest_task=self.longest_task,
        )

    def observe_in_flight(self, in_flight: InFlight, now: datetime) -> History:
        """Take note of what the workers report: work in flight is activity, too."""
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
        """Return the recommendations made at or after `start`, in replicas; each in a row once."""
        return tuple(sample.replicas for sample in _from(self.recommendations, start))

    def changed_by(self, start: datetime) -> int:
        """Return the replicas that were added since `start`, less those removed."""
        return sum(change.replicas for change in self.changes if change.at > start)


def _from(samples: tuple[Sample, ...], start: datetime) -> tuple[Sample, ...]:
    """Return the samples made at or after `start`. They come, and are returned, oldest first."""
    if not samples or samples[0].at >= start:
        return samples
    return samples[bisect_left(samples, start, key=_AT) :]


def _since(holds: bool, before: datetime | None, now: datetime) -> datetime | None:  # noqa: FBT001
    """Return since when something holds; None where it does not."""
    return (before or now) if holds else None


@value
class Situation:
    """Everything a decision may depend on. If it is not here, it does not count."""

    spec: ScalingSpec
    replicas: int
    """Replicas that count now, or that an action still under way will have made."""
    backlog: Backlog | UnknownBacklog
    history: History
    now: datetime
    ceiling: Ceiling | None = None
    refusal: str | None = None
    draining: int = 0
    """Replicas that were told to stop and have not ended; they are not among `replicas`."""
    grace: timedelta | None = None
    """Time between stop signal and kill; None where it was left at Docker's 10 s."""
    in_flight: InFlight | UnknownInFlight | None = None
    """None: nobody has looked."""


@value
class Decision:
    """How many replicas the service should have, and why."""

    desired: int
    recommendation: Reason
    """What the signals alone call for, before any limit."""
    limits: tuple[Reason, ...]
    """Each step that changed the recommended number, in the order they applied."""
    history: History
    """The history that the next situation of this service begins with."""
    warnings: tuple[str, ...] = ()
    """What the user should know, each with what to do."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The recommendation and every limit that changed it."""
        return (self.recommendation, *self.limits)


@dataclass(frozen=True, slots=True)
class ScalingAction:
    """A change of replicas that an orchestrator is asked to make."""

    service: ServiceId
    current: int
    desired: int
    reasons: tuple[Reason, ...] = ()
