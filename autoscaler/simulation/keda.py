"""KEDA with its Temporal scaler and the Kubernetes HPA behind it, for comparison.

Modelled after the documentation of both, with their defaults. KEDA itself polls every 30 s and only
takes a service from zero and to zero. Otherwise the HPA decides every 15 s, and asks KEDA for the
backlog at that moment each time (no cached metrics).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.words import agreeing, counted, figure
from autoscaler.simulation.controllers import Observation, Verdict

POLLING = timedelta(seconds=30)
HPA_SYNC = timedelta(seconds=15)
COOLDOWN = timedelta(seconds=300)
"""KEDA's `cooldownPeriod`: counted from the last poll that found work, and for zero only."""
SCALE_DOWN_WINDOW = timedelta(seconds=300)
SCALE_UP_PERIOD = timedelta(seconds=15)
SCALE_UP_PODS = 4
"""In each period, either this many replicas are added or their number is doubled: the larger
counts."""
TOLERANCE = 0.1
"""The HPA ignores a backlog that differs by less than this share from what the replicas are for."""


@dataclass
class Keda:
    """A ScaledObject with a `temporal` trigger; everything that is no field has its default."""

    target: int
    """`targetQueueSize`."""
    least: int = 0
    """`minReplicaCount`."""
    most: int = 100
    """`maxReplicaCount`."""
    activation: int = 0
    """`activationTargetQueueSize`: a larger backlog makes the service active."""
    interval: float = HPA_SYNC.total_seconds()
    """Seconds between two decisions."""
    _polled: datetime | None = field(default=None, init=False)
    _active: datetime | None = field(default=None, init=False)
    _recommended: list[tuple[datetime, int]] = field(default_factory=list, init=False)
    _changes: list[tuple[datetime, int]] = field(default_factory=list, init=False)

    def start(self, now: datetime) -> int:
        """Begin at `minReplicaCount`. The HPA counts that as its first recommendation."""
        self._polled = self._active = None
        self._recommended = [(now, self.least)]
        self._changes = []
        return self.least

    def decide(self, observation: Observation) -> Verdict:
        """Let KEDA decide where a poll is due, and otherwise the HPA."""
        return self._poll(observation) or self._sync(observation)

    def _poll(self, observation: Observation) -> Verdict | None:
        """Decide about zero; None leaves the number to the HPA."""
        now = observation.now
        if self._polled is None or now - self._polled >= POLLING:
            self._polled = now
            if observation.stats.waiting > self.activation:
                self._active = now
                if observation.replicas == 0:
                    return Verdict(max(1, self.least), ("active: the HPA takes over",))
            elif observation.replicas and self.least == 0 and self._cooled_down(now):
                return Verdict(0, ("nothing to do for the whole cool-down",))
        if observation.replicas == 0:
            return Verdict(0, ("not active",))
        return None

    def _cooled_down(self, now: datetime) -> bool:
        return self._active is None or now - self._active > COOLDOWN

    def _sync(self, observation: Observation) -> Verdict:
        """Recommend, stabilise, limit, bound."""
        recommended, why = self._recommend(observation)
        reasons = [why]
        stable = self._stabilise(recommended, observation)
        if stable != recommended:
            reasons.append(f"some of the past 300 s called for more → {figure(stable)}")
        limited = min(stable, self._limit(observation))
        if limited != stable:
            reasons.append(
                f"at most {SCALE_UP_PODS} more, or twice as many, in 15 s → {figure(limited)}"
            )
        bounded = min(max(limited, self.least, 1), self.most)
        if bounded != limited:
            reasons.append(f"bounds → {figure(bounded)}")
        self._changes.append((observation.now, bounded - observation.replicas))
        return Verdict(bounded, tuple(reasons))

    def _recommend(self, observation: Observation) -> tuple[int, str]:
        """Return `ceil(backlog / target)` (AverageValue), or the replicas within the tolerance."""
        waiting, replicas = observation.stats.waiting, observation.replicas
        ratio = waiting / (self.target * replicas)
        are = agreeing(waiting, "is", "are")
        if 1 - TOLERANCE <= ratio <= 1 + TOLERANCE:
            return replicas, f"{counted(waiting, 'waiting task')} {are} within the tolerance"
        wanted = -(-waiting // self.target)
        text = f"{counted(waiting, 'waiting task')} at target {figure(self.target)}"
        return wanted, f"{text} → {figure(wanted)}"

    def _stabilise(self, recommended: int, observation: Observation) -> int:
        """Grow at once; shrink only to the largest recommendation of the window."""
        recent = [
            (at, number)
            for at, number in self._recommended
            if observation.now - at < SCALE_DOWN_WINDOW
        ]
        self._recommended = [*recent, (observation.now, recommended)]
        largest = max(number for _, number in self._recommended)
        return min(max(observation.replicas, recommended), largest)

    def _limit(self, observation: Observation) -> int:
        """Return the most replicas allowed, by the number when the period began."""
        self._changes = [
            (at, change) for at, change in self._changes if observation.now - at < SCALE_UP_PERIOD
        ]
        began_with = observation.replicas - sum(change for _, change in self._changes)
        return max(began_with + SCALE_UP_PODS, 2 * began_with, observation.replicas)
