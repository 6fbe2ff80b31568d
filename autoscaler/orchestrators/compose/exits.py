"""Replicas that end by themselves soon after they were started. Pure.

Starting more of them would not help: growth stops, with the reason, and is tried again after a
growing pause.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.core.durations import format_duration
from autoscaler.core.model import Ceiling, ServiceId
from autoscaler.orchestrators.compose.containers import Container

SETTLED = timedelta(seconds=30)
"""A replica that has run for this long has started well."""
_BACKOFF = Backoff(first=timedelta(seconds=10), longest=timedelta(minutes=5))


@dataclass(slots=True)
class _Record:
    """What became of the replicas of one service."""

    started: dict[str, datetime] = field(default_factory=dict)
    """Replicas that are watched, each with when it was started."""
    backoff: Backoff = _BACKOFF
    story: str = ""
    """What happened to the latest replica that ended, in words."""


@dataclass(slots=True)
class Exits:
    """Watches the replicas that the daemon has started."""

    _records: dict[ServiceId, _Record] = field(default_factory=dict)

    def started(self, service: ServiceId, container: str, now: datetime) -> None:
        """Watch a replica that has just been started."""
        self._records.setdefault(service, _Record()).started[container] = now

    def stopped_on_purpose(self, service: ServiceId, container: str) -> None:
        """Stop watching a replica that somebody stops: its end is no failure."""
        if service in self._records:
            self._records[service].started.pop(container, None)

    def ceiling(
        self, service: ServiceId, containers: Collection[Container], now: datetime
    ) -> Ceiling | None:
        """Return why the service should not grow now; None where it may."""
        running = sum(container.running for container in containers)
        restarting = next((c for c in containers if c.state == "restarting"), None)
        if restarting is not None:
            return Ceiling(running, f"{_story(restarting, 'keeps restarting')}")
        record = self._records.get(service)
        if record is None:
            return None
        self._look(record, {container.id: container for container in containers}, now)
        if not record.started and record.backoff.retry_at is None:
            del self._records[service]
        if record.backoff.retry_at is None or record.backoff.ready(now):
            return None
        wait = timedelta(seconds=round((record.backoff.retry_at - now).total_seconds()))
        return Ceiling(running, f"{record.story}; growth is tried again in {format_duration(wait)}")

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        for service in self._records.keys() - services:
            del self._records[service]

    def _look(self, record: _Record, present: dict[str, Container], now: datetime) -> None:
        ended = [
            present[id_]
            for id_ in record.started
            if id_ in present and present[id_].state in ("exited", "dead")
        ]
        settled = [id_ for id_, since in record.started.items() if now - since >= SETTLED]
        if ended:
            record.story = _story(ended[0], "ended by itself")
            record.backoff = record.backoff.failed(now)
        elif settled:
            record.backoff = record.backoff.succeeded()
        over = {*settled, *(container.id for container in ended)}
        record.started = {
            id_: since
            for id_, since in record.started.items()
            if id_ in present and id_ not in over
        }


def _story(container: Container, what: str) -> str:
    return f"{container.name} {what} ({container.status}); see `docker logs {container.name}`"
