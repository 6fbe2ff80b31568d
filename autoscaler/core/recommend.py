"""The first step of a decision: how many replicas the signals alone call for. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta

from autoscaler.core.backlog import Backlog, SharedQueue, TaskQueue, UnknownBacklog
from autoscaler.core.durations import format_duration, seconds_begun, seconds_passed
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight, SlotKind, reporting
from autoscaler.core.label_values import KeepUp, QueueType, format_share
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.situation import Situation
from autoscaler.core.throughput import Need, needed
from autoscaler.core.words import agreeing, counted, figure

MOST_NAMED = 3
"""Services that a reason names at most. It is one line."""
TIME_TO_START = timedelta(seconds=30)
"""How long replicas have to start and to take tasks before max-wait asks for more."""

SLOTS_FOR: Mapping[SlotKind, QueueType] = {
    SlotKind.ACTIVITY: QueueType.ACTIVITY,
    SlotKind.LOCAL_ACTIVITY: QueueType.WORKFLOW,
    SlotKind.NEXUS: QueueType.NEXUS,
}
"""The slots that count for slots-target, and from which type of task queue their tasks come."""


def recommend(situation: Situation) -> tuple[int, Reason]:
    """Return the replicas that the signals alone call for, and why.

    That is `ceil(backlog / target)`, in tasks, or what max-wait, slots-target or keep-up ask for
    where that is more. An unknown backlog recommends the present count, so that the windows
    remember that nobody knew, and the fallback once it has been unknown for long enough.
    """
    if isinstance(situation.backlog, UnknownBacklog):
        return _recommend_unknown(situation)
    plain = _recommend_without_arrivals(situation, situation.backlog)
    arrivals = _recommend_by_arrivals(situation, situation.backlog, plain[0])
    return plain if arrivals is None or arrivals[0] <= plain[0] else arrivals


def learn(situation: Situation) -> Situation:
    """Return the situation with what its backlog teaches of the replicas' throughput."""
    spec, backlog, history = situation.spec, situation.backlog, situation.history
    if spec.keep_up != KeepUp() or isinstance(backlog, UnknownBacklog):
        return situation
    workers = (
        situation.version,
        *(spec.integration, spec.namespace, spec.queues, spec.queue_types),
        *(spec.deployment, spec.build_id),
    )
    others = _recommend_without_arrivals(situation, backlog)[0]
    learnt = history.throughput.observe(
        workers, situation.replicas, backlog, max(others, spec.min), situation.now
    )
    return replace(situation, history=replace(history, throughput=learnt))


def throughput(situation: Situation, history: History) -> float | None:
    """Return the tasks a second that one replica is taken to do; None where it is unknown.

    Of several types of task, the one counts that needs most replicas now.
    """
    keep_up = situation.spec.keep_up
    return history.throughput.shown if keep_up == KeepUp() else keep_up.throughput


def _recommend_without_arrivals(situation: Situation, backlog: Backlog) -> tuple[int, Reason]:
    asked = (
        _recommend_by_backlog(situation, backlog),
        _recommend_by_wait(situation, backlog),
        _recommend_by_slots(situation),
    )
    # Of equal numbers max() takes the first: the backlog's reason is the plainest.
    return max((each for each in asked if each is not None), key=lambda each: each[0])


def _recommend_by_arrivals(
    situation: Situation, backlog: Backlog, plain: int
) -> tuple[int, Reason] | None:
    """Ask for as many replicas as the arrivals need, where it is known what a replica gets done.

    From zero only tasks that wait wake a service.
    """
    keep_up, replicas = situation.spec.keep_up, situation.replicas
    if not keep_up.on or not replicas:
        return None
    if keep_up.throughput is not None:
        need = needed(backlog, keep_up.throughput)
    else:
        others = max(plain, situation.spec.min)
        need = situation.history.throughput.need(replicas, others, situation.now)
    if need is None:
        return None
    if keep_up.throughput is None and not backlog.waiting:
        # What was learnt may be older than this backlog, which shows that the replicas keep up.
        need = replace(need, replicas=min(need.replicas, replicas))
    return need.replicas, _by_arrivals(need)


