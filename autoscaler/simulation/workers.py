"""What the workers of a simulation can do, and how people write it in options and in traces."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from autoscaler.core.durations import parse_duration
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.in_flight import LONGEST_HEARTBEAT
from autoscaler.core.words import figure

_LONGEST = timedelta(days=1).total_seconds()
_MOST_SLOTS = 10_000
_SHORTEST_HEARTBEAT = 1.0
_LONGEST_QUOTE = 60
"""Characters of a value that a message quotes."""
_LATER = re.compile(r"(?P<mix>.+) from (?P<since>\S+)")
_SERVICE_TIME = "must be such as 2s, or 2s,30s@10%, or 2s;4s from 30m"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """A share of the tasks that run for another time than most."""

    share: float
    """More than 0 and less than 1."""
    service_time: float
    """Seconds that such a task runs."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How long tasks run that start at some time or later."""

    since: float
    """Seconds since the trace began."""
    service_time: float
    """Seconds that a task runs."""
    others: tuple[Kind, ...] = ()
    """Tasks that run for another time."""


@dataclass(frozen=True, slots=True)
class Workers:
    """What a replica can do. Raises ConfigurationError that names every wrong value."""

    service_time: float = 2.0
    """Seconds that a task runs."""
    slots: int = 2
    """Tasks that a replica runs at once."""
    startup: float = 3.0
    """Seconds from the decision to add a replica until the replica takes its first task."""
    others: tuple[Kind, ...] = ()
    """Tasks that run for another time than `service_time`."""
    later: tuple[Phase, ...] = ()
    """How long tasks run that start later in the trace, in order."""
    heartbeat: float = LONGEST_HEARTBEAT.total_seconds()
    """Seconds between two heartbeats of a worker; 0: it sends none."""
    unseen: float = 0.0
    """Share of the tasks that Temporal's figures never show where a slot is free for them: such as
    activities that start eagerly on the worker of their own workflow."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """How long tasks run, from the beginning of the trace on, in order."""
        return (Phase(0.0, self.service_time, self.others), *self.later)

    def __post_init__(self) -> None:
        wrong = []
        mixes = [(phase.service_time, phase.others) for phase in self.phases]
        times = [
            seconds
            for usual, others in mixes
            for seconds in (usual, *(kind.service_time for kind in others))
        ]
        if not all(0 < seconds <= _LONGEST for seconds in times):
            wrong.append("the service time must be more than 0s and at most 24h")
        shares = [[kind.share for kind in others] for _, others in mixes]
        if not all(all(each > 0 for each in mix) and sum(mix) < 1 for mix in shares):
            wrong.append("the shares of service times must be above 0%, and below 100% together")
        begins = [phase.since for phase in self.phases]
        if begins != sorted(set(begins)):
            wrong.append("service times that change must name later and later times")
        if not 1 <= self.slots <= _MOST_SLOTS:
            wrong.append(f"the slots of a replica must be from 1 to {figure(_MOST_SLOTS)}")
        if not 0 <= self.startup <= _LONGEST:
            wrong.append("the start-up time must be from 0s to 24h")
        longest = LONGEST_HEARTBEAT.total_seconds()
        if self.heartbeat and not _SHORTEST_HEARTBEAT <= self.heartbeat <= longest:
            wrong.append("the time between two heartbeats must be from 1s to 60s, or 0s for none")
        if not 0 <= self.unseen <= 1:
            wrong.append("the share of tasks that are not seen must be from 0% to 100%")
        if wrong:
            raise ConfigurationError(wrong)


class Share:
    """Picks a share of things, spread as evenly as possible: nothing is left to chance."""

    def __init__(self, share: float) -> None:
        """Pick this share of all that is counted: 0.25 picks every fourth."""
        self._share = share
        self._counted = 0

    def of(self, number: int) -> int:
        """Count `number` more, and return how many of them are picked."""
        before = self._picked()
        self._counted += number
        return self._picked() - before

    def _picked(self) -> int:
        # Rounded first: a hundred times 0.29 is a little less than 29 in floating point.
        return math.floor(round(self._counted * self._share, 6))


class ServiceTimes:
    """Says how long each task runs, in the order in which tasks start."""

    def __init__(self, workers: Workers) -> None:
        """Follow what the workers do, from the beginning of a trace on."""
        self._coming = list(reversed(workers.phases))
        self._begin(self._coming.pop())

    def take(self, tasks: int, now: float) -> Counter[float]:
        """Return how many of the next `tasks` tasks run for how many seconds."""
        while self._coming and self._coming[-1].since <= now:
            self._begin(self._coming.pop())
        taken: Counter[float] = Counter()
        for seconds, share in self._others:
            taken[seconds] += min(share.of(tasks), tasks - taken.total())
        taken[self._usual] += tasks - taken.total()
        return +taken

    def _begin(self, phase: Phase) -> None:
        self._usual = phase.service_time
        self._others = [(kind.service_time, Share(kind.share)) for kind in phase.others]


# ------------------------------------------------------------------ parse

OPTIONS = ("service-time", "slots", "startup", "heartbeat", "unseen")
"""What may be said of workers, by the names that options and traces use."""


def parse_workers(words: Mapping[str, str], base: Workers, where: str) -> Workers:
    """Return `base` with what `words` say of it, by the names in `OPTIONS`.

    Raises ConfigurationError that names every value that cannot be read, with `where` in front of
    its name, or every one that cannot be.
    """
    workers, problems = base, []
    for name, text in words.items():
        try:
            workers = _with(workers, name, text)
        except ValueError as error:
            problems.append(f"{where}{name}={text[:_LONGEST_QUOTE]!r}: {error}")
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return workers


def _with(workers: Workers, name: str, text: str) -> Workers:
    match name:
        case "service-time":
            first, *later = _phases(text)
            return replace(
                workers,
                service_time=first.service_time,
                others=first.others,
                later=tuple(later),
            )
        case "slots":
            return replace(workers, slots=_whole(text))
        case "startup":
            return replace(workers, startup=_seconds(text))
        case "heartbeat":
            return replace(workers, heartbeat=_seconds(text))
        case "unseen":
            return replace(workers, unseen=_share(text))
        case _:
            raise ValueError(f"what can be said of workers is {', '.join(OPTIONS)}")


def _phases(text: str) -> list[Phase]:
    """Read `2s`, `2s,30s@10%`, and later ones behind a semicolon: `2s;4s from 30m`."""
    first, *later = text.split(";")
    phases = [_phase(0.0, first)]
    for each in later:
        match = _LATER.fullmatch(each.strip())
        if match is None:
            raise ValueError(_SERVICE_TIME)
        phases.append(_phase(_seconds(match["since"]), match["mix"]))
    return phases


def _phase(since: float, text: str) -> Phase:
    usual, *others = text.split(",")
    kinds = []
    for other in others:
        seconds, at, share = other.partition("@")
        if not at:
            raise ValueError(_SERVICE_TIME)
        kinds.append(Kind(_share(share), _seconds(seconds)))
    return Phase(since, _seconds(usual), tuple(kinds))


def _seconds(text: str) -> float:
    return parse_duration(text).total_seconds()


def _share(text: str) -> float:
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise ValueError("a share such as 10% is needed")
    return float(match[1]) / 100


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("a whole number such as 4 is needed")
    return int(text[:9])
