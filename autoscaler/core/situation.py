"""What goes into a decision and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight, UnknownInFlight
from autoscaler.core.model import Backlog, Ceiling, UnknownBacklog
from autoscaler.core.reason import Reason
from autoscaler.core.spec import ScalingSpec


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
    grace: timedelta | None = None
    """Time between stop signal and kill; None where Docker's default of 10 s applies."""
    in_flight: InFlight | UnknownInFlight | None = None
    """None: nobody has looked."""


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

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The recommendation and every limit that changed it."""
        return (self.recommendation, *self.limits)
