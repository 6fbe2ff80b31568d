"""The values that labels have, and how they are written.

label_words.py makes them of the words of a label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Self

from autoscaler.core.durations import format_duration, parse_duration

LONGEST_WAIT = timedelta(days=1)
LONGEST_WINDOW = timedelta(hours=1)
"""The same limit as in the HPA: older recommendations say nothing about the present."""
MOST_TASKS = 10**9
MOST_THROUGHPUT = 10**6
"""Tasks a second of one replica."""
MOST_PRIORITY = 10**6
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 1000
MOST_REPLICAS = 10_000
"""No service of one engine or Swarm comes near this; a larger number is a typing error."""


class QueueType(StrEnum):
    """The kinds of task that a Temporal task queue holds; each has a backlog of its own."""

    WORKFLOW = "workflow"
    ACTIVITY = "activity"
    NEXUS = "nexus"


class Mode(StrEnum):
    """What the daemon may do with a service."""

    ON = "on"
    DRY_RUN = "dry-run"
    OFF = "off"
    PAUSE_IN = "pause-in"
    PAUSE_OUT = "pause-out"


class Busy(StrEnum):
    """Which replicas a scale-in may stop, by the work that their workers report."""

    PROTECT = "protect"
    STRICT = "strict"
    IGNORE = "ignore"


class SwarmChoice(StrEnum):
    """Who decides which tasks of a Swarm service stop."""

    ORDER = "order"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class StepLimit:
    """The largest change in a period, in replicas or as a share of them: `4/15s`, `100%/15s`."""

    amount: int
    """Replicas, or percent."""
    percent: bool
    """Whether the amount is a share."""
    period: timedelta

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `4/15s` or `100%/15s`. Raises ValueError."""
        amount, slash, period = (part.strip() for part in text.partition("/"))
        number = amount.removesuffix("%")
        length = parse_duration(period)
        if not slash or not (number.isascii() and number.isdecimal()) or int(number) < 1:
            raise ValueError("not a step limit")
        if not timedelta() < length <= LONGEST_WINDOW or int(number) > MOST_REPLICAS:
            raise ValueError("out of range")
        return cls(int(number), amount.endswith("%"), length)

    def __str__(self) -> str:
        return f"{self.amount}{'%' * self.percent}/{format_duration(self.period)}"


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to recommend once a backlog has been unknown for a while."""

    replicas: int | None = None
    """None: hold the present number."""
    at_least: bool = False
    """Whether a larger present number is kept."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `hold`, a number of replicas, or `at-least N`. Raises ValueError."""
        words = text.lower().split()
        if words == ["hold"]:
            return cls()
        at_least = words[:1] == ["at-least"]
        (number,) = words[1:] if at_least else words
        if not (number.isascii() and number.isdecimal()) or int(number) > MOST_REPLICAS:
            raise ValueError("not a number of replicas")
        return cls(int(number), at_least)

    def __str__(self) -> str:
        if self.replicas is None:
            return "hold"
        return f"at-least {self.replicas}" if self.at_least else str(self.replicas)


NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
"""A number without sign and exponent."""


@dataclass(frozen=True, slots=True)
class KeepUp:
    """Whether tasks that arrive ask for replicas, and what one replica is taken to get done."""

    on: bool = True
    throughput: float | None = None
    """Tasks a second; None where it is learnt."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `auto`, `off`, or a number of tasks a second. Raises ValueError."""
        # Where YAML makes booleans of on and off, docker writes them as true and false.
        match text.strip().lower():
            case "auto" | "true":
                return cls()
            case "off" | "false":
                return cls(on=False)
            case word if NUMBER.fullmatch(word) and 0 < float(word) <= MOST_THROUGHPUT:
                return cls(throughput=float(word))
        raise ValueError("not a number of tasks a second")

    def __str__(self) -> str:
        if not self.on:
            return "off"
        if self.throughput is None:
            return "auto"
        # Without an exponent, so that it can be read again.
        written = format(Decimal(str(self.throughput)), "f")
        return written.removesuffix(".0")


def format_value(value: object) -> str:
    """Return a value the way a label has it."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return format_share(value) if isinstance(value, float) else str(value)


def format_share(share: float) -> str:
    """Return a share the way a label has it: `10%`, `12.5%`."""
    return f"{share * 100:g}%"
