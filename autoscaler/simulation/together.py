"""Several services that share limits: a trace for each, and one share among them at each look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from autoscaler.core.claims import claim_of, in_use
from autoscaler.core.decide import decide
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.groups import Groups
from autoscaler.core.label_values import Mode
from autoscaler.core.model import ServiceId
from autoscaler.core.reason import ReasonCode
from autoscaler.core.share import Claim, share
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import ScalingSpec
from autoscaler.simulation.controllers import Autoscaler, Observation, Verdict, look_closer
from autoscaler.simulation.replay import Run, Scene, Simulation, play
from autoscaler.simulation.trace import LONGEST_TRACE, START, Trace
from autoscaler.simulation.workers import Workers


@dataclass(frozen=True, slots=True)
class Member:
    """One of the services that share."""

    name: str
    spec: ScalingSpec
    trace: Trace
    workers: Workers


@dataclass(frozen=True, slots=True)
class MemberRun:
    """What would have happened to one of the services."""

    member: Member
    run: Run
    wishes: tuple[int, ...]
    """For each step, the replicas that the service would have if it were alone."""
    held: float
    """Seconds in which it got less than it wished."""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit the services took."""

    name: str
    most: int
    peak: int
    """The most replicas that ran, started or drained at any look."""


@dataclass(frozen=True, slots=True)
class SharedRun:
    """All services, replayed together."""

    members: tuple[MemberRun, ...]
    limits: tuple[LimitUse, ...]


def replay_together(
    members: Sequence[Member], groups: Groups, interval: float, *, fresh: bool = True
) -> SharedRun:
    """Replay the traces of all services at the same time, and decide every `interval` seconds.

    Traces whose times are dates keep them; all others begin with the earliest of these. With
    `fresh` off, act on the server's figures alone. Raises ConfigurationError where the dates of the
    traces are too far apart.
    """
    members = _on_one_clock(members)
    ours = _Together(members, groups, interval, fresh=fresh)
    scenes = [
        Scene(member.trace, member.workers, replicas)
        for member, replicas in zip(members, ours.begin(), strict=True)
    ]
    play([Simulation(scenes, interval, ours.decide)], max(each.trace.end for each in members))
    return ours.result([scene.result() for scene in scenes])


class _Together:
    """Decides for all services as a tick does: each for itself, then a share, then once more."""

    def __init__(
        self, members: Sequence[Member], groups: Groups, interval: float, *, fresh: bool
    ) -> None:
        self._members = {ServiceId("compose", member.name): member for member in members}
        self._deciders = {
            id_: Autoscaler(member.spec, interval, fresh=fresh)
            for id_, member in self._members.items()
        }
        self._groups = groups
        self._interval = interval
        self._wishes: dict[ServiceId, list[int]] = {id_: [] for id_ in self._members}
        self._looks_held = dict.fromkeys(self._members, 0)
        self._peaks = {limit.name: 0 for limit in groups.limits}

    def begin(self) -> Sequence[int]:
        """Return the replicas that each service begins with."""
        return [
            self._deciders[id_].start(member.trace.begins) for id_, member in self._members.items()
        ]

    def decide(self, observations: Sequence[Observation]) -> Sequence[Verdict]:
        """Return what `run` would decide for each service."""
        seen = dict(zip(self._members, observations, strict=True))
        situations = {id_: self._deciders[id_].look(each) for id_, each in seen.items()}
        decisions = {id_: decide(situation) for id_, situation in situations.items()}
        claims = [self._claim(id_, situations[id_], decisions[id_]) for id_ in seen]
        allowed = {
            id_: look_closer(replace(situations[id_], allowance=allowance), seen[id_])
            for id_, allowance in share(claims, self._groups.limits).items()
        }
        situations |= allowed
        decisions |= {id_: decide(situation) for id_, situation in allowed.items()}
        self._note(decisions, claims)
        return [self._conclude(seen[id_], id_, situations[id_], decisions[id_]) for id_ in seen]

    def result(self, runs: Sequence[Run]) -> SharedRun:
        """Return what came of it; `runs` are those of the services."""
        members = tuple(
            MemberRun(
                member,
                run,
                tuple(self._wishes[id_]),
                self._looks_held[id_] * self._interval,
            )
            for (id_, member), run in zip(self._members.items(), runs, strict=True)
        )
        limits = (
            LimitUse(limit.name, limit.capacity, self._peaks[limit.name])
            for limit in self._groups.limits
        )
        return SharedRun(members, tuple(limits))

    def _claim(self, id_: ServiceId, situation: Situation, decision: Decision) -> Claim:
        costs = self._groups.costs(situation.spec)
        return claim_of(id_, situation, decision, draining=situation.draining, costs=costs)

    def _conclude(
        self, observation: Observation, id_: ServiceId, situation: Situation, decision: Decision
    ) -> Verdict:
        if situation.spec.mode is Mode.DRY_RUN:
            # The share counts on it: such a service keeps what it has.
            decision = replace(decision, desired=situation.replicas)
        return self._deciders[id_].conclude(observation, situation, decision)

    def _note(self, decisions: Mapping[ServiceId, Decision], claims: Sequence[Claim]) -> None:
        for id_, decision in decisions.items():
            self._wishes[id_].append(decision.wished)
            held = any(reason.code is ReasonCode.SHARED for reason in decision.limits)
            self._looks_held[id_] += held
        for limit in self._groups.limits:
            taken = in_use(limit, claims).replicas
            self._peaks[limit.name] = max(self._peaks[limit.name], taken)


# ------------------------------------------------------------------ one clock


def _on_one_clock(members: Sequence[Member]) -> Sequence[Member]:
    """Let second 0 of all traces be the same moment."""
    dates = [member.trace.begins for member in members if member.trace.dated]
    begins = min(dates, default=START)
    found = [_begun(member, begins, dated=bool(dates)) for member in members]
    last = max(found, key=lambda member: member.trace.end)
    if dates and last.trace.end > LONGEST_TRACE.total_seconds():
        first = min(members, key=lambda member: (not member.trace.dated, member.trace.begins))
        far = f"the trace of {last.name} ends more than {LONGEST_TRACE.days} days after that of"
        raise ConfigurationError([f"{far} {first.name} begins: give both traces of the same days"])
    return found


def _begun(member: Member, begins: datetime, *, dated: bool) -> Member:
    """Return a member whose trace has its second 0 at `begins`."""
    trace, workers = member.trace, member.workers
    late = (trace.begins - begins).total_seconds() if trace.dated else 0.0
    rows = tuple(replace(row, at=row.at + late) for row in trace.rows)
    later = tuple(replace(phase, since=phase.since + late) for phase in workers.later)
    return replace(
        member,
        trace=replace(trace, rows=rows, begins=begins, dated=dated),
        workers=replace(workers, later=later),
    )
