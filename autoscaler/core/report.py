"""What one tick saw, decided and did: everything logs, metrics, page and `plan` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.backlog import QueueStats, SharedQueue, TaskQueue
from autoscaler.core.drain import Verdict
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.override import Override
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.schedule import NextBounds


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service in one tick."""

    service: ServiceId
    replicas: int
    """Replicas that count now."""
    desired: int
    """Replicas wanted; the present number where nothing could be decided."""
    wished: int | None = None
    """Replicas that the service would have if it were alone and none of them were at work; None
    where nothing could be decided."""
    queues: tuple[str, ...] = ()
    backlog: int | None = None
    """Waiting tasks in all queues and types; None means unknown. Those of a queue that several
    services poll are divided among them, so that the sum over services counts each task once."""
    age: timedelta | None = None
    """How long the oldest waiting task has waited; None where the backlog is unknown."""
    parts: Mapping[TaskQueue, QueueStats] = field(default_factory=dict)
    """What the backlog is made of; empty where it is unknown."""
    shared: Mapping[TaskQueue, SharedQueue] = field(default_factory=dict)
    """The queues of `parts` that other services poll too, which hold a portion there."""
    min: int | None = None
    """Fewest replicas by the labels; None where they were never right."""
    max: int | None = None
    """Most replicas by the labels; None where they were never right."""
    next_bounds: NextBounds | None = None
    """The next change of min or max by the schedule; None where there is none."""
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """What kept the service from following its backlog, each with what to do."""
    action: ScalingAction | None = None
    """The change that was started in this tick."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What is wanted of the service now, right or wrong, by the full names of labels."""
    given: Mapping[str, Given] = field(default_factory=dict)
    """The values in force that are no defaults, each with where it comes from."""
    dry_run: bool = False
    """Nothing is changed for this service, by its label or the daemon's setting."""
    busy: int | None = None
    """Replicas that were seen at work in this tick; None where nobody looked."""
    draining: int = 0
    """Replicas that were told to stop and have not ended. `replicas` does not count them."""
    drains: tuple[Verdict, ...] = ()
    """What becomes of those whose stop grace is over, and of those that ignore their stop signal.

    Of the others among `draining`, only the number is reported.
    """
    interrupted: int = 0
    """Replicas stopped since the last tick although they were known to be busy."""
    crash: str | None = None
    """The crash that the service has not recovered from; it is one of the errors too."""
    crashed: int = 0
    """Replicas that were seen to crash since the last tick."""
    throughput: float | None = None
    """Tasks a second that a busy replica does, learnt or by its label; None where unknown."""
    chooses_any: bool | None = None
    """Whether every idle task can be stopped by name; None where no fresh look says so, and unless
    swarm-choice is any."""

    @property
    def at_max(self) -> bool:
        """Whether max alone keeps the service from having more replicas."""
        limited = any(reason.code is ReasonCode.MAX for reason in self.reasons)
        return limited and self.desired == self.max


@dataclass(frozen=True, slots=True)
class LimitReport:
    """A limit of replicas that several services share, in one tick."""

    name: str
    """`group gpu`, or `all services`."""
    most: int
    replicas: int
    """Replicas that the services have, are about to have, or that drain."""
    wished: int
    """Replicas that the services would have if there were enough for all."""


@dataclass(frozen=True, slots=True)
class IntegrationReport:
    """One Temporal connection as the latest tick found it."""

    name: str
    """In its canonical spelling."""
    endpoint: str
    namespace: str
    origin: str
    """Where its settings come from, such as `environment`."""
    up: bool | None
    """Whether Temporal answered; None where no service used it."""
    error: str | None = None
    """Why it did not, with what to do."""
    expires_at: datetime | None = None
    """When its certificate or API key expires, as far as that can be told."""


@dataclass(frozen=True, slots=True)
class TickReport:
    """All services in one tick."""

    at: datetime
    services: tuple[ServiceReport, ...] = ()
    errors: tuple[str, ...] = ()
    """What kept an orchestrator from naming its services."""
    unseen: tuple[ServiceId, ...] = ()
    """Services seen before whose orchestrator did not answer in this tick: they are not gone."""
    warnings: tuple[str, ...] = ()
    """What people should know apart from any service, each with what to do."""
    wish_warnings: tuple[str, ...] = ()
    """What is wrong with where wishes come from, such as services files, each with what to do."""
    left_alone: tuple[ServiceId, ...] = ()
    """Labelled services of projects that this daemon does not look after."""
    integrations: tuple[IntegrationReport, ...] = ()
    limits: tuple[LimitReport, ...] = ()
    """The limits of replicas that services share."""
    memory: HostMemory | None = None
    """The memory of the host that Compose services run on; None where it is unknown."""
    memory_warnings: tuple[str, ...] = ()
    """What is not known of it, each with what to do."""
    overrides: tuple[Override, ...] = ()
    """What was set live and is in force, by service and name."""
    took: timedelta = timedelta()
    """How long the tick lasted."""

    @property
    def failed(self) -> bool:
        """Whether anything in this tick could not be done."""
        return bool(self.errors) or any(report.errors for report in self.services)