def _by_arrivals(need: Need) -> Reason:
    """Say why the arrivals ask for these replicas."""
    waits = f"{counted(need.waiting, 'task')} {agreeing(need.waiting, 'waits', 'wait')}"
    wait = f" and {waits}" if need.waiting else ""
    text = (
        f"{_rate(need.arriving)} tasks a second arrive{wait},"
        f" a replica does {_rate(need.throughput)}"
    )
    so = figure(need.needed)
    if need.tried:
        so = f"{so}, tried with {figure(need.replicas)}"
    elif need.replicas < need.needed:
        so = f"{so} soon, {figure(need.replicas)} for now"
    return Reason(ReasonCode.KEEP_UP, text, so)


def _rate(tasks: float) -> str:
    """Write tasks a second with two figures at least: `8.4`, `120`, `0.033`."""
    return f"{tasks:,.0f}" if tasks >= 10 else f"{tasks:.2g}"  # noqa: PLR2004 - two digits


def without_limited(
    situation: Situation, backlog: Backlog, limited: Collection[TaskQueue]
) -> Situation:
    """Return the situation without these task queues of its backlog.

    Slots that only their tasks can take do not count either.
    """
    others = {queue: stats for queue, stats in backlog.parts.items() if queue not in limited}
    stuck = {queue.type for queue in limited} - {queue.type for queue in others}
    in_flight = situation.in_flight
    if isinstance(in_flight, InFlight):
        workers = [
            replace(
                worker,
                slots={
                    kind: slots
                    for kind, slots in worker.slots.items()
                    if SLOTS_FOR.get(kind) not in stuck
                },
            )
            for worker in in_flight.workers
        ]
        in_flight = replace(in_flight, workers=tuple(workers))
    shared = {queue: each for queue, each in backlog.shared.items() if queue in others}
    return replace(situation, backlog=Backlog(others, shared), in_flight=in_flight)


def _recommend_unknown(situation: Situation) -> tuple[int, Reason]:
    replicas, fallback = situation.replicas, situation.spec.fallback
    unknown_for = situation.now - situation.history.known_at
    if fallback.replicas is None or unknown_for < situation.spec.fallback_after:
        held = kept(replicas, replicas)
        return replicas, Reason(ReasonCode.BACKLOG_UNKNOWN, "backlog unknown", held)
    number = max(replicas, fallback.replicas) if fallback.at_least else fallback.replicas
    return number, Reason(
        ReasonCode.FALLBACK,
        f"backlog unknown for {format_duration(seconds_passed(unknown_for))},"
        f" fallback of {fallback}",
        kept(number, replicas),
    )


