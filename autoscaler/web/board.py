"""What the page shows: the latest tick, and as much of the last hour as fits in memory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from autoscaler.core.redaction import Redactor
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.web import wire
from autoscaler.web.trail import Trail
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

    row: Wire = field(default_factory=dict)
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
        self._latest = Event("tick", "{}")
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
        services = {key: self._note(key, service, report) for key, service in told.items()}
        gone = sorted(self._entries.keys() - told.keys())
        if report.errors:
            # Those of an orchestrator that does not answer are not gone.
            services |= {key: self._lose(key) for key in gone}
            gone = []
        for key in gone:
            del self._entries[key]
        self._tick = {
            "at": wire.moment(report.at),
            "took": round(report.took.total_seconds(), 3),
            "errors": [self._hide(error) for error in report.errors],
            "integrations": [wire.integration(one, self._hide) for one in report.integrations],
        }
        moved = {key: news for key, news in services.items() if news}
        self._latest = Event("tick", _json({**self._tick, "services": moved, "gone": gone}))
        self._revision += 1
        self._ticked_at = self._clock()
        self._news.set()
        self._news = asyncio.Event()

    def services(self) -> Wire:
        """Return what the latest tick saw, for programs."""
        services = [
            {**entry.row, "changes": list(entry.changes)} for entry in self._entries.values()
        ]
        return {**self._tick, "services": services}

    async def follow(self, silence: timedelta) -> AsyncGenerator[Event | None]:
        """Give the whole state, then each tick's changes for ever; None after each `silence`.

        Whoever reads too slowly to see every tick is given the whole state again instead.
        """
        seen = -1
        while True:
            news = self._news
            if seen != self._revision:
                missed = seen < 0 or seen < self._revision - 1
                seen = self._revision
                yield self._state() if missed else self._latest
                continue
            try:
                async with asyncio.timeout(silence.total_seconds()):
                    await news.wait()
            except TimeoutError:
                yield None

    def _state(self) -> Event:
        services = {
            key: {**entry.row, "trail": entry.trail.points, "changes": list(entry.changes)}
            for key, entry in self._entries.items()
        }
        about = {
            "version": self._about.version,
            "prefix": self._about.prefix,
            "poll_interval": self._about.poll_interval.total_seconds(),
            "stalled_after": self._about.stalled_after.total_seconds(),
        }
        return Event("state", _json({**self._tick, "about": about, "services": services}))

    def _note(self, key: str, service: ServiceReport, report: TickReport) -> Wire:
        """Remember a service, and return what is new: its point and change are for the trail."""
        entry = self._entries.setdefault(key, _Entry())
        row = wire.service(service, self._hide)
        news = wire.changed(entry.row, row)
        entry.row = row
        point = entry.trail.note(report.at, service.backlog, service.replicas)
        if point is not None:
            news["point"] = point
        if service.action is not None:
            entry.changes.append(wire.change(service.action, report.at, self._hide))
            news["change"] = entry.changes[-1]
        return news

    def _lose(self, key: str) -> Wire:
        """Keep what was seen last of a service that could not be looked at."""
        entry = self._entries[key]
        row = {**entry.row, "unseen": True}
        news = wire.changed(entry.row, row)
        entry.row = row
        return news


def _key(service: ServiceReport) -> str:
    return f"{service.service.orchestrator}:{service.service.name}"


def _json(value: Wire) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
