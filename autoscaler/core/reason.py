"""Why a number of replicas was chosen: the one vocabulary of logs, metrics, page and `plan`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Self

from autoscaler.core.words import figure


class Bearing(Enum):
    """What a reason means for the service it is given for."""

    NORMAL = "normal"
    """The number follows from backlog and labels. Where a backlog is unknown, errors say why."""
    HELD = "held"
    """Something keeps the service from following its backlog for now. It passes by itself, or it is
    what somebody wants."""
    TROUBLE = "trouble"
    """The service does not follow its backlog, and somebody should look at why."""


class ReasonCode(StrEnum):
    """A kind of reason, and what it means for the service."""

    bearing: Bearing

    def __new__(cls, code: str, bearing: Bearing = Bearing.NORMAL) -> Self:
        """Make a member from its word and its bearing."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.bearing = bearing
        return member

    BACKLOG = "backlog"
    BACKLOG_UNKNOWN = "backlog-unknown"
    MAX_WAIT = "max-wait"
    SLOTS = "slots"
    KEEP_UP = "keep-up"
    FALLBACK = "fallback", Bearing.HELD
    ACTIVATION = "activation"
    COOLDOWN = "cooldown"
    BUILD = "build"
    SCALE_OUT_LIMIT = "scale-out-limit"
    SCALE_IN_LIMIT = "scale-in-limit"
    RATE_LIMITED = "rate-limited", Bearing.HELD
    PHANTOM = "phantom", Bearing.HELD
    OFF = "off"
    STOPPED_BY_HAND = "stopped-by-hand", Bearing.HELD
    REFUSED = "refused", Bearing.TROUBLE
    SCALE_OUT_WINDOW = "scale-out-window"
    SCALE_IN_WINDOW = "scale-in-window"
    PAUSED = "paused"
    MIN = "min"
    MAX = "max"
    CRASHED = "crashed", Bearing.TROUBLE
    CEILING = "ceiling", Bearing.TROUBLE
    FINISHING = "finishing"
    SHARED = "shared", Bearing.HELD
    IGNORES_STOP = "ignores-stop", Bearing.TROUBLE
    BUSY = "busy", Bearing.HELD


@dataclass(frozen=True, slots=True)
class Reason:
    """One step of a decision, in words."""

    code: ReasonCode
    because: str
    """What was seen, or which rule counts; empty where `so` names the rule."""
    so: str = ""
    """The number of replicas that follows, in words; empty where `because` says it."""

    @property
    def text(self) -> str:
        """The step as one line: `142 waiting tasks at target 10 → 15`."""
        return " → ".join(part for part in (self.because, self.so) if part)

    def __str__(self) -> str:
        return self.text


def in_words(reasons: Iterable[Reason]) -> tuple[str, ...]:
    """Return the steps of a decision as lines for people, in order.

    A step that has no `because` stands in the place of the number that it changes:
    `0 waiting tasks at target 10 → keeps 1 (min)`.
    """
    steps: list[Reason] = []
    for reason in reasons:
        if steps and not reason.because:
            reason = Reason(reason.code, steps.pop().because, reason.so)  # noqa: PLW2901
        steps.append(reason)
    return tuple(step.text for step in steps)


def kept(number: int, replicas: int) -> str:
    """Write a number of replicas that follows: `keeps 3` where that is the present number."""
    return f"keeps {figure(number)}" if number == replicas else figure(number)
