"""KEDA with its Temporal scaler and the Kubernetes HPA behind it, for comparison.

Modelled from what both document, with their defaults. KEDA itself looks every 30 s and only
takes a service from zero and to zero; in between the HPA looks every 15 s, and each time asks
KEDA for the backlog as it is then (no cached metrics). All durations are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.simulation.simulation import Seen, Wanted

POLLING = timedelta(seconds=30)
HPA_SYNC = timedelta(seconds=15)
COOLDOWN = timedelta(seconds=300)
"""KEDA's `cooldownPeriod`: to zero only, counted from the last poll that found work."""
SCALE_DOWN_WINDOW = timedelta(seconds=300)
SCALE_UP_PERIOD = timedelta(seconds=15)
SCALE_UP_PODS = 4
"""In each period either so many are added, or the number is doubled: the larger counts."""
TOLERANCE = 0.1
"""The HPA leaves a backlog alone that is so close to what the present replicas are meant for."""


@dataclass
class Keda:
    """A ScaledObject: trigger `temporal` with `targetQueueSize`, everything else as it comes."""

    target: int
    """`targetQueueSize`."""
    least: int = 0
    """`minReplicaCount`."""
    most: int = 100
    """`maxReplicaCount`."""
    activation: int = 0
    """`activationTargetQueueSize`: active is what is above it."""
    interval: float = HPA_SYNC.total_seconds()
    _polled: datetime | None = field(default=None, init=False)
    _active: datetime | None = field(default=None, init=False)
    _recommended: list[tuple[datetime, int]] = field(default_factory=list, init=False)
    _changes: list[tuple[datetime, int]] = field(default_factory=list, init=False)

    def start(self, now: datetime) -> int:
        """Begin at `minReplicaCount`; the HPA takes what it finds as its first recommendation."""
        self._polled = self._active = None
        self._recommended = [(now, self.least)]
        self._changes = []
        return self.least

    def wanted(self, seen: Seen) -> Wanted:
        """Let KEDA look if it is its turn, then the HPA."""
        return self._poll(seen) or self._sync(seen)

    def _poll(self, seen: Seen) -> Wanted | None:
        """From zero and to zero: None leaves the number to the HPA."""
        if self._polled is None or seen.now - self._polled >= POLLING:
            self._polled = seen.now
            if seen.stats.waiting > self.activation:
                self._active = seen.now
                if seen.replicas == 0:
                    return Wanted(max(1, self.least), ("active: the HPA takes over",))
            elif seen.replicas and self.least == 0 and self._cooled_down(seen.now):
                return Wanted(0, ("nothing to do for the whole cool-down",))
        if seen.replicas == 0:
            return Wanted(0, ("not active",))
        return None

    def _cooled_down(self, now: datetime) -> bool:
        return self._active is None or now - self._active > COOLDOWN

    def _sync(self, seen: Seen) -> Wanted:
        """Recommend, stabilise, limit, bound."""
        recommended, why = self._recommend(seen)
        reasons = [why]
        stable = self._stabilise(recommended, seen)
        if stable != recommended:
            reasons.append(f"largest recommendation of the past 300 s: {stable}")
        limited = min(stable, self._limit(seen))
        if limited != stable:
            reasons.append(f"at most {SCALE_UP_PODS} more, or twice as many, in 15 s: {limited}")
        bounded = min(max(limited, self.least, 1), self.most)
        if bounded != limited:
            reasons.append(f"bounds: {bounded}")
        self._changes.append((seen.now, bounded - seen.replicas))
        return Wanted(bounded, tuple(reasons))

    def _recommend(self, seen: Seen) -> tuple[int, str]:
        """AverageValue: the whole backlog over the target, unless it is about right already."""
        waiting = seen.stats.waiting
        ratio = waiting / (self.target * seen.replicas)
        if 1 - TOLERANCE <= ratio <= 1 + TOLERANCE:
            return seen.replicas, f"{waiting} waiting tasks are within the tolerance"
        replicas = -(-waiting // self.target)
        return replicas, f"{waiting} waiting tasks at target {self.target}: {replicas}"

    def _stabilise(self, recommended: int, seen: Seen) -> int:
        """Growth counts at once; the way in follows the largest recommendation of the window."""
        recent = [
            (at, number) for at, number in self._recommended if seen.now - at < SCALE_DOWN_WINDOW
        ]
        self._recommended = [*recent, (seen.now, recommended)]
        largest = max(number for _, number in self._recommended)
        return min(max(seen.replicas, recommended), largest)

    def _limit(self, seen: Seen) -> int:
        """The most there may be, counted from what there was when the period began."""
        self._changes = [
            (at, change) for at, change in self._changes if seen.now - at < SCALE_UP_PERIOD
        ]
        began_with = seen.replicas - sum(change for _, change in self._changes)
        return max(began_with + SCALE_UP_PODS, 2 * began_with, seen.replicas)
