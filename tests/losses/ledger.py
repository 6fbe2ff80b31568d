"""Counts second attempts and says who caused each. Pure: histories, journals and events come in.

Temporal's histories say how often each task was tried. The workers' journals say on which host an
attempt began, and the engine's events what happened to that container. All times are Unix times.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

from tests.losses.columns import Column, OnSignal

NEAR = 60.0
"""Seconds between a stop and the line of the daemon's log about it, at most."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task, as its history has it."""

    id: str
    seconds: float
    """How long one attempt takes."""
    attempts: int | None
    """None: it was not done in the end."""
    timed_out: Sequence[float] = ()
    """When Temporal gave a workflow task up because its worker was silent for too long."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that a worker has begun, from its journal."""

    task: str
    host: str
    at: float
    ended: float = math.inf
    """When it ended well; never, where it did not."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a container, from the engine."""

    host: str
    column: str
    action: str
    at: float
    detail: str = ""
    """The signal of a `kill`, the exit code of a `die`."""


class Cause(Enum):
    """Why an attempt was not the last. The value says it in the table."""

    SCALE_IN = "by a scale-in"
    CRASH = "worker killed by this program"
    MEMORY = "worker out of memory"
    EXIT = "worker ended by itself"
    LATE = "worker ran on, Temporal tried again"
    UNHEARD = "done, and Temporal did not hear of it in time"
    NEVER_BEGUN = "handed out by Temporal, begun by no worker"


@dataclass(frozen=True, slots=True)
class Loss:
    """An attempt that was not the last of its task."""

    task: str
    cause: Cause
    broken: bool = False
    """Whether it breaks the promise."""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What was counted in one column."""

    column: Column
    scale_ins: int
    """Decisions to stop replicas, in the daemon's log."""
    stopped: int
    """Replicas that were told to stop."""
    done: int
    unfinished: int
    losses: Sequence[Loss]

    @property
    def by_scale_in(self) -> int:
        """Second attempts that a scale-in has caused."""
        return sum(loss.cause is Cause.SCALE_IN for loss in self.losses)

    @property
    def broken(self) -> Sequence[Loss]:
        """Those that break the promise."""
        return [loss for loss in self.losses if loss.broken]

    @property
    def by_others(self) -> Mapping[Cause, int]:
        """What else was lost."""
        return Counter(each.cause for each in self.losses if each.cause is not Cause.SCALE_IN)


@dataclass(slots=True)
class Life:
    """What has happened to a container between one start and the next."""

    began: float
    told: float = math.inf
    """When the daemon told it to stop."""
    crashed: float = math.inf
    """When it ended because this program had killed its worker."""
    memory: float = math.inf
    ended: float = math.inf
    happened: list[Event] = field(default_factory=list)


Lives = Mapping[str, Sequence[Life]]
"""The lives of each container in order, by its host name. A stopped one may be started again."""


def count(  # noqa: PLR0913, PLR0917 - all that is known
    column: Column,
    tasks: Collection[Task],
    begun: Iterable[Begun],
    events: Iterable[Event],
    crashed: Collection[str],
    scale_ins: Collection[float],
) -> Row:
    """Count one column.

    `crashed` has the hosts whose worker this program has killed, from inside their container, and
    `scale_ins` the times of the lines in the daemon's log. Nobody but the daemon stops a container
    here.
    """
    lives = lives_of(events, crashed)
    attempts: dict[str, list[Begun]] = defaultdict(list)
    for each in sorted(begun, key=lambda each: each.at):
        attempts[each.task].append(each)
    losses = [
        loss
        for task in tasks
        for loss in losses_of(column, task, attempts[task.id], lives, scale_ins)
    ]
    return Row(
        column,
        scale_ins=len(scale_ins),
        stopped=sum(life.told < math.inf for each in lives.values() for life in each),
        done=sum(task.attempts is not None for task in tasks),
        unfinished=sum(task.attempts is None for task in tasks),
        losses=losses,
    )


def lives_of(events: Iterable[Event], crashed: Collection[str]) -> Lives:
    """Return what has happened to each container."""
    lives: dict[str, list[Life]] = defaultdict(lambda: [Life(-math.inf)])
    for event in sorted(events, key=lambda event: event.at):
        if event.action == "start":
            lives[event.host].append(Life(event.at))
        life = lives[event.host][-1]
        life.happened.append(event)
        if event.action == "kill":
            life.told = min(life.told, event.at)
        elif event.action == "oom":
            life.memory = min(life.memory, event.at)
        elif event.action == "die" and event.host in crashed:
            life.crashed = event.at
        elif event.action == "die":
            life.ended = event.at
    return lives


def losses_of(
    column: Column,
    task: Task,
    begun: Sequence[Begun],
    lives: Lives,
    scale_ins: Collection[float],
) -> Iterable[Loss]:
    """Yield the attempts of a task that were not its last. `begun` is in order."""
    unseen = (task.attempts or 0) - len(begun)
    yield from (Loss(task.id, Cause.NEVER_BEGUN) for _ in range(unseen))
    for attempt, following in pairwise(begun):
        own = [each for each in lives.get(attempt.host, ()) if each.began <= attempt.at]
        life = own[-1] if own else Life(-math.inf)
        cause = _cause(column, life, attempt, following.at, task.timed_out)
        told = cause is Cause.SCALE_IN
        ran = max(0.0, life.told - attempt.at) if told else 0.0
        left = attempt.at + task.seconds - life.told if told else 0.0
        broken = told and column.promised(ran, left)
        yield Loss(task.id, cause, broken, _words(task, attempt, life, cause, scale_ins))


def _cause(
    column: Column, life: Life, attempt: Begun, again: float, timed_out: Iterable[float]
) -> Cause:
    """Say who ended an attempt whose task began `again` at this time: who came first.

    A stop signal that a worker ignores has ended nothing as long as its container runs. Neither has
    one where the container still ran when Temporal gave the worker's workflow task up: a worker
    that finishes its tasks keeps on telling of them.
    """
    gone = min(life.crashed, life.memory, life.ended, attempt.ended)
    given_up = any(attempt.at < at < min(gone, again) for at in timed_out)
    ignored = column.on_signal is OnSignal.IGNORES and life.ended > again
    first = {
        Cause.UNHEARD: attempt.ended,
        Cause.MEMORY: life.memory,
        Cause.CRASH: life.crashed,
        Cause.SCALE_IN: math.inf if ignored or given_up else life.told,
        Cause.EXIT: life.ended,
    }
    cause = min(first, key=lambda cause: first[cause])
    return Cause.LATE if given_up or first[cause] >= again else cause


def _words(
    task: Task, attempt: Begun, life: Life, cause: Cause, scale_ins: Collection[float]
) -> str:
    """Tell what happened to the container of an attempt, in seconds from the attempt's begin."""
    told = [f"{task.id} of {task.seconds:.0f} s on {attempt.host}: {cause.value}"]
    told += [
        f"{event.action} {event.detail}".strip() + f" at {event.at - attempt.at:+.1f} s"
        for event in life.happened
        if event.action != "start"
    ]
    if cause is Cause.SCALE_IN and not any(abs(at - life.told) < NEAR for at in scale_ins):
        told.append("no line of the daemon's log tells of it")
    return ", ".join(told)
