"""What becomes of a replica that was told to stop: wait, leave to finish, kill, or take back. Pure.

A stop grace alone would end a worker in the middle of a task. So what the workers of the replica
report decides what happens at its end. Unknown is never zero: a replica whose workers may be at
work is not killed before the drain is over too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from autoscaler.core.durations import format_duration, seconds_passed
from autoscaler.core.in_flight import Worker
from autoscaler.core.model import ServiceId
from autoscaler.core.words import counted

OBEYS_WITHIN = timedelta(seconds=10)
"""How long after its stop signal a worker may still report that it takes tasks: its handler may
have something to do first, and the clocks of two machines may be some seconds apart."""
SIGNAL_SLACK = timedelta(seconds=10)
"""How long after its stop grace a container may still run that the engine itself kills."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A replica that was told to stop and has not ended."""

    id: str
    """The container's id."""
    name: str
    service: ServiceId
    told_at: datetime
    """When it was told to stop; now, while the signal is on its way."""
    grace: timedelta | None
    """Time between stop signal and kill; None: it is never killed."""
    host: str | None
    """Host name that its workers report; None where others may have the same name, so that nobody
    can tell which reports are its own."""
    own: bool = True
    """Whether this process has told it. Otherwise it was found in the engine's past events: another
    daemon may have told it, or somebody else."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the workers of a replica that drains report."""

    workers: tuple[Worker, ...] = ()
    """Those on its host, each with its latest heartbeat; none, where none reports."""
    unknown: bool = False
    """Whether they could not be asked, or cannot be told from the workers of others."""
    before: bool = False
    """Whether any worker of it has reported at an earlier look."""

    @property
    def any(self) -> bool:
        """Whether a worker of it reports, or did, or may."""
        return bool(self.workers) or self.before or self.unknown

    @property
    def running(self) -> int:
        """Tasks that its workers run by their latest reports."""
        return sum(worker.running for worker in self.workers)

    def finished(self, now: datetime) -> bool:
        """Whether its workers take no more tasks and run none.

        That a worker shuts down and runs nothing does not get old. One that ran nothing and sends
        no more heartbeats is over: a worker sends them for as long as it finishes tasks (measured
        with the Python SDK 1.35, which says nothing at the end).
        """
        return (
            bool(self.workers)
            and not self.unknown
            and all(
                each.tells and not each.running and (each.leaving or not each.fresh(now))
                for each in self.workers
            )
        )


NOBODY = Heard()
"""No worker reports, and none did."""
UNKNOWN = Heard(unknown=True)
"""The workers could not be asked."""


class Fate(Enum):
    """What is to be done with a replica that drains."""

    WAIT = "wait"
    """Its stop grace is not over."""
    FINISH = "finish"
    """It is left to finish beyond its stop grace."""
    KILL = "kill"
    TAKE_BACK = "take back"
    """It ignores its stop signal and goes on taking tasks: it counts as a replica again."""
    COUNT = "count"
    """It was not meant to stop, as far as anybody can tell: it counts as a replica again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a replica that drains, and why."""

    drain: Drain
    fate: Fate
    words: str
    """Such as `draining, 2 tasks running, 4m beyond its grace`."""

    @property
    def text(self) -> str:
        """The words with the name of the replica."""
        return f"{self.drain.name}: {self.words}"


Verdicts = Mapping[ServiceId, Sequence[Verdict]]
"""What becomes of the replicas of each service that drain; a service without any is left out."""


def judge(drain: Drain, heard: Heard, limit: timedelta, now: datetime) -> Verdict:
    """Decide about a replica that drains.

    `limit` is how long it may take to finish beyond its stop grace.
    """
    ends = _ends(drain)
    late = ends is not None and now >= ends
    # Within its grace, one that somebody else stops may still be killed by the engine.
    mine = drain.own or late or ends is None
    if mine and drain.host is not None and ignores(heard.workers, drain.told_at, now):
        return Verdict(drain, Fate.TAKE_BACK, "ignores its stop signal and goes on taking tasks")
    if ends is not None and late:
        return _judge_late(drain, heard, over=now >= ends + limit, limit=limit, now=now)
    return Verdict(drain, Fate.WAIT, _words(drain, heard, now))


def _judge_late(
    drain: Drain, heard: Heard, *, over: bool, limit: timedelta, now: datetime
) -> Verdict:
    """Decide about a replica whose stop grace is over; `over`: its drain is over too."""
    # A worker that shuts down was meant to stop, whoever has told it.
    meant = drain.own or (bool(heard.workers) and all(each.leaving for each in heard.workers))
    if not meant and (over or not heard.any):
        return Verdict(drain, Fate.COUNT, "outlived its stop signal")
    because = ""
    if over:
        because = ", ".join((f"its drain of {format_duration(limit)} is over", *_work(heard, now)))
    elif heard.finished(now):
        because = "its grace is over and it runs no task"
    elif not heard.any:
        because = "its grace is over and no worker reports"
    if because:
        return Verdict(drain, Fate.KILL, f"is killed, {because}")
    return Verdict(drain, Fate.FINISH, _words(drain, heard, now))


def _ends(drain: Drain) -> datetime | None:
    """Return when the stop grace of a replica is over; None where it never is.

    What was found in the past may have been told by somebody else: then the engine kills it, a
    little later, and not this process.
    """
    if drain.grace is None:
        return None
    return drain.told_at + drain.grace + (timedelta() if drain.own else SIGNAL_SLACK)


def ignores(workers: Iterable[Worker], told_at: datetime, now: datetime) -> bool:
    """Whether any of these workers takes new tasks although it was told to stop at `told_at`."""
    return any(
        not worker.leaving
        and worker.at is not None
        and worker.at - told_at > OBEYS_WITHIN
        and worker.fresh(now)
        for worker in workers
    )


def _words(drain: Drain, heard: Heard, now: datetime) -> str:
    return ", ".join(("draining", *_work(heard, now), *_late(drain, now)))


def _work(heard: Heard, now: datetime) -> Sequence[str]:
    """Say what a replica runs, as far as anybody knows."""
    if heard.running:
        return (f"{counted(heard.running, 'task')} running",)
    if heard.unknown:
        return ("it is unknown what it runs",)
    if heard.workers and not heard.finished(now):
        return ("it has not said yet that it runs none",)
    if heard.before and not heard.workers:
        return ("no longer reporting",)
    return ()


def _late(drain: Drain, now: datetime) -> Sequence[str]:
    """Say how long ago the grace of a replica was over."""
    if drain.grace is None or now < drain.told_at + drain.grace:
        return ()
    beyond = now - drain.told_at - drain.grace
    return (f"{format_duration(seconds_passed(beyond))} beyond its grace",)
