"""What one tick saw, decided and did: everything logs, metrics, page and `plan` show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from autoscaler.core.model import Reason, ScalingAction, ServiceId


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
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """What kept the service from following its backlog, each with what to do."""
    action: ScalingAction | None = None
    """The change that was started in this tick."""
    dry_run: bool = False
    """Nothing is changed for this service, by its label or the daemon's setting."""


@dataclass(frozen=True, slots=True)
class TickReport:
    """All services in one tick."""

    at: datetime
    services: tuple[ServiceReport, ...] = ()
    errors: tuple[str, ...] = ()
    """What kept an orchestrator from naming its services."""

    @property
    def failed(self) -> bool:
        """Whether anything in this tick could not be done."""
        return bool(self.errors) or any(report.errors for report in self.services)
