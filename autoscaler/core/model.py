"""The values that pass through a tick: services, replicas, task queues, backlogs, actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from autoscaler.core.label_values import QueueType
from autoscaler.core.reason import Reason


class ServiceId(NamedTuple):
    """A service as its orchestrator names it."""

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


@dataclass(frozen=True, slots=True)
class Service:
    """A labelled service as it stands now."""

    id: ServiceId
    labels: Mapping[str, str]
    """All labels of the service, including those that are not the autoscaler's."""
    replicas: int
    """Replicas that count: running or starting, without those that drain."""
    ceiling: Ceiling | None = None
    refusal: str | None = None
    """Why the service cannot be scaled at all at present; one sentence without a full stop."""
    warnings: tuple[str, ...] = ()
    """What the user should know, each with what to do."""
    draining: int = 0
    """Replicas that were told to stop and have not ended. `replicas` does not count them."""
    grace: timedelta | None = None
    """Time between stop signal and kill; None where Docker's default of 10 s applies."""
    left_behind: int = 0
    """Replicas that somebody began to make and never started; the next change removes them."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a service, with what matters for the choice of who stops."""

    id: str
    """The container's id on Compose, the task's id on Swarm."""
    host: str | None
    """Host name that its workers report; None where nobody can tell."""
    turn: int = 0
    """The scheduler stops replicas of a lower turn first, and those of one turn in any order."""
    choosable: bool = True
    """Whether the daemon can stop this replica by name, out of turn."""
    started: bool = True
    """Whether it has started; a replica that has not cannot have work in flight."""
    placed: bool = True
    """Whether its scheduler has given it a node. Until then its turn may still change."""


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
    """Tasks in the backlog (approximate_backlog_count)."""
    age: timedelta
    """How long the oldest of them has waited (approximate_backlog_age)."""
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

    @property
    def adding(self) -> bool:
        """Whether tasks have been added in the last half minute."""
        return self.add_rate > NO_RATE

    @property
    def dispatching(self) -> bool:
        """Whether tasks have been handed to workers in the last half minute."""
        return self.dispatch_rate > NO_RATE


@dataclass(frozen=True, slots=True)
class Backlog:
    """The backlogs of all task queues and types of one service, read in this tick."""

    parts: Mapping[TaskQueue, QueueStats]

    @property
    def waiting(self) -> int:
        """Waiting tasks in all queues and types together."""
        return sum(stats.waiting for stats in self.parts.values())

    @property
    def age(self) -> timedelta:
        """How long the oldest task of all has waited."""
        return max((stats.age for stats in self.parts.values()), default=timedelta())

    @property
    def moving(self) -> bool:
        """Whether tasks were added or handed to workers in the last half minute."""
        return any(stats.adding or stats.dispatching for stats in self.parts.values())

    @property
    def rate_limited(self) -> bool:
        """Whether the server limits the rate of any of the queues."""
        return any(stats.rate_limited for stats in self.parts.values())

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
            for queue, stats in self.parts.items()
            if stats.waiting or stats.pollers or stats.adding
        )


@dataclass(frozen=True, slots=True)
class UnknownBacklog:
    """A backlog that could not be read. It is never taken for an empty one."""

    why: tuple[str, ...]
    """What kept it from being read, each with what to do; empty where nobody asked."""


@dataclass(frozen=True, slots=True)
class ScalingAction:
    """A change of replicas that an orchestrator is asked to make."""

    service: ServiceId
    current: int
    """Replicas that the decision was made on."""
    desired: int
    """Replicas that there should be."""
    reasons: tuple[Reason, ...] = ()
