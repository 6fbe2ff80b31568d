"""What waits for a service: task queues, their builds, and backlogs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from autoscaler.core.label_values import QueueType
from autoscaler.core.model import ServiceId


class WorkerVersion(NamedTuple):
    """One build of a Worker Deployment."""

    deployment: str
    build_id: str

    def __str__(self) -> str:
        return f"{self.deployment}:{self.build_id}"


class BuildStatus(StrEnum):
    """How far the life of a build has come, in Temporal's terms."""

    NEVER_POLLED = "never polled"
    """Temporal does not know the build yet: none of its workers has ever polled."""
    INACTIVE = "inactive"
    CURRENT = "current"
    RAMPING = "ramping"
    DRAINING = "draining"
    """It gets no new workflows; some that are pinned to it are still open."""
    DRAINED = "drained"


class TaskQueue(NamedTuple):
    """One kind of task of one task queue: what DescribeTaskQueue answers for."""

    integration: str
    """Name of the Temporal connection, in its canonical spelling."""
    namespace: str | None
    """None: the integration's own namespace."""
    name: str
    type: QueueType
    version: WorkerVersion | None = None
    """The build whose tasks count; None: the tasks of all builds."""


class QueueName(NamedTuple):
    """A task queue with all its types: what a label names and workers poll."""

    integration: str
    namespace: str
    """Empty: the integration's own namespace."""
    name: str

    @classmethod
    def of(cls, queue: TaskQueue) -> QueueName:
        """Return the name of a task queue without its type."""
        return cls(queue.integration, queue.namespace or "", queue.name)


NO_RATE = 0.001
"""Tasks a second that count as none: the server's averages fade and never quite reach zero."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What Temporal says of one task queue and type."""

    waiting: int
    """Tasks in the backlog (approximate_backlog_count), or more where more were counted since."""
    age: timedelta | None
    """How long the oldest of them has waited (approximate_backlog_age); None where it is unknown.
    Zero where none waits."""
    add_rate: float
    """Tasks added a second, averaged over 30 s by the server."""
    dispatch_rate: float
    """Tasks handed to workers a second, averaged over 30 s by the server."""
    rate_limited: bool = False
    """Whether the server limits the rate of this queue (rate_limiting_active)."""
    pollers: int = 0
    """Workers that polled in the last minutes."""
    build: BuildStatus | None = None
    """Status of the build that was asked for; None where no build was asked for."""
    deployment: str = ""
    """Worker Deployment whose builds the figures add up; empty where there is none."""
    counted: bool = False
    """Whether `waiting` was counted partition by partition, later than the server made its own
    figure, and is above that."""
    since: datetime | None = field(default=None, compare=False)
    """The earliest moment at which the server may have made its figures; None where that is
    unknown. Figures are equal that say the same, whenever they were made."""
    new: bool = field(default=True, compare=False)
    """False: the server's answer of an earlier look again, from which there is nothing to learn."""

    @property
    def adding(self) -> bool:
        """Whether tasks have been added in the last half minute."""
        return self.add_rate > NO_RATE

    @property
    def dispatching(self) -> bool:
        """Whether tasks have been handed to workers in the last half minute."""
        return self.dispatch_rate > NO_RATE


@dataclass(frozen=True, slots=True)
class SharedQueue:
    """A task queue that several services poll, as one of them sees it."""

    whole: QueueStats
    """What Temporal says of the queue, of which the service has a portion."""
    others: tuple[ServiceId, ...]
    """The other services that poll it."""
    leads: bool
    """Whether it is this service that stays awake as long as anything moves in the queue."""
    grows: bool
    """Whether it is this service that grows once a task has waited for too long."""
    beside: int
    """Replicas of the other services that poll it."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The backlogs of all task queues and types of one service, read in this tick."""

    parts: Mapping[TaskQueue, QueueStats]
    """Of a queue that is shared with other services, the portion of this one: fewer waiting tasks
    and lower rates. What is no amount, such as the age, is that of the queue."""
    shared: Mapping[TaskQueue, SharedQueue] = field(default_factory=dict)
    """The queues of `parts` that other services poll too."""

    @property
    def whole(self) -> Mapping[TaskQueue, QueueStats]:
        """What Temporal says of each queue, whoever gets a portion of it."""
        if not self.shared:
            return self.parts
        return {**self.parts, **{queue: each.whole for queue, each in self.shared.items()}}

    @property
    def waiting(self) -> int:
        """Waiting tasks in all queues and types together, as far as they are this service's."""
        return sum(stats.waiting for stats in self.parts.values())

    @property
    def waiting_in_whole(self) -> int:
        """Waiting tasks in all queues and types, those that other services get included."""
        return sum(stats.waiting for stats in self.whole.values())

    @property
    def others(self) -> tuple[ServiceId, ...]:
        """The services that poll any of these queues too, in order."""
        return tuple(sorted({each for shared in self.shared.values() for each in shared.others}))

    @property
    def counted(self) -> bool:
        """Whether any of these tasks were counted, because the server's own figure is older."""
        return any(stats.counted for stats in self.parts.values())

    @property
    def new(self) -> bool:
        """Whether any figure is one that no earlier look has brought."""
        return any(stats.new for stats in self.parts.values())

    @property
    def age(self) -> timedelta | None:
        """How long the oldest task of all has waited; None as soon as one age is unknown."""
        ages = [stats.age for stats in self.parts.values()]
        known = [age for age in ages if age is not None]
        return max(known, default=timedelta()) if len(known) == len(ages) else None

    @property
    def moving(self) -> bool:
        """Whether tasks were added or handed to workers in the last half minute, whosever."""
        return any(stats.adding or stats.dispatching for stats in self.whole.values())

    @property
    def active(self) -> bool:
        """Whether the service has to stay awake: tasks wait for it, or some were just moving.

        Of the services that share a queue in which tasks only move, one stays awake for all.
        """
        if self.waiting:
            return True
        return any(stats.adding or stats.dispatching for stats in self.led)

    @property
    def led(self) -> Sequence[QueueStats]:
        """The figures of the queues for which this service has to stay awake if any does."""
        return [
            stats
            for queue, stats in self.whole.items()
            if queue not in self.shared or self.shared[queue].leads
        ]

    @property
    def rate_limited(self) -> frozenset[TaskQueue]:
        """The task queues whose rate the server limits."""
        return frozenset(queue for queue, stats in self.parts.items() if stats.rate_limited)

    @property
    def build(self) -> BuildStatus | None:
        """Status of the build that the service runs; None where its labels name none."""
        return next((stats.build for stats in self.parts.values() if stats.build), None)

    @property
    def summed(self) -> Mapping[str, str]:
        """Task queues whose figures add up several builds, each with its Worker Deployment."""
        return {
            queue.name: stats.deployment for queue, stats in self.parts.items() if stats.deployment
        }

    @property
    def queues(self) -> frozenset[QueueName]:
        """All task queues, without their types."""
        return frozenset(map(QueueName.of, self.parts))

    @property
    def lively_queues(self) -> frozenset[QueueName]:
        """The task queues that show any sign of life, of whatever type."""
        return frozenset(
            QueueName.of(queue)
            for queue, stats in self.whole.items()
            if stats.waiting or stats.pollers or stats.adding
        )


@dataclass(frozen=True, slots=True)
class UnknownBacklog:
    """A backlog that could not be read. It is never taken for an empty one."""

    why: tuple[str, ...]
    """What kept it from being read, each with what to do; empty where nobody asked."""
