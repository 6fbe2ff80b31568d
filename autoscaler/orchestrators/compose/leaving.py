"""Replicas that were told to stop before this process began to watch, and have not ended yet.

The engine lists them as running. Another daemon may have told them, or somebody with `docker
compose stop`: nobody can tell afterwards.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.engine import GONE, Engine, EngineError, Json
from autoscaler.orchestrators.events import past_events

_FILTERS = {"type": ["container"], "event": ["start", "kill", "die", "destroy"]}


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that was sent to a container."""

    number: int
    at: datetime
    """By the engine's clock."""


async def told_before(
    engine: Engine,
    inventory: Inventory,
    clock: Callable[[], datetime],
    running: Collection[Container],
) -> Mapping[str, datetime]:
    """Return when each of these containers was last told to stop, by the clock of this process.

    Those that were not are left out. Raises EngineError.
    """
    try:
        past = await past_events(engine, _FILTERS)
    except EngineError as error:
        if error.status is None:
            raise
        # What stands before the engine may keep its events to itself. Then nothing is known.
        return {}
    now = clock()
    sent = signals_sent(past.events)
    told: dict[str, datetime] = {}
    for container in running:
        stops = await _stops(inventory, container) if container.id in sent else frozenset()
        at = max(
            (each.at for each in sent.get(container.id, ()) if each.number in stops), default=None
        )
        if at is not None:
            # The clock of the engine may differ from the one here.
            told[container.id] = now + (at - past.at)
    return told


async def _stops(inventory: Inventory, container: Container) -> frozenset[int | None]:
    """Return the numbers of the signals that tell a container to stop; none where it is gone."""
    try:
        traits = await inventory.traits(container)
    except EngineError as error:
        if error.status not in GONE:
            raise
        return frozenset()
    return frozenset({signal_number(traits.stop_signal), signal.SIGKILL})


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
