"""What goes into a decision and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.core.backlog import Backlog, UnknownBacklog
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight, UnknownInFlight
from autoscaler.core.model import Ceiling, EndedBy, Ending
from autoscaler.core.reason import Reason
from autoscaler.core.share import Allowance
from autoscaler.core.spec import ScalingSpec
from autoscaler.core.stopping import IgnoredSignal


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a decision may depend on. If it is not here, it does not count."""

    spec: ScalingSpec
    replicas: int
    """Replicas that count now, or that a change under way will lead to."""
    backlog: Backlog | UnknownBacklog
    history: History
    now: datetime
    ceiling: Ceiling | None = None
    refusal: str | None = None
    """Why the service cannot be scaled at all at present; one sentence without a full stop."""
    draining: int = 0
    """Replicas that were told to stop and have not ended. `replicas` does not count them."""
    finishing: int = 0
    """Those of them that would get their stop signal once more with the next scale-in."""
    least_growth: int = 0
    """The fewest replicas that growth may add without repeating the stop signal of finishing ones;
    0 where any number may be added."""
    grace: timedelta | None = None
    """Time between stop signal and kill; None where Docker's default of 10 s applies."""
    ignored_signal: IgnoredSignal | None = None
    """The stop signal that the replicas are certain to ignore; None where none is known to be."""
    in_use: tuple[str, ...] = ()
    """Replicas that stay because other containers use something of them, in words."""
    in_flight: InFlight | UnknownInFlight | None = None
    """None: nobody has looked."""
    changing: bool = False
    """Whether a change is under way, which leads to `replicas`."""
    ending: Ending | None = None
    """How replicas have ended without the daemon; None where none has."""
    ignoring: tuple[str, ...] = ()
    """Names of replicas that were told to stop and went on taking tasks. They count."""
    version: str = ""
    """What the replicas run: another image or configuration has another word."""
    order_only: str | None = None
    """Why the scheduler alone decides who goes, on all nodes or on some; None where it does not."""
    allowance: Allowance | None = None
    """What the service gets of what is scarce; None: its wish, or nobody has shared yet."""

    @property
    def stopped_by_hand(self) -> bool:
        """Whether the service stays at zero because somebody else has stopped its replicas."""
        return self.replicas == 0 and self._ended(EndedBy.HAND) is not None

    @property
    def crash(self) -> Ending | None:
        """The crash that the service has not recovered from; None where there is none."""
        return self._ended(EndedBy.ITSELF)

    def _ended(self, by: EndedBy) -> Ending | None:
        """Return the ending, if that is how it came about.

        A service that may go to zero is found there after a restart of the daemon, with whatever
        exit codes its workers have: that tells nothing.
        """
        ending = self.ending
        if ending is None or ending.by is not by or not (ending.seen or self.spec.min):
            return None
        return ending


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas the service should have, and why."""

    desired: int
    recommendation: Reason
    """What the signals alone call for, before any limit."""
    limits: tuple[Reason, ...]
    """Each step that changed the recommended number, in the order they applied."""
    history: History
    """The history that the next situation of this service begins with."""
    wished: int
    """How many it would have if it were alone, and if no replica were at work."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The recommendation and every limit that changed it."""
        return (self.recommendation, *self.limits)
