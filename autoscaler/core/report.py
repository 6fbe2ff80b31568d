"""What one tick saw, decided and did: everything logs, metrics, page and `plan` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.model import QueueStats, ScalingAction, ServiceId, TaskQueue
from autoscaler.core.reason import Reason


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service in one tick."""

    service: ServiceId
    replicas: int
    """Replicas that count now."""
    desired: int
    """Replicas wanted; the present number where nothing could be decided."""
    queues: tuple[str, ...] = ()
    backlog: int | None = None
    """Waiting tasks in all queues and types; None means unknown."""
    age: timedelta | None = None
    """How long the oldest waiting task has waited; None where the backlog is unknown."""
    parts: Mapping[TaskQueue, QueueStats] = field(default_factory=dict)
    """What the backlog is made of; empty where it is unknown."""
    min: int | None = None
    """Fewest replicas by the labels; None where they were never right."""
    max: int | None = None
    """Most replicas by the labels; None where they were never right."""
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """What kept the service from following its backlog, each with what to do."""
    action: ScalingAction | None = None
    """The change that was started in this tick."""
    dry_run: bool = False
    """Nothing is changed for this service, by its label or the daemon's setting."""
    busy: int | None = None
    """Replicas that were seen at work in this tick; None where nobody looked."""
    draining: int = 0
    """Replicas that were told to stop and have not ended. `replicas` does not count them."""
    interrupted: int = 0
    """Replicas stopped since the last tick although they were known to be busy."""


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
    integrations: tuple[IntegrationReport, ...] = ()
    took: timedelta = timedelta()
    """How long the tick lasted."""

    @property
    def failed(self) -> bool:
        """Whether anything in this tick could not be done."""
        return bool(self.errors) or any(report.errors for report in self.services)
