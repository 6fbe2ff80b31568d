"""The values that labels have: their types, how they are read, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field

from autoscaler.core.durations import Duration, format_duration, parse_duration

LONGEST_WAIT = timedelta(days=1)
LONGEST_WINDOW = timedelta(hours=1)
"""The same limit as in the HPA: older recommendations say nothing about the present."""
MOST_TASKS = 10**9
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


# ------------------------------------------------------------------ reading


def _split(value: object) -> object:
    """Read parts separated by commas, each counted once."""
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(part.strip() for part in value.split(",")))


def _without_empty_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(parts):
        raise ValueError("empty part")
    return parts


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _mode(value: object) -> object:
    text = _word(value)
    # `docker stack deploy` reads YAML 1.1, where an unquoted on or off is a boolean.
    return {"true": "on", "false": "off"}.get(text, text) if isinstance(text, str) else text


def _or_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _step_limits(value: object) -> object:
    if not isinstance(value, str):
        return value
    if _or_none(value) is None:
        return ()
    return tuple(StepLimit.parse(part) for part in value.split(","))


def _fallback(value: object) -> object:
    return Fallback.parse(value) if isinstance(value, str) else value


def _share(value: object) -> object:
    """Read `10%` as 0.1; a 0 needs no percent sign."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text != "0" and not text.endswith("%"):
        raise ValueError("not a share")
    return float(text.removesuffix("%")) / 100


def _share_or_none(value: object) -> object:
    return _share(_or_none(value))


# ------------------------------------------------------------------ types of fields

Text = Annotated[str, BeforeValidator(_strip), Field(min_length=1)]
TextOrNone = Annotated[Text | None, BeforeValidator(_or_none)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_without_empty_parts)]
QueueTypes = Annotated[tuple[QueueType, ...], BeforeValidator(_split)]
ModeWord = Annotated[Mode, BeforeValidator(_mode)]
BusyWord = Annotated[Busy, BeforeValidator(_word)]
WindowLength = Annotated[Duration, Field(le=LONGEST_WINDOW)]
Wait = Annotated[Duration, Field(le=LONGEST_WAIT)]
WaitOrNone = Annotated[Annotated[Wait, Field(gt=timedelta())] | None, BeforeValidator(_or_none)]
StepLimits = Annotated[tuple[StepLimit, ...], BeforeValidator(_step_limits)]
FallbackWords = Annotated[Fallback, BeforeValidator(_fallback)]
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1)]
ShareOrNone = Annotated[Annotated[float, Field(gt=0, le=1)] | None, BeforeValidator(_share_or_none)]


# ------------------------------------------------------------------ writing


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
