"""The decision: recommend, limit, protect. Pure; every change of the number has its reason."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from autoscaler.core.backlog import Backlog
from autoscaler.core.errors import alone
from autoscaler.core.finishing import grow_enough, let_some_finish
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight
from autoscaler.core.label_values import LONGEST_WINDOW, Busy, Mode
from autoscaler.core.limits import LIMITS, Limiter, follow_schedule, take_share, within_bounds
from autoscaler.core.model import ServiceId
from autoscaler.core.protect import (
    keep_all_where_one_ignores_its_signal,
    keep_used,
    protect,
)
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.recommend import learn, recommend
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.words import figure

THE_WISH: tuple[Limiter, ...] = (*LIMITS, grow_enough)
"""The steps that make the service's wish. What is shared is dealt by the wishes."""
AFTER_THE_WISH: tuple[Limiter, ...] = (
    take_share,
    keep_all_where_one_ignores_its_signal,
    let_some_finish,
    keep_used,
    protect,
)
STEPS: tuple[Limiter, ...] = (*THE_WISH, *AFTER_THE_WISH)
"""Every step between the recommendation and the decision, in order."""


def decide(situation: Situation) -> Decision:
    """Run the recommendation through every step, and keep the reason for each change."""
    situation = learn(situation)
    recommended, because = recommend(situation)
    desired, scheduled = follow_schedule(situation, situation.history, recommended)
    # The history keeps the longest window that any label may ask for, so that a label which
    # changes finds the past it needs.
    history = situation.history.observe(
        situation.replicas,
        situation.backlog,
        desired,
        situation.now,
        LONGEST_WINDOW,
        changing=situation.changing,
    )
    if isinstance(situation.in_flight, InFlight):
        history = history.observe_in_flight(situation.in_flight, situation.now)
    hands_off = left_alone(situation)
    if hands_off is not None:
        # A known backlog that asks for the present number explains it, within the bounds.
        explained = (
            isinstance(situation.backlog, Backlog)
            and situation.replicas == recommended
            and within_bounds(situation, history)
        )
        limits = () if explained else (hands_off,)
        return Decision(situation.replicas, because, limits, history, wished=situation.replicas)
    wished, wishing = _through(THE_WISH, situation, history, desired)
    desired, following = _through(AFTER_THE_WISH, situation, history, wished)
    reasons = (scheduled, *wishing, *following)
    changes = tuple(reason for reason in reasons if reason is not None)
    return Decision(desired, because, changes, history, wished)


def _through(
    steps: Sequence[Limiter], situation: Situation, history: History, desired: int
) -> tuple[int, Sequence[Reason]]:
    """Take a number of replicas through some steps; return it with the reason for each change."""
    reasons: list[Reason] = []
    for step in steps:
        desired, reason = step(situation, history, desired)
        if reason is not None:
            reasons.append(reason)
    return desired, reasons


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
    if situation.spec.busy is Busy.IGNORE:
        return False
    if situation.history.throughput.held:
        # What the workers report tells whether the replicas are held in vain.
        return True
    if not _may_shrink(situation):
        return False
    return decide(situation).desired < situation.replicas


def _may_shrink(situation: Situation) -> bool:
    """Whether any step can ask for fewer replicas.

    This spares most services a second decision, which took 7 of the 52 ms that a tick over 100
    services spent in Python (measured 2026-11). It can go when a tick has time for that.
    """
    spec, ceiling, replicas = situation.spec, situation.ceiling, situation.replicas
    allowance = situation.allowance
    return (
        spec.max < replicas
        or (spec.min < replicas and recommend(situation)[0] < replicas)
        or (ceiling is not None and ceiling.replicas < replicas)
        or (allowance is not None and allowance.replicas < replicas)
    )


def left_alone(situation: Situation) -> Reason | None:
    """Say why the service keeps its replicas, bounds or not; None when it may be scaled."""
    spec, replicas = situation.spec, situation.replicas
    if spec.mode is Mode.OFF:
        return Reason(ReasonCode.OFF, "mode is off", kept(replicas, replicas))
    if situation.refusal is not None:
        # What keeps it comes last: it ends with what to do.
        return Reason(ReasonCode.REFUSED, f"keeps {figure(replicas)}: {situation.refusal}")
    if situation.stopped_by_hand:
        return Reason(
            ReasonCode.STOPPED_BY_HAND,
            "keeps 0: its replicas were stopped by hand; start one to let it scale again",
        )
    return None
