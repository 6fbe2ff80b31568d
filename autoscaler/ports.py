"""What the reconciler needs from the outside world."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from autoscaler.core.drain import Standing
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.core.model import (
    QueueStats,
    Replica,
    ScalingAction,
    Service,
    ServiceId,
    TaskQueue,
    Worker,
    WorkerQuery,
)
from autoscaler.core.report import IntegrationReport, TickReport

LastLook = Callable[[Sequence[Replica]], Awaitable[Mapping[str, Standing] | None]]
"""Says what is known of replicas right now, by their ids; None where nobody reports and any may
go. Raises InFlightUnavailable or IntegrationError: then none may be stopped."""


class Orchestrator(Protocol):
    """Finds labelled services and scales them. Raises OrchestratorError."""

    @property
    def name(self) -> str:
        """`compose` or `swarm`: the orchestrator part of every ServiceId it makes."""
        ...

    async def discover(self) -> Sequence[Service]:
        """Return every service that carries a label of the autoscaler, as it stands now."""
        ...

    async def members(self, service: ServiceId) -> Sequence[Replica]:
        """Return the replicas that count, in the order in which idle ones would be stopped."""
        ...

    async def apply(
        self, action: ScalingAction, last_look: LastLook | None = None
    ) -> Sequence[str]:
        """Bring the service from `current` to `desired` replicas.

        Where somebody else has changed the number since, it may be left for the next tick.
        `last_look` is called right before replicas are stopped, and only those that it calls idle
        are, even if fewer go than desired; None: any may go.
        Returns when new replicas have been started, or when those to go no longer count, with the
        ids of the latter: what drains afterwards drains in the background and is never cut short.
        """
        ...

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for what drains; the rest goes on draining in the engine."""
        ...


class Watcher(Protocol):
    """Knows when something has changed, so that it need not be polled for."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every change; go on until cancelled, whatever happens."""
        ...


class BacklogSource(Protocol):
    """Reads from Temporal what waits, and what is in flight."""

    async def read(
        self, queues: Collection[TaskQueue]
    ) -> Mapping[TaskQueue, QueueStats | BacklogUnavailable]:
        """Read each task queue and type once. What cannot be read comes back as the error.

        What has to wait for its first turn, where there are too many at once, is missing.
        """
        ...

    def warnings(self, integration: str) -> Sequence[str]:
        """Return what the users of an integration should know, each with what to do."""
        ...

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return the workers asked for, each with its latest heartbeat, as they are right now.

        Empty where none reports. Raises InFlightUnavailable or IntegrationError.
        """
        ...

    def integrations(self) -> Sequence[IntegrationReport]:
        """Tell how each Temporal connection fared in the latest read."""
        ...


class IntegrationStore(Protocol):
    """Knows the named Temporal connections."""

    def get(self, name: str) -> Integration:
        """Return an integration; case and `-` or `_` do not matter. Raises IntegrationError."""
        ...

    def names(self) -> Sequence[str]:
        """Return the canonical names of all that were set up. Raises IntegrationError."""
        ...

    def origin(self, name: str) -> str:
        """Say where an integration that `get` returns comes from. Raises IntegrationError."""
        ...


class Window(Protocol):
    """Lets people and tools look in while the daemon runs."""

    async def serve(self) -> None:
        """Answer until cancelled, whatever happens."""
        ...


class Observer(Protocol):
    """Is shown every tick: logs, metrics, status page."""

    def observe(self, report: TickReport) -> None:
        """Take note of what one tick saw and did."""
        ...
