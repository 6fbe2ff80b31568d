"""Why a number of replicas was chosen: the one vocabulary of logs, metrics, page and `plan`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Self


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
    SHARED = "shared", Bearing.HELD
    IGNORES_STOP = "ignores-stop", Bearing.TROUBLE
    BUSY = "busy", Bearing.HELD


@dataclass(frozen=True, slots=True)
class Reason:
    """One step of a decision, in words."""

    code: ReasonCode
    text: str

    def __str__(self) -> str:
        return self.text
