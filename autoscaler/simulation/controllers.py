"""What a controller is shown and what it answers; and ours, which is `decide` and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from autoscaler.core.decide import decide
from autoscaler.core.history import History
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import Backlog, QueueStats, TaskQueue
from autoscaler.core.situation import Situation
from autoscaler.core.spec import ScalingSpec

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The time at which every simulation begins; no result depends on it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a controller is shown."""

    now: datetime
    replicas: int
    """Running or starting."""
    stats: QueueStats


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a controller answers."""

    desired: int
    """Replicas that there should be."""
    reasons: tuple[str, ...]


class Controller(Protocol):
    """Decides at regular intervals how many replicas there should be."""

    @property
    def interval(self) -> float:
        """Seconds between two decisions."""

    def start(self, now: datetime) -> int:
        """Forget everything; return the replicas to begin with."""

    def decide(self, observation: Observation) -> Verdict:
        """Return how many replicas there should be, and why."""


class Autoscaler:
    """Our controller: `decide`, with the history that each decision hands to the next."""

    def __init__(self, spec: ScalingSpec, interval: float = 5.0) -> None:
        """Decide by these labels every `interval` seconds."""
        self.spec = spec
        self.interval = interval
        self._queue = TaskQueue(spec.integration, None, spec.queues[0], QueueType.WORKFLOW)
        self._history = History.seed(spec.min, START)

    def start(self, now: datetime) -> int:
        """Begin at `min`, as a service does that had no work."""
        self._history = History.seed(self.spec.min, now)
        return self.spec.min

    def decide(self, observation: Observation) -> Verdict:
        """Return what `run` would decide."""
        situation = Situation(
            spec=self.spec,
            replicas=observation.replicas,
            backlog=Backlog({self._queue: observation.stats}),
            history=self._history,
            now=observation.now,
        )
        decision = decide(situation)
        self._history = decision.history
        return Verdict(decision.desired, tuple(map(str, decision.reasons)))
