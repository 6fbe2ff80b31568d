"""What shows whether replicas that only the arrivals ask for have helped. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.core.flow import Look

GIVEN_BACK_IN = timedelta(seconds=45)
"""How long a trial takes to give back all that is held for the arrivals."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A time in which replicas held for the arrivals are given back, to see whether they helped.

    It is over as soon as more tasks wait: then they did.
    """

    began: datetime
    waiting: int
    """Waiting tasks when it began."""
    held: int
    """Replicas when it began."""
    given_back_at: datetime | None = None
    """Since when all are given back."""

    def left(self, others: int, now: datetime) -> int:
        """Return the replicas to keep at `now`; `others` are not held for the arrivals."""
        share = max(0.0, 1 - (now - self.began) / GIVEN_BACK_IN)
        return others + max(0, whole((self.held - others) * share))


@dataclass(frozen=True, slots=True)
class Growth:
    """Replicas that were added for the arrivals, until it is known whether they helped."""

    at: datetime
    before: Look
    """The latest look before they were added."""

    def in_vain(self, now: Look) -> bool:
        """Whether it brought nothing: no less waits, and no more is handed out.

        At least a quarter less, or half as much more as there should be. Where more waits than
        before, the replicas are too few rather than too many.
        """
        before = self.before
        more = now.replicas / max(1, before.replicas) - 1
        less_waits = now.waiting <= before.waiting * 3 / 4
        more_waits = now.waiting > before.waiting + max(1.0, before.dispatched)
        more_done = now.dispatched >= before.dispatched * (1 + more / 2) > 0
        return not (less_waits or more_waits or more_done)


def whole(replicas: float) -> int:
    """Round a number of replicas up. 8.4 / 1.05 is a little more than 8 in floating point."""
    return math.ceil(round(replicas, 6))
