"""Who changes the containers of a service: the daemon, or somebody else.

Restoring replicas while `docker compose down` or `up` is still at work would make containers
behind its back. So a service is left alone while somebody else changes it (decision 004).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.drain import SIGNAL_SLACK
from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.engine import EngineError

QUIET = timedelta(seconds=2)
"""How long after the last event of others a service is left alone. The steps of `docker compose`
follow each other faster than that."""
UNSURE = timedelta(minutes=1)
"""How long after a step that got no answer its events may still come: once their stream has been
opened again. The engine may have done what it was asked for."""


@dataclass(slots=True)
class OtherHands:
    """Tells from the engine's events whether others are changing a service."""

    _touched: dict[ServiceId, datetime] = field(default_factory=dict)
    """When others last changed a service."""
    _stopping: dict[str, tuple[ServiceId, datetime]] = field(default_factory=dict)
    """Containers that others sent a signal, each with when it should have ended at the latest."""
    _made: dict[str, ServiceId] = field(default_factory=dict)
    """Containers that others have made and not started since."""

    def notice(
        self,
        service: ServiceId,
        event: Mapping[str, Any],
        now: datetime,
        grace: timedelta,
        *,
        untold: bool = False,
    ) -> None:
        """Take in a container event that others caused.

        `grace` is how long a container of the service may take to stop. `untold` says of an end
        that others may have caused it and no event has told of a signal.
        """
        container = event["Actor"]["ID"]
        if event["Action"] == "create":
            self._made[container] = service
        elif event["Action"] in ("start", "destroy"):
            self._made.pop(container, None)
        match event["Action"]:
            case "kill":
                # The signal may also mean a reload: then the container outlives its grace.
                self._stopping[container] = service, now + grace + SIGNAL_SLACK
            case "die" if container in self._stopping:
                del self._stopping[container]
            case "destroy":
                self._stopping.pop(container, None)
            case "die" if untold:
                pass
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

    def stopping(self, container: str, now: datetime) -> bool:
        """Whether others have sent a container a signal that it may be about to end by."""
        return container in self._stopping and now < self._stopping[container][1]

    def made(self, container: str) -> bool:
        """Whether others were seen to make a container that has not been started since."""
        return container in self._made

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._made = {each: who for each, who in self._made.items() if who in services}
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
        self._until: dict[str, float] = {}
        """Until when events of a container may still be those of the daemon's last step."""

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Mark a container as being changed by the daemon."""
        self._under_way[name] += 1
        late = QUIET
        try:
            yield
        except EngineError as error:
            if error.status is None:
                late = UNSURE
            raise
        finally:
            self._under_way[name] -= 1
            self._under_way += Counter()  # Drops the names whose count is zero.
            now = self._clock()
            self._until = {each: until for each, until in self._until.items() if now < until}
            self._until[name] = now + late.total_seconds()

    def busy_with(self, name: str) -> bool:
        """Whether the daemon is changing a container."""
        return name in self._under_way

    def at_work(self, name: str) -> bool:
        """Whether the daemon is changing a container, or did so just now.

        Events arrive a little after the step that caused them, and later where the engine's answer
        was lost.
        """
        return self.busy_with(name) or self._clock() < self._until.get(name, -math.inf)
