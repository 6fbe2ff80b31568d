"""What a controller is shown and what it answers; and ours, which decides as a tick does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from autoscaler.core.backlog import Backlog, QueueStats, TaskQueue
from autoscaler.core.decide import decide, wants_in_flight
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.protect import choose_for, stops_nobody
from autoscaler.core.reason import in_words
from autoscaler.core.sighting import Sighting, look
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import ScalingSpec
from autoscaler.simulation.trace import START

PARTITIONS = 4
"""Partitions of a task queue, as Temporal makes them by default."""
_SERVICE = ServiceId("compose", "simulated/worker")


@dataclass(frozen=True, slots=True)
class Observation:
    """What a controller is shown."""

    now: datetime
    replicas: int
    """Running or starting."""
    stats: QueueStats
    """What the server says; the same again for 5 s."""
    waiting: int | None = None
    """Tasks that wait now, on all partitions; None where nobody can count them."""
    in_flight: Callable[[], InFlight] | None = None
    """Asks what the workers report; None where the trace does not tell what runs."""
    draining: int = 0
    """Replicas that were told to stop and have not ended."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a controller answers."""

    desired: int
    """Replicas that there should be."""
    reasons: tuple[str, ...]
    stopping: tuple[str, ...] | None = None
    """Names of the replicas that stop; None where the controller leaves that to others."""


class Controller(Protocol):
    """Decides at regular intervals how many replicas there should be."""

    @property
    def interval(self) -> float:
        """Seconds between two decisions."""

    def start(self, now: datetime) -> int:
        """Forget everything; return the replicas to begin with."""

    def decide(self, observation: Observation) -> Verdict:
        """Return how many replicas there should be, and why."""


def look_closer(situation: Situation, observation: Observation) -> Situation:
    """Add what the workers report where the decision depends on it and nobody has asked yet."""
    if situation.in_flight is not None or observation.in_flight is None:
        return situation
    if not wants_in_flight(situation):
        return situation
    return replace(situation, in_flight=observation.in_flight())


class Autoscaler:
    """Our controller: it decides and chooses as a tick does, and remembers as much."""

    def __init__(self, spec: ScalingSpec, interval: float = 5.0, *, fresh: bool = True) -> None:
        """Decide by these labels every `interval` seconds.

        With `fresh` off, act on the server's figures alone, without counting what waits.
        """
        self.spec = spec
        self.interval = interval
        self._fresh = fresh
        self._queue = TaskQueue(spec.integration, None, spec.queues[0], QueueType.WORKFLOW)
        self.start(START)

    def start(self, now: datetime) -> int:
        """Begin at `min`, as a service does that had no work."""
        replicas = self.spec.at(now).min
        self._history = History.seed(replicas, now)
        self._sighting: Sighting | None = None
        return replicas

    def decide(self, observation: Observation) -> Verdict:
        """Return what `run` would decide, and who would stop for it."""
        situation = self.look(observation)
        return self.conclude(observation, situation, decide(situation))

    def look(self, observation: Observation) -> Situation:
        """Return what is known of the service, as far as its decision depends on it."""
        return look_closer(self._situation(observation), observation)

    def conclude(
        self, observation: Observation, situation: Situation, decision: Decision
    ) -> Verdict:
        """Return what comes of a decision, and remember it."""
        reasons = in_words(decision.reasons)
        verdict = Verdict(decision.desired, reasons)
        if decision.desired < situation.replicas and observation.in_flight is not None:
            stopping = self._choose(situation, decision, observation.in_flight)
            verdict = Verdict(situation.replicas - len(stopping), reasons, stopping)
        begins = verdict.desired != situation.replicas
        history = decision.history
        self._history = history.begin_change(decision.desired) if begins else history
        return verdict

    def _situation(self, observation: Observation) -> Situation:
        return Situation(
            spec=self.spec.at(observation.now),
            replicas=observation.replicas,
            backlog=Backlog({self._queue: self._see(observation)}),
            history=self._history,
            now=observation.now,
            draining=observation.draining,
        )

    def _see(self, observation: Observation) -> QueueStats:
        """Return the figures to decide on, after a count where a tick would make one.

        The root partition holds its share of what waits, rounded down: a task fewer than there are
        partitions may be on any other.
        """
        waiting = observation.waiting if self._fresh else None
        on_root = None if waiting is None else waiting // PARTITIONS
        seen = look(self._sighting, observation.stats, observation.now, on_root=on_root)
        if waiting is not None and on_root is not None and (seen.risen or not observation.replicas):
            seen = seen.counted(waiting - on_root)
        self._sighting = seen
        return seen.stats

    def _choose(
        self, situation: Situation, decision: Decision, ask: Callable[[], InFlight]
    ) -> tuple[str, ...]:
        """Return who stops for a change to fewer replicas."""
        crews = decision.history.crews
        action = ScalingAction(_SERVICE, situation.replicas, decision.desired, decision.reasons)
        if stops_nobody(action, situation, crews):
            return ()
        in_flight = situation.in_flight
        reported = isinstance(in_flight, InFlight) and bool(in_flight.workers)
        choice = choose_for(
            action, self.spec.busy, ask(), situation.now, reported=reported, crews=crews
        )
        return tuple(replica.id for replica in choice.replicas)


class Fixed:
    """A number of replicas that never changes, for comparison."""

    interval = 60.0
    """Seconds between two decisions, which all say the same."""

    def __init__(self, replicas: int) -> None:
        """Keep so many replicas."""
        self.replicas = replicas

    def start(self, now: datetime) -> int:  # noqa: ARG002 - it has nothing to forget
        """Begin with all of them."""
        return self.replicas

    def decide(self, observation: Observation) -> Verdict:  # noqa: ARG002 - nothing matters to it
        """Return the number."""
        return Verdict(self.replicas, ("a fixed number",))