def _recommend_by_backlog(situation: Situation, backlog: Backlog) -> tuple[int, Reason]:
    waiting, target, replicas = backlog.waiting, situation.spec.target, situation.replicas
    number = -(-waiting // target)
    how = " (counted now)" if backlog.counted else ""
    tasks = f"{counted(waiting, 'waiting task')}{how}{_portion(backlog)}"
    text = f"{tasks} at target {figure(target)}"
    tolerance = situation.spec.tolerance
    # The HPA's rule: the ratio of the value to its target, for the present replicas. Rounded,
    # since 29 % of 100 tasks is a little less than 29 in floating point.
    wanted = replicas * target
    if number != replicas > 0 and abs(waiting - wanted) <= round(tolerance * wanted, 6):
        text = (
            f"{text} call for {figure(number)}, within the tolerance of {format_share(tolerance)}"
        )
        return replicas, Reason(ReasonCode.BACKLOG, text, kept(replicas, replicas))
    return number, Reason(ReasonCode.BACKLOG, text, figure(number))


def _portion(backlog: Backlog) -> str:
    """Write what the tasks of a shared queue are a portion of; nothing where none is shared."""
    others = backlog.others
    if not others:
        return ""
    named = ", ".join(map(str, others[:MOST_NAMED]))
    more = len(others) - MOST_NAMED
    rest = f" and {figure(more)} more" if more > 0 else ""
    return f" of {figure(backlog.waiting_in_whole)}, shared with {named}{rest},"


def _recommend_by_wait(situation: Situation, backlog: Backlog) -> tuple[int, Reason] | None:
    """Grow in proportion to how late the oldest task is: by one at least, doubling at most.

    That is counted from the replicas that have had time to start: those that were added since,
    by whatever reason, must show first what they do for the wait. Replicas may go only when the
    oldest task has waited for less than half of max-wait.

    Of several services that poll the queue, one grows at a time, by what all of them together lack,
    and the others hold.
    """
    max_wait, replicas = situation.spec.max_wait, situation.replicas
    if max_wait is None or not backlog.waiting_in_whole or not replicas:
        return None
    age = backlog.age
    if age is None:
        text = "how long the oldest task has waited is unknown"
        return replicas, Reason(ReasonCode.MAX_WAIT, text, kept(replicas, replicas))
    lateness = age / max_wait
    text = (
        f"the oldest task has waited {format_duration(seconds_begun(age))}"
        f" of at most {format_duration(max_wait)}"
    )
    late = _oldest(backlog)
    if lateness > 1 and late is not None and not late.grows:
        text = f"{text}, and another service of the task queue grows for it"
        return replicas, Reason(ReasonCode.MAX_WAIT, text, kept(replicas, replicas))
    if lateness > 1:
        beside = 0 if late is None else late.beside
        # Rounded first: 66 s of 60 s are a little more than 1.1 in floating point.
        added = max(0, situation.history.changed_by(situation.now - TIME_TO_START))
        started = max(replicas + beside - added, 0)
        number = max(started + 1, math.ceil(round(started * min(lateness, 2.0), 6))) - beside
        if number <= replicas and added:
            text = f"{text}, and {counted(added, 'new replica')} may still start"
        number = max(number, replicas)
        return number, Reason(ReasonCode.MAX_WAIT, text, kept(number, replicas))
    if lateness > 1 / 2:
        text = f"{text}, too close to shrink"
        return replicas, Reason(ReasonCode.MAX_WAIT, text, kept(replicas, replicas))
    return None


def _oldest(backlog: Backlog) -> SharedQueue | None:
    """Return how the queue is shared whose task has waited the longest; None where it is not."""
    waiting = (queue for queue, stats in backlog.whole.items() if stats.waiting)
    oldest = max(waiting, key=lambda queue: backlog.parts[queue].age or timedelta(), default=None)
    return None if oldest is None else backlog.shared.get(oldest)


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
    workers = [
        each for each in reports if each.fresh(situation.now) and each.tells and not each.leaving
    ]
    if not isinstance(in_flight, InFlight) or not workers:
        text = "slots in use unknown"
        return replicas, Reason(ReasonCode.SLOTS, text, kept(replicas, replicas))
    needs: list[tuple[int, Reason]] = []
    for kind in SLOTS_FOR:
        slots = [worker.slots[kind] for worker in workers if kind in worker.slots]
        used = sum(each.used for each in slots)
        total = used + sum(each.free for each in slots)
        if total:
            # Rounded first: 8 of 10 slots at 80 % are a little more than 1 in floating point.
            present = reporting(in_flight, situation.now)
            number = math.ceil(round(used * present / (total * share), 6))
            text = (
                f"{figure(used)} of {counted(total, f'{kind} slot')} in use,"
                f" {format_share(share)} aimed at"
            )
            needs.append((number, Reason(ReasonCode.SLOTS, text, figure(number))))
    # Workers that only run workflows have no such slots.
    return max(needs, key=lambda need: need[0], default=None)
