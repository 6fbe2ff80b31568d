"""The engine's events: what users do with Compose and Swarm is seen at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from autoscaler.core.backoff import Backoff
from autoscaler.orchestrators.engine import Engine, EngineError, Json

_FILTERS = {
    "type": ["container", "service"],
    "event": ["create", "start", "kill", "die", "destroy", "rename", "update", "remove"],
}
"""What can change the replicas or the labels of a service. Health checks and execs cannot."""


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
