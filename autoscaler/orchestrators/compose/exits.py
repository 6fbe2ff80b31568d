"""How replicas end: the daemon stops them, somebody else does, or they end by themselves.

The engine's events tell, for what ends while the daemon watches. For what ended before, exit codes
are all there is. A replica that ends by itself has crashed: starting more would hardly help, so
that is tried again after a growing pause.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from autoscaler.core.backoff import Backoff
from autoscaler.core.durations import format_duration
from autoscaler.core.model import EndedBy, Ending, ServiceId
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.engine import Json

SETTLED = timedelta(seconds=30)
"""A replica that has run for this long has started well."""
REMEMBERED = timedelta(minutes=5)
"""How long a crash is told of, after its pause, where other replicas run and no more are needed."""
_BACKOFF = Backoff(first=timedelta(seconds=10), longest=timedelta(minutes=5))
_WHEN_STOPPED = (0, 137, 143)
"""Exit codes of a worker that was told to stop: it ended well, or by SIGKILL or SIGTERM."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended, as the engine tells."""

    code: int
    at: datetime
    out_of_memory: bool = False
    """Whether the kernel killed it because its memory limit was reached."""
    last_words: str = ""
    """What the engine says went wrong, or the last line of the log; empty without either."""

    @property
    def looks_stopped(self) -> bool:
        """Whether it ended as it would if somebody had stopped it."""
        return self.code in _WHEN_STOPPED and not self.out_of_memory

    def __str__(self) -> str:
        details = ("out of memory" if self.out_of_memory else "", self.last_words)
        told = ": ".join(filter(None, details))
        return f"exit code {self.code}" + (f" ({told})" if told else "")


def may_be_a_stop(event: Json) -> bool:
    """Whether an engine event is an end as it would be if somebody had stopped the container."""
    code = event["Actor"]["Attributes"].get("exitCode", "")
    return event["Action"] == "die" and code in map(str, _WHEN_STOPPED)


class _By(Enum):
    DAEMON = "daemon"
    OTHERS = "others"
    ITSELF = "itself"
    UNKNOWN = "unknown"
    """No event told."""


@dataclass(slots=True)
class _End:
    """The end of a container."""

    by: _By
    at: datetime
    exit: Exit | None = None
    """None until it has been read, which is done where it matters."""
    counted: bool = False
    """Whether it has led to a crash of the service, or was found to be none."""

    @property
    def crashed(self) -> bool:
        """Whether the container ended by itself."""
        if self.by is _By.UNKNOWN:
            return self.exit is not None and not self.exit.looks_stopped
        return self.by is _By.ITSELF


@dataclass(slots=True)
class _Crash:
    """The latest crash of a service that has not recovered from it."""

    container: str
    """Id of the container."""
    story: str
    at: datetime
    """When a look found it."""
    seen: bool
    restarting: bool = False
    """Whether the engine itself keeps restarting the container."""


@dataclass(slots=True)
class _Record:
    """What is known of the replicas of one service, by the ids of their containers."""

    runs: dict[str, datetime] = field(default_factory=dict)
    """Replicas that were seen to run, each with since when."""
    told: set[str] = field(default_factory=set)
    """Replicas that the daemon has told to stop."""
    ends: dict[str, _End] = field(default_factory=dict)
    crash: _Crash | None = None
    backoff: Backoff = _BACKOFF
    crashes: int = 0
    """Crashes that the events have told of, and that were not taken yet."""

    def keep_only(self, containers: Collection[str]) -> None:
        """Forget the containers that are gone, and with its container a crash."""
        self.runs = {id_: since for id_, since in self.runs.items() if id_ in containers}
        self.ends = {id_: end for id_, end in self.ends.items() if id_ in containers}
        self.told.intersection_update(containers)
        if self.crash is not None and self.crash.container not in containers:
            self.crash = None

    def note(self, present: Collection[Container], listed: datetime, now: datetime) -> None:
        """Take in which replicas run, and which do not any more."""
        at_zero = not any(container.running for container in present)
        for container in present:
            if self._knows_later(container.id, listed, now):
                continue
            if container.state in ("running", "paused"):
                self.runs.setdefault(container.id, now)
                self.ends.pop(container.id, None)
                self.told.discard(container.id)
            elif container.state == "restarting":
                self.runs.pop(container.id, None)
            elif container.state in ("exited", "dead"):
                # Beside replicas that run, what had ended before the daemon began tells nothing.
                if container.id not in self.ends and (at_zero or container.id in self.runs):
                    by = _By.DAEMON if container.id in self.told else _By.UNKNOWN
                    self.ends[container.id] = _End(by, now)
                self.runs.pop(container.id, None)

    def _knows_later(self, container: str, listed: datetime, now: datetime) -> bool:
        """Whether a container has ended or come up since the engine was asked for its list."""
        end, since = self.ends.get(container), self.runs.get(container)
        told = None if end is None or end.by is _By.UNKNOWN else end.at
        # A time ahead of now was noted before the clock was set back.
        return any(at is not None and listed < at <= now for at in (told, since))

    def recover(self, now: datetime) -> None:
        """End the crash where a later start went well, or where nobody needed one for a while."""
        crash = self.crash
        if crash is None or crash.restarting:
            return
        settled = any(now - since >= SETTLED for since in self._trials(crash))
        past = now - crash.at >= self.backoff.pause + REMEMBERED
        if settled or (past and self.runs):
            self.crash = None
            self.backoff = self.backoff.succeeded()

    def retry_at(self, crash: _Crash, now: datetime) -> datetime | None:
        """Return when more replicas may be started; None while the engine restarts one."""
        if crash.restarting:
            return None
        trials = self._trials(crash)
        if trials:
            return max(trials) + SETTLED
        return now if self.backoff.ready(now) else self.backoff.retry_at

    def _trials(self, crash: _Crash) -> Collection[datetime]:
        """Return since when each replica runs that was started after a crash."""
        return [since for since in self.runs.values() if since > crash.at]


