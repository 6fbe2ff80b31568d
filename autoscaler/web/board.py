"""What the page shows: the latest tick, and as much of the last hour as fits in memory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler import present
from autoscaler.core.causes import causes
from autoscaler.core.labels import label_docs
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override, by_service
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.present import Plain, Remembered
from autoscaler.web.trail import Point, Trail

LAST_CHANGES = 5
"""How many changes of replicas are remembered for each service."""


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while the daemon runs."""

    version: str
    prefix: str
    """First part of every label."""
    poll_interval: timedelta
    stalled_after: timedelta
    """How long no tick may end before the loop counts as stalled."""
    changeable: bool = False
    """Whether the page can set overrides: whether there is an access token."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message of the stream."""

    name: str
    """`state`, with everything, or `tick`, with what a tick changed."""
    data: str
    """A JSON object in one line."""


@dataclass(slots=True)
class _Entry:
    """What is remembered of one service."""

    report: ServiceReport
    """The latest that there is."""
    unseen: bool = False
    """Whether the latest tick did not see the service, so that the report is older."""
    trail: Trail = field(default_factory=Trail)
    changes: deque[Plain] = field(default_factory=lambda: deque(maxlen=LAST_CHANGES))
    """The oldest first."""
    at_max_since: datetime | None = None
    """The first of the latest ticks in a row in which max kept the service from growing."""


class Board:
    """An observer that remembers what ticks saw, and returns or streams it."""

    def __init__(
        self, about: About, clock: Callable[[], float], redactor: Redactor | None = None
    ) -> None:
        """`clock` gives seconds that never go back; the redactor's secrets are never shown."""
        self._about = about
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._entries: dict[ServiceId, _Entry] = {}
        self._summary: Plain = present.BEFORE_THE_FIRST_TICK
        self._causes: Mapping[str, datetime] = {}
        """When what befalls several services was first seen, by the names of the causes."""
        self._overrides: Mapping[ServiceId, Sequence[Override]] = {}
        """What was set live, of the latest tick."""
        self._revision = 0
        """Number of the latest tick."""
        self._ticked_at = clock()
        self._next_tick = asyncio.Event()
        self._streams = 0
        """How many streams are open."""
        self._sent: Mapping[str, Plain] = {}
        """The services as open streams know them. Without a stream they are out of date."""
        self._latest: Event | None = None
        """What the latest tick changed; None where no stream was open."""

    @property
    def about(self) -> About:
        """What does not change while the daemon runs."""
        return self._about

    @property
    def stalled(self) -> bool:
        """Whether the loop has stopped ticking, or never began."""
        return self._clock() - self._ticked_at > self._about.stalled_after.total_seconds()

    @property
    def ready(self) -> bool:
        """Whether there was a tick, and the engine answered in the latest one."""
        return self._revision > 0 and not self._summary["errors"] and not self.stalled

    def observe(self, report: TickReport) -> None:
        """Record a tick, and send what it changed to every open stream."""
        points = {
            _key(service.service): self._record(service, report.at) for service in report.services
        }
        for id_ in report.unseen:
            if id_ in self._entries:
                self._entries[id_].unseen = True
        present_now = {service.service for service in report.services}.union(report.unseen)
        gone = sorted(self._entries.keys() - present_now)
        for id_ in gone:
            del self._entries[id_]
        self._causes = {
            cause.name: self._causes.get(cause.name, report.at) for cause in causes(report)
        }
        self._summary = present.summary(report, self._redactor, self._causes)
        self._overrides = by_service(report.overrides)
        # Comparing is most of the work of a tick here: it is done only for those who stream.
        self._latest = self._changes(points, list(map(_key, gone))) if self._streams else None
        self._revision += 1
        self._ticked_at = self._clock()
        self._next_tick.set()
        self._next_tick = asyncio.Event()

    @property
    def reports(self) -> Sequence[ServiceReport]:
        """The latest report of each service."""
        return [entry.report for entry in self._entries.values()]

    def services(self) -> Plain:
        """Return the latest tick as `/api/services` has it."""
        return {**self._summary, "services": list(self._rows().values())}

    async def stream(self, silence: timedelta) -> AsyncGenerator[Event | None]:
        """Yield the whole state, then what each tick changes, for ever.

        None is yielded after each `silence` without a tick. Whoever reads too slowly to see every
        tick is given the whole state again.
        """
        revision = -1
        self._streams += 1
        try:
            while True:
                next_tick = self._next_tick
                if revision != self._revision:
                    missed = revision < 0 or revision < self._revision - 1
                    revision = self._revision
                    yield self._state() if missed or self._latest is None else self._latest
                    continue
                try:
                    async with asyncio.timeout(silence.total_seconds()):
                        await next_tick.wait()
                except TimeoutError:
                    yield None
        finally:
            self._streams -= 1

    def _record(self, service: ServiceReport, at: datetime) -> Point | None:
        """Remember a service; return its point of the plot where this tick made or moved it."""
        entry = self._entries.setdefault(service.service, _Entry(service))
        entry.report, entry.unseen = service, False
        entry.at_max_since = (entry.at_max_since or at) if service.at_max else None
        if service.action is not None:
            entry.changes.append(present.change(service.action, at, self._redactor))
        return entry.trail.add(at, service.backlog, service.replicas)

    def _rows(self) -> Mapping[str, Plain]:
        """Return every service by its key."""
        return {
            _key(id_): present.service(
                entry.report,
                self._redactor,
                Remembered(entry.unseen, entry.at_max_since, entry.changes),
                overrides=self._overrides.get(id_, ()),
            )
            for id_, entry in self._entries.items()
        }

    def _state(self) -> Event:
        """Return everything, and remember what the stream now knows."""
        self._sent = self._rows()
        trails = {_key(id_): entry.trail.points for id_, entry in self._entries.items()}
        services = {key: {**row, "trail": trails[key]} for key, row in self._sent.items()}
        about = {
            "version": self._about.version,
            "prefix": self._about.prefix,
            "defaults": {doc.name: doc.default for doc in label_docs(self._about.prefix)},
            "changeable": self._about.changeable,
            "poll_interval": self._about.poll_interval.total_seconds(),
            "stalled_after": self._about.stalled_after.total_seconds(),
        }
        return Event("state", _line({**self._summary, "about": about, "services": services}))

    def _changes(self, points: Mapping[str, Point | None], gone: Sequence[str]) -> Event:
        """Return what a tick changed: for each service the fields that differ, and its point."""
        rows = self._rows()
        changed: dict[str, Plain] = {}
        for key, row in rows.items():
            before = self._sent.get(key, {})
            news = {name: value for name, value in row.items() if before.get(name, ...) != value}
            if (point := points.get(key)) is not None:
                news["point"] = point
            if news:
                changed[key] = news
        self._sent = rows
        return Event("tick", _line({**self._summary, "services": changed, "gone": gone}))


def _key(service: ServiceId) -> str:
    return f"{service.orchestrator}:{service.name}"


def _line(value: Plain) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
