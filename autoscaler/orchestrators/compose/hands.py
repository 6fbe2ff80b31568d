"""Who changes the containers of a service: the daemon, or somebody else.

Restoring replicas while `docker compose down` or `up` is still at work would make containers
behind its back. So a service is left alone while somebody else changes it (decision 004).
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.model import ServiceId

QUIET = timedelta(seconds=2)
"""How long after the last event of others a service is left alone. The steps of `docker compose`
follow each other faster than that."""
SLACK = timedelta(seconds=10)
"""A container that outlives its stop signal by its grace and this much was not meant to stop."""


@dataclass(slots=True)
class OtherHands:
    """Tells from the engine's events whether others are changing a service."""

    _touched: dict[ServiceId, datetime] = field(default_factory=dict)
    """When others last changed a service."""
    _stopping: dict[str, tuple[ServiceId, datetime]] = field(default_factory=dict)
    """Containers that others sent a signal, each with when it should have ended at the latest."""

    def notice(
        self, service: ServiceId, event: Mapping[str, Any], now: datetime, grace: timedelta
    ) -> None:
        """Take in a container event that others caused.

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
        """Whether others are changing the service, or did so within the last 2 s."""
        touched = self._touched.get(service)
        # A time ahead of now was noted before the clock was set back.
        if touched is not None and timedelta() <= now - touched < QUIET:
            return True
        return any(
            who == service and now < end
            # A copy: a thread that makes a replica asks while the event loop takes in events.
            for who, end in tuple(self._stopping.values())
        )

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._touched = {who: when for who, when in self._touched.items() if who in services}
        self._stopping = {
            container: entry for container, entry in self._stopping.items() if entry[0] in services
        }


class OwnHands:
    """The containers that the daemon itself is changing, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._clock = clock
        self._under_way: Counter[str] = Counter()
        self._ended: dict[str, float] = {}

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Mark a container as being changed by the daemon."""
        self._under_way[name] += 1
        try:
            yield
        finally:
            self._under_way[name] -= 1
            self._under_way += Counter()  # Drops the names whose count is zero.
            recent = self._clock() - QUIET.total_seconds()
            self._ended = {each: at for each, at in self._ended.items() if at > recent}
            self._ended[name] = self._clock()

    def at_work(self, name: str) -> bool:
        """Whether the daemon is changing a container, or did so just now.

        Events arrive a little after the step that caused them.
        """
        if name in self._under_way:
            return True
        return name in self._ended and self._clock() - self._ended[name] < QUIET.total_seconds()
