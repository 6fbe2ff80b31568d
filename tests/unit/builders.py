"""Short ways to say what a test is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.advice import advise
from autoscaler.core.backlog import Backlog, BuildStatus, QueueStats, TaskQueue, UnknownBacklog
from autoscaler.core.decide import decide
from autoscaler.core.history import History, Sample
from autoscaler.core.in_flight import InFlight, SlotKind, Slots, UnknownInFlight, Worker
from autoscaler.core.label_values import Mode, QueueType, StepLimit
from autoscaler.core.model import Ceiling, Ending, Replica
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import ScalingSpec
from tests.fakes.clock import START as NOW

UNKNOWN = UnknownBacklog(("Temporal does not answer",))
NOT_READ = UnknownBacklog(())
"""The backlog of a service that nobody asked about, such as one whose mode is off."""
INSTANT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Past = Sequence[tuple[timedelta, int]]
"""Numbers of replicas, and how long ago each was noted."""


def stats(waiting: int, **rest: Any) -> QueueStats:
    """Describe a task queue in which `waiting` tasks wait and nothing else is going on."""
    nothing = QueueStats(waiting, age=timedelta(), add_rate=0.0, dispatch_rate=0.0)
    return replace(nothing, **rest)


def task_queue(
    name: str = "orders",
    type_: QueueType = QueueType.WORKFLOW,
    *,
    integration: str = "default",
    namespace: str | None = None,
) -> TaskQueue:
    """Name a task queue of the default integration."""
    return TaskQueue(integration, namespace, name, type_)


def backlog(waiting: int, **rest: Any) -> Backlog:
    """Describe the backlog of a service with one task queue and type."""
    return Backlog({task_queue(): stats(waiting, **rest)})


def remembered(past: Past = (), changes: Past = (), **rest: Any) -> History:
    """Describe a service with one replica that has been quiet for a day.

    `past` holds the recommendations, `changes` the replicas that were added or removed.
    """
    quiet = History(
        replicas=1,
        known_at=NOW,
        active_at=NOW - DAY,
        recommendations=tuple(Sample(NOW - age, number) for age, number in past),
        changes=tuple(Sample(NOW - age, number) for age, number in changes),
        lively=backlog(1).lively_queues,
    )
    return replace(quiet, **rest)


def situation(  # noqa: PLR0913 - all that differs between situations
    *,
    waiting: int | Backlog | UnknownBacklog | None = 0,
    replicas: int = 1,
    past: Past | History = (),
    ceiling: Ceiling | None = None,
    refusal: str | None = None,
    ending: Ending | None = None,
    **spec: Any,
) -> Situation:
    """Describe a situation in which the number of replicas has not changed since the last look.

    `waiting` is a number of tasks, a backlog, or None where the backlog is unknown. `past` holds
    recommendations, or is the whole history.
    """
    seen = backlog(waiting) if isinstance(waiting, int) else waiting
    history = past if isinstance(past, History) else remembered(past)
    return Situation(
        spec=ScalingSpec(**{"queues": ("orders",)} | spec),
        replicas=replicas,
        backlog=UNKNOWN if seen is None else seen,
        history=replace(history, replicas=replicas),
        now=NOW,
        ceiling=ceiling,
        refusal=refusal,
        ending=ending,
        grace=30 * SECOND,
    )


def limits(text: str) -> tuple[StepLimit, ...]:
    """Read step limits as they are written on a label."""
    return tuple(map(StepLimit.parse, text.split(",")))


ONE_BUILD: Mapping[str, Any] = {
    "min": 0,
    "cooldown": timedelta(),
    "deployment": "shop",
    "build_id": "v1",
}
"""What the labels say of a service that runs one build of a Worker Deployment."""


def of_build(status: BuildStatus, waiting: int = 0) -> Backlog:
    """Describe the backlog of a service that runs one build of a Worker Deployment."""
    return backlog(waiting, build=status)


def codes(decision: Decision) -> list[ReasonCode]:
    """Return what moved a decision, the recommendation first."""
    return [reason.code for reason in decision.reasons]


def is_left_alone(given: Situation) -> bool:
    """Whether nothing may change the replicas, not even the bounds."""
    return given.spec.mode is Mode.OFF or given.refusal is not None or given.stopped_by_hand


def highest(given: Situation) -> int:
    """Return the most replicas that bounds, ceiling and a crash allow."""
    most = [given.spec.max]
    if given.ceiling is not None:
        most.append(given.ceiling.replicas)
    if given.crash is not None:
        pausing = given.crash.retry_at is None or given.crash.retry_at > given.now
        trial = max(given.replicas + 1, given.spec.min)
        most.append(given.replicas if pausing else trial)
    return min(most)


def lowest(given: Situation) -> int:
    """Return the fewest replicas that bounds, ceiling and a crash allow."""
    return min(given.spec.min, highest(given))


def worker(
    host: str = "r1", *, running: int = 0, age: timedelta = timedelta(), **rest: Any
) -> Worker:
    """Describe a worker with two activity slots whose latest heartbeat is `age` old.

    It sends a heartbeat every 10 s, and nobody has told it to stop.
    """
    slots = {SlotKind.ACTIVITY: Slots(used=running, free=max(0, 2 - running))}
    now = Worker(host, host, NOW - age, 10 * SECOND, leaving=False, slots=slots)
    return replace(now, **rest)


OUTDATED = DAY
"""The age of a heartbeat that says nothing of the present."""


def fleet(known: str, *, one_turn: bool = False, choosable: bool = True) -> InFlight:
    """Describe replicas r1, r2, ... by a letter each, in the order in which they would stop.

    `i` is idle, `b` busy, `l` leaving, `s` silent. Each has a turn of its own, or all have one.
    """
    hosts = [f"r{number}" for number in range(1, len(known) + 1)]
    return InFlight(
        tuple(
            Replica(host, host, 0 if one_turn else turn, choosable)
            for turn, host in enumerate(hosts)
        ),
        tuple(
            worker(host, running=int(letter == "b"), leaving=letter == "l")
            for host, letter in zip(hosts, known, strict=True)
            if letter != "s"
        ),
    )


def shrinking(in_flight: InFlight | UnknownInFlight, desired: int, **spec: Any) -> Situation:
    """Describe a service whose backlog asks for only `desired` of its replicas."""
    replicas = len(in_flight.replicas) if isinstance(in_flight, InFlight) else 5
    quick = {"min": 0, "scale_in_window": timedelta(), "cooldown": timedelta()}
    given = situation(waiting=10 * desired, replicas=replicas, **{**quick, **spec})
    return replace(given, in_flight=in_flight)


def silent_for(silent: timedelta) -> History:
    """Describe a service whose workers have reported nothing for this long."""
    return remembered(unreported_since=NOW - silent)


class Watch:
    """One service, looked at again and again."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        self.history = History.seed(replicas, NOW)
        self.now: datetime = NOW
        self.spec = spec

    def look(
        self,
        waiting: int | Backlog | None,
        replicas: int,
        after: timedelta = 5 * SECOND,
        *,
        begins: bool = False,
    ) -> Decision:
        """Let time pass and decide; begin what was decided where `begins` says so."""
        _, decision = self._look(waiting, replicas, after)
        if begins:
            self.history = self.history.begin_change(decision.desired)
        return decision

    def advice(
        self, waiting: int | Backlog | None, replicas: int, after: timedelta = 5 * SECOND
    ) -> tuple[str, ...]:
        """Let time pass, decide, and return the warnings for the user."""
        given, decision = self._look(waiting, replicas, after)
        return advise(given, decision.history)

    def _look(
        self, waiting: int | Backlog | None, replicas: int, after: timedelta
    ) -> tuple[Situation, Decision]:
        self.now += after
        given = replace(
            situation(waiting=waiting, replicas=replicas, **self.spec),
            history=self.history,
            now=self.now,
        )
        decision = decide(given)
        self.history = decision.history
        return given, decision