class Exits:
    """Watches the replicas of every service."""

    def __init__(self, read: Callable[[Container], Awaitable[Exit | None]]) -> None:
        """`read` asks the engine how a container ended; it returns None where that is gone."""
        self._read = read
        self._records: dict[ServiceId, _Record] = {}

    # ------------------------------------------------------------------ what happens

    def started(self, service: ServiceId, container: str, now: datetime) -> None:
        """Watch a replica that the daemon has just started."""
        self._record(service).runs[container] = now

    def told_to_stop(self, service: ServiceId, container: str) -> None:
        """Expect the end of a replica that the daemon stops."""
        self._record(service).told.add(container)

    def came_up(self, service: ServiceId, container: str) -> None:
        """Take in the event of a start: earlier ends of the container no longer count."""
        record = self._record(service)
        record.told.discard(container)
        record.ends.pop(container, None)

    def died(self, service: ServiceId, container: str, now: datetime, *, by_others: bool) -> None:
        """Take in the event of an end; `by_others` says that somebody else had told it to stop."""
        record = self._record(service)
        by = _By.OTHERS if by_others else _By.ITSELF
        if container in record.told:
            by = _By.DAEMON
        record.crashes += by is _By.ITSELF
        # A look may have met the end before its event.
        before = record.ends.get(container)
        record.ends[container] = _End(by, now, counted=before is not None and before.crashed)

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        for service in self._records.keys() - services:
            del self._records[service]

    # ------------------------------------------------------------------ what follows

    async def look(self, replicas: Replicas, listed: datetime, now: datetime) -> Ending | None:
        """Return how replicas have ended that the daemon has not stopped; None where none has.

        `listed` says when the engine was asked for these replicas. Raises EngineError.
        """
        record = self._record(replicas.service)
        record.keep_only({container.id for container in replicas.containers})
        present = (*replicas.running, *replicas.stopped)
        record.note(present, listed, now)
        await self._find_crashes(record, present, now)
        record.recover(now)
        if not replicas.running:
            latest = max(record.ends.values(), key=lambda end: end.at, default=None)
            if latest is not None and latest.by is _By.OTHERS:
                return Ending(EndedBy.HAND, seen=True)
            if latest is not None and latest.by is _By.UNKNOWN and not latest.crashed:
                return Ending(EndedBy.HAND, seen=False)
        crash = record.crash
        if crash is None:
            return None
        retry_at = record.retry_at(crash, now)
        return Ending(EndedBy.ITSELF, crash.seen, crash.story, retry_at)

    def take_crashes(self, service: ServiceId) -> int:
        """Return how many replicas were seen to crash since this was last asked."""
        record = self._record(service)
        crashes, record.crashes = record.crashes, 0
        return crashes

    def _record(self, service: ServiceId) -> _Record:
        return self._records.setdefault(service, _Record())

    async def _find_crashes(
        self, record: _Record, present: Iterable[Container], now: datetime
    ) -> None:
        """Read how replicas have ended where that matters, and note the latest crash."""
        found: list[tuple[Container, _End]] = []
        for container in present:
            end = record.ends.get(container.id)
            if end is None or end.counted or end.by in (_By.DAEMON, _By.OTHERS):
                continue
            end.exit, end.counted = await self._read(container), True
            if end.exit is not None and end.by is _By.UNKNOWN:
                end.at = end.exit.at
            if end.exit is not None and end.crashed:
                found.append((container, end))
        if found:
            record.backoff = record.backoff.failed(now)
            container, end = max(found, key=lambda each: each[1].at)
            pause = format_duration(record.backoff.pause)
            record.crash = _Crash(
                container.id,
                f"{container.name} ended by itself with {end.exit}; replicas are started again"
                f" after {pause}; {_see(container)}",
                now,
                seen=end.by is _By.ITSELF,
            )
        await self._find_restarting(record, present, now)

    async def _find_restarting(
        self, record: _Record, present: Iterable[Container], now: datetime
    ) -> None:
        """Note a replica that the engine itself keeps restarting."""
        container = next((each for each in present if each.state == "restarting"), None)
        crash = record.crash
        if container is not None and (crash is None or not crash.restarting):
            exit_ = await self._read(container)
            after = "" if exit_ is None else f" after {exit_}"
            story = f"{container.name} keeps restarting{after}; {_see(container)}"
            record.crash = _Crash(container.id, story, now, seen=True, restarting=True)
        elif crash is not None:
            crash.restarting = container is not None


def _see(container: Container) -> str:
    return f"see `docker logs {container.name}`"
