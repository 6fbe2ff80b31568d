"""The engine's events: what users do with Compose and Swarm is seen at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

from docker import APIClient

from autoscaler.core.backoff import Backoff
from autoscaler.orchestrators.engine import Engine, EngineError, Json, api_url

_FILTERS = {
    "type": ["container", "service"],
    "event": ["create", "start", "kill", "die", "destroy", "rename", "update", "remove"],
}
"""What can change the replicas or the labels of a service. Health checks and execs cannot."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the engine remembers of its events."""

    events: Sequence[Json]
    """The oldest first."""
    at: datetime
    """When it was asked, by the engine's own clock, to the second."""


async def past_events(engine: Engine, filters: Mapping[str, Sequence[str]]) -> Past:
    """Return the events of the engine until now, as far as it remembers. Raises EngineError.

    Docker remembers the latest 256 events of all kinds, those of health checks among them. To ask
    takes up to a second.
    """

    def work(client: APIClient) -> Past:
        at = _engine_time(client)
        # The Date has whole seconds. The engine ends its answer when the second is over.
        until = math.floor(at.timestamp()) + 1
        answer = client.get(
            api_url(client, "/events"),
            params={"since": "0", "until": str(until), "filters": json.dumps(filters)},
            timeout=client.timeout,
        )
        answer.raise_for_status()
        return Past([json.loads(line) for line in answer.iter_lines()], at)

    return await engine.call("reading the engine's past events", work)


def _engine_time(client: APIClient) -> datetime:
    """Return the time by the clock of the engine, which may differ from the one here."""
    answer = client.get(api_url(client, "/_ping"), timeout=client.timeout)
    answer.raise_for_status()
    if "Date" not in answer.headers:
        raise EngineError("the engine's answer has no Date", answer.status_code)
    return parsedate_to_datetime(answer.headers["Date"])


class EventListener(Protocol):
    """Wants to know what happens on the engine."""

    def stream_began(self) -> None:
        """Events arrive from now on; what happened before is unknown."""
        ...

    def stream_ended(self) -> None:
        """No events arrive any more."""
        ...

    def happened(self, event: Json) -> timedelta | None:
        """Take in an event; return after how long to look once more, or None for never."""
        ...


class EngineEvents:
    """Reads the engine's event stream, and opens it again when it breaks off."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        listeners: Sequence[EventListener] = (),
    ) -> None:
        """Show each event to the `listeners`."""
        self._engine = engine
        self._clock = clock
        self._listeners = listeners
        self._since: int | None = None
        """Time of the latest event, in seconds since 1970."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` for every event, and whenever the stream has been opened.

        Goes on until cancelled. After a break, the stream is asked for the events since the latest
        one. An engine that does not answer is tried again after 1 s, doubling up to 30 s.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        again: asyncio.TimerHandle | None = None

        def began() -> None:
            nonlocal backoff
            backoff = backoff.succeeded()
            for listener in self._listeners:
                listener.stream_began()
            changed()

        def happened(event: Json) -> None:
            nonlocal again
            self._since = event["time"]
            pauses = [listener.happened(event) for listener in self._listeners]
            longest = max((pause for pause in pauses if pause is not None), default=None)
            if longest is not None:
                if again is not None:
                    again.cancel()
                again = loop.call_later(longest.total_seconds(), changed)
            changed()

        while True:
            # The next tick meets the same engine and reports what is wrong with it.
            with contextlib.suppress(EngineError):
                await self._engine.events(_FILTERS, self._since, began, happened)
            for listener in self._listeners:
                listener.stream_ended()
            backoff = backoff.failed(self._clock())
            await asyncio.sleep(backoff.pause.total_seconds())
