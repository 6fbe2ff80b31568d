"""What other hands do to the containers of a service: `docker compose` and people. Pure.

Restoring replicas while `docker compose down` or `up` is still at work would make containers
behind its back. So a service is left alone while somebody else changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.model import ServiceId

QUIET = timedelta(seconds=2)
"""After the last event that others caused. Compose's own steps follow each other faster."""
SLACK = timedelta(seconds=10)
"""Beyond its grace, after which a container that got a signal is taken to stay."""


@dataclass(slots=True)
class OtherHands:
    """Tells from the engine's events whether others are changing a service."""

    _touched: dict[ServiceId, datetime] = field(default_factory=dict)
    _stopping: dict[str, tuple[ServiceId, datetime]] = field(default_factory=dict)

    def notice(
        self, service: ServiceId, event: Mapping[str, Any], now: datetime, grace: timedelta
    ) -> None:
        """Take note of a container event that others caused.

        `grace` is how long a container of the service may take to stop.
        """
        container = event["Actor"]["ID"]
        match event["Action"]:
            case "kill":
                # The signal may also mean a reload: then the container outlives its grace.
                self._stopping[container] = service, now + grace + SLACK
            case "die" if container in self._stopping:
                del self._stopping[container]
            case "destroy":
                self._stopping.pop(container, None)
            case "die" | "start":
                # It ended or came up by itself.
                return
        self._touched[service] = now

    def at_work(self, service: ServiceId, now: datetime) -> bool:
        """Whether others are changing the service, or have until a moment ago."""
        touched = self._touched.get(service)
        # What lies ahead was noticed before the clock was set back.
        if touched is not None and timedelta() <= now - touched < QUIET:
            return True
        return any(who == service and now < end for who, end in self._stopping.values())

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._touched = {who: when for who, when in self._touched.items() if who in services}
        self._stopping = {
            container: entry for container, entry in self._stopping.items() if entry[0] in services
        }
