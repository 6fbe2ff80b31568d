"""Replicas that were told to stop before this process began to watch, and have not ended yet.

The engine lists them as running. Another daemon may have told them, or somebody with `docker
compose stop`: nobody can tell afterwards. So they count as draining, and nothing is done to them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.compose.hands import SLACK
from autoscaler.orchestrators.compose.inventory import Groups, Inventory
from autoscaler.orchestrators.engine import GONE, Engine, EngineError, Json
from autoscaler.orchestrators.events import past_events

_FILTERS = {"type": ["container"], "event": ["start", "kill", "die", "destroy"]}
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that was sent to a container."""

    number: int
    at: datetime
    """By the engine's clock."""


class Leaving:
    """Finds such replicas in the engine's past events, once, and forgets them as they end."""

    def __init__(self, engine: Engine, inventory: Inventory, clock: Callable[[], datetime]) -> None:
        """Inspect containers by means of the `inventory`."""
        self._engine = engine
        self._inventory = inventory
        self._clock = clock
        self._ends: Mapping[str, datetime] | None = None
        """When each of them should have ended at the latest; None before the past was read."""

    @property
    def containers(self) -> Collection[str]:
        """Ids of the containers that were told to stop and still run, as of the latest look."""
        return (self._ends or {}).keys()

    def ended(self, container: str) -> None:
        """Take in that a container has ended: if it is started again, it is to stay."""
        if self._ends is not None:
            self._ends = {id_: end for id_, end in self._ends.items() if id_ != container}

    async def look(self, groups: Groups, own: Collection[str]) -> None:
        """Drop those that have ended, or have outlived their signal. Raises EngineError.

        `own` has the ids of those that this process itself is stopping: they are not meant here.
        """
        running = {
            container.id: container
            for replicas in groups.values()
            for container in replicas.containers
            if container.running and container.id not in own
        }
        if self._ends is None:
            self._ends = await self._read(running)
        now = self._clock()
        self._ends = {id_: end for id_, end in self._ends.items() if id_ in running and now < end}

    async def _read(self, running: Mapping[str, Container]) -> Mapping[str, datetime]:
        """Return which of these containers were told to stop, with when they end at the latest."""
        try:
            past = await past_events(self._engine, _FILTERS)
        except EngineError as error:
            if error.status is None:
                raise
            # What stands before the engine may keep its events to itself. Then nothing is known.
            return {}
        now = self._clock()
        ends: dict[str, datetime] = {}
        for id_, signals in signals_sent(past.events).items():
            if id_ in running:
                lasts = await self._lasts(running[id_], signals)
                if lasts is not None:
                    # The clock of the engine may differ from the one here.
                    ends[id_] = _FOREVER if lasts == _FOREVER else now + (lasts - past.at)
        return ends

    async def _lasts(self, container: Container, signals: Collection[Signal]) -> datetime | None:
        """Return until when a container may take to stop; None where no signal told it to."""
        try:
            traits = await self._inventory.traits(container)
        except EngineError as error:
            if error.status not in GONE:
                raise
            return None
        stops = {signal_number(traits.stop_signal), signal.SIGKILL}
        told = [each.at for each in signals if each.number in stops]
        if not told:
            return None
        if traits.grace < 0:
            return _FOREVER
        return max(told) + timedelta(seconds=traits.grace) + SLACK


def signals_sent(events: Iterable[Json]) -> Mapping[str, Collection[Signal]]:
    """Return the signals that each container was sent since it came up, by the ids. Pure."""
    sent: dict[str, list[Signal]] = {}
    for event in events:
        container = event["Actor"]["ID"]
        number: str = event["Actor"]["Attributes"].get("signal", "")
        if event["Action"] != "kill":
            sent.pop(container, None)
        elif number.isdecimal():
            at = datetime.fromtimestamp(event["timeNano"] / 1e9, UTC)
            sent.setdefault(container, []).append(Signal(int(number), at))
    return sent


def signal_number(name: str) -> int | None:
    """Return the number of a signal, as Docker writes signals; None where it is unknown. Pure.

    Docker takes TERM, SIGTERM, 15, and RTMIN+3.
    """
    if name.isdecimal():
        return int(name)
    base, _, offset = name.upper().removeprefix("SIG").partition("+")
    found: int | None = getattr(signal, f"SIG{base}", None)
    if found is None or (offset and not offset.isdecimal()):
        return None
    return int(found) + int(offset or 0)
