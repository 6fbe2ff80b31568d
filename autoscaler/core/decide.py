"""The decision: recommend, limit, protect. Pure; every change of the number has its reason."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from autoscaler.core.errors import alone
from autoscaler.core.in_flight import InFlight
from autoscaler.core.label_values import LONGEST_WINDOW, Busy, Mode
from autoscaler.core.limits import LIMITS, Limiter
from autoscaler.core.model import Backlog, ServiceId
from autoscaler.core.protect import protect
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.recommend import recommend
from autoscaler.core.situation import Decision, Situation

STEPS: tuple[Limiter, ...] = (*LIMITS, protect)
"""Every step between the recommendation and the decision, in order."""


def decide(situation: Situation) -> Decision:
    """Run the recommendation through every step, and keep the reason for each change."""
    recommended, because = recommend(situation)
    # The history keeps the longest window that any label may ask for, so that a label which
    # changes finds the past it needs.
    history = situation.history.observe(
        situation.replicas, situation.backlog, recommended, situation.now, LONGEST_WINDOW
    )
    if isinstance(situation.in_flight, InFlight):
        history = history.observe_in_flight(situation.in_flight, situation.now)
    hands_off = left_alone(situation)
    if hands_off is not None:
        # A known backlog that asks for the present number explains it already.
        explained = isinstance(situation.backlog, Backlog) and situation.replicas == recommended
        limits = () if explained else (hands_off,)
        return Decision(situation.replicas, because, limits, history)
    desired = recommended
    reasons: list[Reason] = []
    for step in STEPS:
        desired, reason = step(situation, history, desired)
        if reason is not None:
            reasons.append(reason)
    return Decision(desired, because, tuple(reasons), history)


def decide_all(
    situations: Mapping[ServiceId, Situation], failures: MutableMapping[ServiceId, str]
) -> Mapping[ServiceId, Decision]:
    """Decide for every service, each for itself.

    A service whose decision fails, which nobody expects, is left out; `failures` then says why.
    """
    decisions: dict[ServiceId, Decision] = {}
    for service, situation in situations.items():
        with alone(failures, service):
            decisions[service] = decide(situation)
    return decisions


def wants_in_flight(situation: Situation) -> bool:
    """Say whether the decision depends on what is in flight, which costs calls to read.

    `situation` is without it.
    """
    if left_alone(situation) is not None or not situation.replicas:
        return False
    if situation.spec.slots_target is not None:
        return True
    if situation.spec.busy is Busy.IGNORE or not _may_shrink(situation):
        return False
    return decide(situation).desired < situation.replicas


def _may_shrink(situation: Situation) -> bool:
    """Whether any step can ask for fewer replicas.

    This spares most services a second decision, which took 7 of the 52 ms that a tick over 100
    services spent in Python (measured 2026-11). It can go when a tick has time for that.
    """
    spec, ceiling, replicas = situation.spec, situation.ceiling, situation.replicas
    return (
        spec.max < replicas
        or (spec.min < replicas and recommend(situation)[0] < replicas)
        or (ceiling is not None and ceiling.replicas < replicas)
    )


def left_alone(situation: Situation) -> Reason | None:
    """Say why the service keeps its replicas, bounds or not; None when it may be scaled."""
    spec, replicas = situation.spec, situation.replicas
    if spec.mode is Mode.OFF:
        return Reason(ReasonCode.OFF, f"mode is off: left at {replicas}")
    if situation.refusal is not None:
        return Reason(ReasonCode.REFUSED, f"left at {replicas}: {situation.refusal}")
    if replicas == 0 and spec.min > 0:
        return Reason(
            ReasonCode.STOPPED_BY_HAND,
            f"left at 0: all replicas were stopped by hand and min is {spec.min};"
            " start one to let it scale again",
        )
    return None
