"""Made-up ticks, from a quiet service to a thousand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from autoscaler.core.backlog import QueueStats, SharedQueue, TaskQueue
from autoscaler.core.drain import Drain, Fate, Verdict
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.override import Override
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.report import IntegrationReport, ServiceReport, TickReport
from autoscaler.core.schedule import Bounds, NextBounds
from autoscaler.core.words import counted
from tests.fakes.clock import START

TARGET = 10

EVENING = NextBounds(
    datetime(2027, 1, 8, 18, tzinfo=UTC), Bounds(1, 1000), ZoneInfo("Europe/Berlin")
)
"""The next change of the bounds by a schedule."""
PAUSE = Override(
    ServiceId("compose", "shop/worker"),
    "mode",
    "off",
    START,
    START + timedelta(hours=1),
    "anna",
    "deploy",
)
"""A service that was paused live."""
LATE = Verdict(
    Drain("id3", "shop-worker-3", ServiceId("compose", "shop/worker"), START, timedelta(), None),
    Fate.FINISH,
    "draining, 1 task running, 4m beyond its grace",
)
"""A replica that was told to stop and takes longer than it should."""


def service(name: str = "shop/worker", waiting: int | None = 0, **seen: Any) -> ServiceReport:
    """Report a service that has the replicas it should have, unless told otherwise."""
    queue = seen.pop("queue", "orders")
    parts = {}
    if waiting is not None:
        age = timedelta(seconds=min(waiting, 90) / 4)
        rate = min(waiting, 60) / 7
        parts = {
            TaskQueue("default", None, queue, QueueType.WORKFLOW): QueueStats(
                waiting // 4, age / 2, rate, rate / 2, pollers=2
            ),
            TaskQueue("default", None, queue, QueueType.ACTIVITY): QueueStats(
                waiting - waiting // 4, age, rate, rate / 2, pollers=2
            ),
        }
    well: dict[str, Any] = {
        "replicas": 1,
        "desired": 1,
        "wished": seen.get("desired", 1),
        "queues": (queue,),
        "backlog": waiting,
        "age": None if waiting is None else max(stats.age for stats in parts.values()),
        "parts": parts,
        "min": 1,
        "max": 20,
        "reasons": (_because(waiting),),
    }
    return ServiceReport(ServiceId("compose", name), **(well | seen))


def shared(report: ServiceReport, whole: int, *others: str) -> ServiceReport:
    """Return a report whose backlog is a portion: `whole` activities wait, for others too."""
    sharers = compose(*others)
    queues = {
        queue: SharedQueue(
            replace(stats, waiting=whole if queue.type is QueueType.ACTIVITY else 0),
            sharers,
            leads=True,
            grows=True,
            beside=1,
        )
        for queue, stats in report.parts.items()
    }
    return replace(report, shared=queues)


def compose(*names: str) -> tuple[ServiceId, ...]:
    """Name services of Compose."""
    return tuple(ServiceId("compose", name) for name in names)


def scaled(report: ServiceReport, desired: int) -> ServiceReport:
    """Return a report with a change of replicas that its tick started."""
    action = ScalingAction(report.service, report.replicas, desired, report.reasons)
    return replace(report, desired=desired, action=action)


def broken(name: str = "shop/mailer") -> ServiceReport:
    """Report a service whose labels are wrong."""
    return ServiceReport(
        ServiceId("compose", name),
        2,
        2,
        errors=(
            "temporal.quue is not a label, the nearest is temporal.queue",
            "temporal.max='many' must be a whole number from 1 to 10000",
        ),
    )


def integration(name: str = "default", **found: Any) -> IntegrationReport:
    """Report a Temporal connection that answers, unless told otherwise."""
    well: dict[str, Any] = {
        "endpoint": "temporal:7233",
        "namespace": "default",
        "origin": "environment",
        "up": True,
    }
    return IntegrationReport(name, **(well | found))


def tick(*services: ServiceReport, at: datetime = START, **rest: Any) -> TickReport:
    """Report a tick that took 20 ms."""
    return TickReport(at, services, **({"took": timedelta(milliseconds=20)} | rest))


def busy_hour(end: datetime, services: int = 1) -> Iterator[TickReport]:
    """Report an hour in which every service sees two waves of work, a tick every 15 s."""
    replicas = [1] * services
    for number in range(241):
        told = []
        for index in range(services):
            phase = (number + 17 * index) / 240 * 2 * math.tau
            waiting = max(0, int((190 - 7 * (index % 9)) * math.sin(phase)))
            wanted = max(1, min(20, -(-waiting // TARGET)))
            now = replicas[index]
            waits = wanted < now and number % 8
            report = service(
                f"shop/worker-{index}" if services > 1 else "shop/worker",
                waiting,
                replicas=now,
                desired=now,
                busy=min(now, waiting),
                reasons=_decision(waiting, wanted, now, waits=bool(waits)),
            )
            if wanted != now and not waits:
                report = scaled(report, wanted)
                replicas[index] = wanted
            told.append(report)
        yield tick(*told, at=end - timedelta(seconds=15 * (240 - number)))


def _because(waiting: int | None) -> Reason:
    if waiting is None:
        return Reason(ReasonCode.BACKLOG_UNKNOWN, "backlog unknown", "keeps 1")
    wanted = -(-waiting // TARGET)
    text = f"{counted(waiting, 'waiting task')} at target {TARGET}"
    return Reason(ReasonCode.BACKLOG, text, f"{wanted}")


def _decision(waiting: int, wanted: int, replicas: int, *, waits: bool) -> tuple[Reason, ...]:
    """Say how a service of the busy hour came to its number; `waits`: a window holds it."""
    steps = [_because(waiting)]
    if waits:
        text = f"some of the last 2m called for {replicas} (scale-in window)"
        steps.append(Reason(ReasonCode.SCALE_IN_WINDOW, text, kept(replicas, replicas)))
    elif not waiting:
        steps.append(Reason(ReasonCode.MIN, "", f"{kept(wanted, replicas)} (min)"))
    return tuple(steps)
