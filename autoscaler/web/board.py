"""What the page shows: the latest tick, and as much of the last hour as fits in memory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from autoscaler.core.redaction import Redactor
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.web import wire
from autoscaler.web.trail import Point, Trail
from autoscaler.web.wire import Wire

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


@dataclass(frozen=True, slots=True)
class Event:
    """One message of the stream: everything at its beginning, then what a tick changed."""

    name: str
    """`state` or `tick`."""
    data: str
    """A JSON object in one line."""


@dataclass(slots=True)
class _Entry:
    """One service: what the latest tick said of it, and what happened before."""

    report: ServiceReport
    unseen: bool = False
    """Whether the latest tick could not look at it: what is shown is older."""
    row: Wire | None = None
    """The two as they are shown, once somebody has looked."""
    trail: Trail = field(default_factory=Trail)
    changes: deque[Wire] = field(default_factory=lambda: deque(maxlen=LAST_CHANGES))


class Board:
    """An observer that remembers what it saw, and can be read and followed."""

    def __init__(
        self, about: About, clock: Callable[[], float], redactor: Redactor | None = None
    ) -> None:
        """`clock` gives seconds that never go back; no secret that `redactor` knows is shown."""
        self._about = about
        self._hide = (redactor or Redactor()).hide
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._tick: Wire = {"at": None, "took": 0.0, "errors": [], "integrations": []}
        self._revision = 0
        self._followers = 0
        self._latest: Event | None = None
        """What the latest tick changed, where anybody followed it."""
        self._ticked_at = clock()
        self._news = asyncio.Event()

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
        return self._revision > 0 and not self._tick["errors"] and not self.stalled

    def observe(self, report: TickReport) -> None:
        """Take note of a tick, and tell those who follow what it changed."""
        told = {_key(service): service for service in report.services}
        before = self._rows() if self._followers else {}
        points = {key: self._note(key, service, report) for key, service in told.items()}
        gone = sorted(self._entries.keys() - told.keys())
        if report.errors:
            # Those of an orchestrator that does not answer are not gone.
            for key in gone:
                self._lose(self._entries[key])
            gone = []
        for key in gone:
            del self._entries[key]
        self._tick = {
            "at": wire.moment(report.at),
            "took": round(report.took.total_seconds(), 3),
            "errors": [self._hide(error) for error in report.errors],
            "integrations": [wire.integration(one, self._hide) for one in report.integrations],
        }
        # With nobody there it would be most of what observing a tick costs, for nothing.
        self._latest = self._changes(report, before, points, gone) if self._followers else None
        self._revision += 1
        self._ticked_at = self._clock()
        self._news.set()
        self._news = asyncio.Event()

    def services(self) -> Wire:
        """Return what the latest tick saw, for programs."""
        services = [
            {**self._row(entry), "changes": list(entry.changes)} for entry in self._entries.values()
        ]
        return {**self._tick, "services": services}

    async def follow(self, silence: timedelta) -> AsyncGenerator[Event | None]:
        """Give the whole state, then each tick's changes for ever; None after each `silence`.

        Whoever reads too slowly to see every tick is given the whole state again instead.
        """
        seen = -1
        self._followers += 1
        try:
            while True:
                news = self._news
                if seen != self._revision:
                    missed = seen < 0 or seen < self._revision - 1
                    seen = self._revision
                    yield self._state() if missed or self._latest is None else self._latest
                    continue
                try:
                    async with asyncio.timeout(silence.total_seconds()):
                        await news.wait()
                except TimeoutError:
                    yield None
        finally:
            self._followers -= 1

    def _state(self) -> Event:
        services = {
            key: {**self._row(entry), "trail": entry.trail.points, "changes": list(entry.changes)}
            for key, entry in self._entries.items()
        }
        about = {
            "version": self._about.version,
            "prefix": self._about.prefix,
            "poll_interval": self._about.poll_interval.total_seconds(),
            "stalled_after": self._about.stalled_after.total_seconds(),
        }
        return Event("state", _json({**self._tick, "about": about, "services": services}))

    def _note(self, key: str, service: ServiceReport, report: TickReport) -> Point | None:
        """Remember a service; return its point of the plot where this tick made or moved it."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(service)
        entry.report, entry.unseen, entry.row = service, False, None
        if service.action is not None:
            entry.changes.append(wire.change(service.action, report.at, self._hide))
        return entry.trail.note(report.at, service.backlog, service.replicas)

    @staticmethod
    def _lose(entry: _Entry) -> None:
        """Keep what was seen last of a service that could not be looked at."""
        if not entry.unseen:
            entry.unseen, entry.row = True, None

    def _row(self, entry: _Entry) -> Wire:
        if entry.row is None:
            entry.row = {**wire.service(entry.report, self._hide), "unseen": entry.unseen}
        return entry.row

    def _rows(self) -> dict[str, Wire]:
        return {key: self._row(entry) for key, entry in self._entries.items()}

    def _changes(
        self,
        report: TickReport,
        before: Mapping[str, Wire],
        points: Mapping[str, Point | None],
        gone: Sequence[str],
    ) -> Event:
        """Put into words what a tick changed: for the trails, points and changes of replicas."""
        acted = {_key(service) for service in report.services if service.action is not None}
        moved = {}
        for key, row in self._rows().items():
            news = wire.changed(before.get(key, {}), row)
            if (point := points.get(key)) is not None:
                news["point"] = point
            if key in acted:
                news["change"] = self._entries[key].changes[-1]
            if news:
                moved[key] = news
        return Event("tick", _json({**self._tick, "services": moved, "gone": gone}))


def _key(service: ServiceReport) -> str:
    return f"{service.service.orchestrator}:{service.service.name}"


def _json(value: Wire) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
