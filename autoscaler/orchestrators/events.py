"""The engine's events: what users do with Compose and Swarm is seen at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.orchestrators.changes import Changes
from autoscaler.orchestrators.engine import Engine, EngineError, Json

_FILTERS = {
    "type": ["container", "service"],
    "event": ["create", "start", "kill", "die", "destroy", "rename", "update", "remove"],
}
"""What can change the replicas or the labels of a service; health checks and execs cannot."""


class EngineEvents:
    """Follows the engine's event stream, and follows it again when it breaks off."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        changes: Changes,
        listeners: Sequence[Callable[[Json], timedelta | None]] = (),
    ) -> None:
        """Count events in `changes` and show them to `listeners`.

        Each of these may ask to be looked at again after a time.
        """
        self._engine = engine
        self._clock = clock
        self._changes = changes
        self._listeners = listeners
        self._since: int | None = None

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` for every event, and once whenever the stream stands again.

        Goes on until cancelled. Events during a break are asked for by the time of the last
        one seen; an engine that does not answer is tried again after 1 s, doubling up to 30 s.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        again: asyncio.TimerHandle | None = None

        def seen(event: Json) -> None:
            nonlocal backoff, again
            backoff = backoff.succeeded()
            if event:
                self._changes.noticed()
                self._since = event["time"]
                pauses = [listener(event) for listener in self._listeners]
                longest = max((pause for pause in pauses if pause is not None), default=None)
                if longest is not None:
                    if again is not None:
                        again.cancel()
                    again = loop.call_later(longest.total_seconds(), changed)
            else:
                self._changes.stands()
            changed()

        while True:
            # The next tick meets the same engine and reports what ails it.
            with contextlib.suppress(EngineError):
                await self._engine.follow(_FILTERS, self._since, seen)
            self._changes.broke_off()
            backoff = backoff.failed(self._clock())
            await asyncio.sleep(backoff.pause.total_seconds())
