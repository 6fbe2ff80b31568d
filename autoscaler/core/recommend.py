"""The first step of a decision: how many replicas the signals alone call for. Pure."""

from __future__ import annotations

import math

from autoscaler.core.durations import format_duration, whole_seconds
from autoscaler.core.in_flight import InFlight, SlotKind, reporting
from autoscaler.core.label_values import format_share
from autoscaler.core.model import Backlog, UnknownBacklog
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.situation import Situation
from autoscaler.core.words import counted


def recommend(situation: Situation) -> tuple[int, Reason]:
    """Return the replicas that the signals alone call for, and why.

    That is `ceil(backlog / target)`, in tasks, or what max-wait or slots-target ask for where that
    is more. An unknown backlog recommends the present count, so that the windows remember that
    nobody knew, and the fallback once it has been unknown for long enough.
    """
    if isinstance(situation.backlog, UnknownBacklog):
        return _recommend_unknown(situation)
    asked = (
        _recommend_by_backlog(situation, situation.backlog),
        _recommend_by_wait(situation, situation.backlog),
        _recommend_by_slots(situation),
    )
    # Of equal numbers max() takes the first: the backlog's reason is the plainest.
    return max((each for each in asked if each is not None), key=lambda each: each[0])


def _recommend_unknown(situation: Situation) -> tuple[int, Reason]:
    replicas, fallback = situation.replicas, situation.spec.fallback
    unknown_for = situation.now - situation.history.known_at
    if fallback.replicas is None or unknown_for < situation.spec.fallback_after:
        return replicas, Reason(ReasonCode.BACKLOG_UNKNOWN, f"backlog unknown: held at {replicas}")
    number = max(replicas, fallback.replicas) if fallback.at_least else fallback.replicas
    return number, Reason(
        ReasonCode.FALLBACK,
        f"backlog unknown for {format_duration(whole_seconds(unknown_for))}:"
        f" fallback of {fallback}: {number}",
    )


def _recommend_by_backlog(situation: Situation, backlog: Backlog) -> tuple[int, Reason]:
    waiting, target, replicas = backlog.waiting, situation.spec.target, situation.replicas
    number = -(-waiting // target)
    text = f"{counted(waiting, 'waiting task')} at target {target}: {number}"
    tolerance = situation.spec.tolerance
    # The HPA's rule: the ratio of the value to its target, for the present replicas. Rounded,
    # since 29 % of 100 tasks is a little less than 29 in floating point.
    wanted = replicas * target
    if number != replicas > 0 and abs(waiting - wanted) <= round(tolerance * wanted, 6):
        text = f"{text}, within the tolerance of {format_share(tolerance)}: {replicas}"
        return replicas, Reason(ReasonCode.BACKLOG, text)
    return number, Reason(ReasonCode.BACKLOG, text)


def _recommend_by_wait(situation: Situation, backlog: Backlog) -> tuple[int, Reason] | None:
    """Grow in proportion to how late the oldest task is: by one at least, doubling at most.

    Replicas may go only when the oldest task has waited for less than half of max-wait.
    """
    max_wait, replicas = situation.spec.max_wait, situation.replicas
    if max_wait is None or not backlog.waiting or not replicas:
        return None
    lateness = backlog.age / max_wait
    text = (
        f"the oldest task has waited {format_duration(whole_seconds(backlog.age))}"
        f" of at most {format_duration(max_wait)}"
    )
    if lateness > 1:
        # Rounded first: 66 s of 60 s are a little more than 1.1 in floating point.
        number = max(replicas + 1, math.ceil(round(replicas * min(lateness, 2.0), 6)))
        return number, Reason(ReasonCode.MAX_WAIT, f"{text}: {number}")
    if lateness > 1 / 2:
        return replicas, Reason(ReasonCode.MAX_WAIT, f"{text}, too close to shrink: {replicas}")
    return None


def _recommend_by_slots(situation: Situation) -> tuple[int, Reason] | None:
    """Ask for as many replicas as the slots in use need, at the wanted share of slots in use.

    The kind of slot with the greatest need counts. Slots in use are counted as a number, not as a
    share, so growth does not repeat itself while new replicas have not reported yet.
    """
    share, replicas, in_flight = (
        situation.spec.slots_target,
        situation.replicas,
        situation.in_flight,
    )
    if share is None or in_flight is None or not replicas:
        return None
    reports = in_flight.workers if isinstance(in_flight, InFlight) else ()
    workers = [each for each in reports if each.fresh(situation.now) and not each.leaving]
    if not isinstance(in_flight, InFlight) or not workers:
        return replicas, Reason(ReasonCode.SLOTS, f"slots in use unknown: held at {replicas}")
    needs: list[tuple[int, Reason]] = []
    for kind in (SlotKind.ACTIVITY, SlotKind.LOCAL_ACTIVITY, SlotKind.NEXUS):
        slots = [worker.slots[kind] for worker in workers if kind in worker.slots]
        used = sum(each.used for each in slots)
        total = used + sum(each.free for each in slots)
        if total:
            # Rounded first: 8 of 10 slots at 80 % are a little more than 1 in floating point.
            present = reporting(in_flight, situation.now)
            number = math.ceil(round(used * present / (total * share), 6))
            text = (
                f"{used:,} of {counted(total, f'{kind} slot')} in use, {format_share(share)} aimed"
                f" at: {number}"
            )
            needs.append((number, Reason(ReasonCode.SLOTS, text)))
    # Workers that only run workflows have no such slots.
    return max(needs, key=lambda need: need[0], default=None)
