"""The decision: recommend, wake or sleep, stabilise, limit, hold, bound, protect.

Pure, and every change comes with its reason. The order and the windows are the HPA's; zero is
KEDA's; what is different is said where it is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

from autoscaler.core.drain import Standing, reporting, standings, to_stop
from autoscaler.core.durations import format_duration
from autoscaler.core.model import (
    HEARTBEAT_SLACK,
    LONGEST_HEARTBEAT,
    Backlog,
    BuildStatus,
    Decision,
    History,
    InFlight,
    Reason,
    ReasonCode,
    Situation,
    SlotKind,
    UnknownBacklog,
    UnknownInFlight,
)
from autoscaler.core.spec import LONGEST_WINDOW, Busy, Mode, StepLimit, format_share

RATE_LIMITED_FOR = timedelta(seconds=10)
"""Debounce: the server's flag may flicker between two reads."""
IN_VAIN_FOR = timedelta(minutes=2)
"""After this long without a dispatch since replicas were added, more of them are of no use.
Workers have started and polled by then, and the server's 30 s averages have faded."""
REPORT_WITHIN = LONGEST_HEARTBEAT + HEARTBEAT_SLACK
"""A worker that can report does so in this time, even after a restart of the server, which keeps
heartbeats in memory. After as long without a report, nobody is taken to report."""
SILENT_FOR = timedelta(minutes=1)
"""After this long without a poller, a task or an addition, a queue's name is probably wrong."""

Limited = tuple[int, Reason | None]
"""A number of replicas, and why it is not the number that went in (None where it is)."""

Limiter = Callable[[Situation, History, int], Limited]


def decide(situation: Situation) -> Decision:
    """Run the recommendation through every limit, keeping the reason for each change."""
    recommended, because = recommend(situation)
    # The whole longest window is kept, whatever the labels say now: a label that is
    # changed later finds the history that still applies.
    history = situation.history.observe(
        situation.replicas, situation.backlog, recommended, situation.now, LONGEST_WINDOW
    )
    if isinstance(situation.in_flight, InFlight):
        history = history.observe_in_flight(situation.in_flight, situation.now)
    warnings = tuple(_warnings(situation, history))
    hands_off = _left_alone(situation)
    if hands_off is not None:
        # A backlog that nobody knows, or asked for, explains nothing.
        explained = isinstance(situation.backlog, Backlog) and situation.replicas == recommended
        limits = () if explained else (hands_off,)
        return Decision(situation.replicas, because, limits, history, warnings)
    desired = recommended
    reasons: list[Reason] = []
    for limit in LIMITERS:
        desired, reason = limit(situation, history, desired)
        if reason is not None:
            reasons.append(reason)
    return Decision(desired, because, tuple(reasons), history, warnings)


def wants_in_flight(situation: Situation, unseen: Decision) -> bool:
    """Say whether the decision depends on what is in flight, which costs calls to read.

    `unseen` is what was decided of the situation without it.
    """
    if _left_alone(situation) is not None or not situation.replicas:
        return False
    if situation.spec.slots_target is not None:
        return True
    return situation.spec.busy is not Busy.IGNORE and unseen.desired < situation.replicas


def recommend(situation: Situation) -> tuple[int, Reason]:
    """Return the replicas that the signals alone call for, and why.

    `ceil(backlog / target)`, in tasks, or what max-wait or slots-target ask for where that is
    more. An unknown backlog recommends the present count, so that the windows remember that nobody
    knew, and the fallback once it has been unknown for long enough.
    """
    if isinstance(situation.backlog, UnknownBacklog):
        return _recommend_unknown(situation)
    most = _recommend_by_backlog(situation, situation.backlog)
    for other in (
        _recommend_by_wait(situation, situation.backlog),
        _recommend_by_slots(situation),
    ):
        # Of equals the first counts: the backlog's reason is the plainest.
        if other is not None and other[0] > most[0]:
            most = other
    return most


def _recommend_unknown(situation: Situation) -> tuple[int, Reason]:
    replicas, fallback = situation.replicas, situation.spec.fallback
    unknown_for = situation.now - situation.history.known_at
    if fallback.replicas is None or unknown_for < situation.spec.fallback_after:
        return replicas, Reason(ReasonCode.BACKLOG_UNKNOWN, f"backlog unknown: held at {replicas}")
    number = max(replicas, fallback.replicas) if fallback.at_least else fallback.replicas
    return number, Reason(
        ReasonCode.FALLBACK,
        f"backlog unknown for {format_duration(_whole(unknown_for))}:"
        f" fallback of {fallback}: {number}",
    )


def _recommend_by_backlog(situation: Situation, backlog: Backlog) -> tuple[int, Reason]:
    waiting, target, replicas = backlog.waiting, situation.spec.target, situation.replicas
    number = -(-waiting // target)
    text = f"{_count(waiting, 'waiting task')} at target {target}: {number}"
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

    Not before the oldest task has waited for only half of max-wait may replicas go.
    """
    max_wait, replicas = situation.spec.max_wait, situation.replicas
    if max_wait is None or not backlog.waiting or not replicas:
        return None
    lateness = backlog.age / max_wait
    text = (
        f"the oldest task has waited {format_duration(_whole(backlog.age))}"
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
    """Ask for as many replicas as the slots in use need, with the wanted share of slots in use.

    The kind of slot with the greatest need counts. What is in use is absolute, so that growth
    does not repeat itself while new replicas have not reported yet.
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
                f"{used:,} of {_count(total, f'{kind} slot')} in use, {format_share(share)} aimed"
                f" at: {number}"
            )
            needs.append((number, Reason(ReasonCode.SLOTS, text)))
    # Workers that only run workflows have no such slots.
    return max(needs, key=lambda need: need[0], default=None)


def _left_alone(situation: Situation) -> Reason | None:
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


def wake(situation: Situation, _history: History, desired: int) -> Limited:
    """Leave zero only for more waiting tasks than `activation`."""
    spec, backlog = situation.spec, situation.backlog
    if situation.replicas or not desired or isinstance(backlog, UnknownBacklog):
        return desired, None
    if backlog.waiting > spec.activation:
        return desired, None
    return 0, Reason(
        ReasonCode.ACTIVATION,
        f"{_count(backlog.waiting, 'waiting task')} not above the activation of"
        f" {spec.activation}: 0",
    )


def sleep(situation: Situation, history: History, desired: int) -> Limited:
    """Go to zero only after everything has been quiet for the cooldown.

    Arrivals count as activity: a queue that fast workers keep empty is not idle.
    """
    cooldown = situation.spec.cooldown
    quiet = situation.now - history.active_at
    if desired or not situation.replicas or situation.spec.min or quiet >= cooldown:
        return desired, None
    return 1, Reason(
        ReasonCode.COOLDOWN,
        f"quiet for {format_duration(_whole(quiet))} of the cooldown of"
        f" {format_duration(cooldown)}: 1",
    )


def stabilise_out(situation: Situation, history: History, desired: int) -> Limited:
    """Grow only as far as every recommendation in the scale-out window agrees.

    The HPA's rule: the smallest recommendation in the window counts, and a window never
    turns growth into a scale-in.
    """
    window = situation.spec.scale_out_window
    if not window or desired <= situation.replicas:
        return desired, None
    smallest = min(history.since(situation.now - window), default=desired)
    held = max(smallest, situation.replicas)
    if desired <= held:
        return desired, None
    return held, Reason(
        ReasonCode.SCALE_OUT_WINDOW,
        f"smallest recommendation in the scale-out window of {format_duration(window)}: {held}"
        if held == smallest
        else f"not every recommendation in the scale-out window of {format_duration(window)}"
        f" asks for growth: {held}",
    )


def stabilise_in(situation: Situation, history: History, desired: int) -> Limited:
    """Shrink only as far as every recommendation in the scale-in window agrees.

    The HPA's rule: the largest recommendation in the window counts, and a window never
    turns a scale-in into growth.
    """
    window = situation.spec.scale_in_window
    if not window or desired >= situation.replicas:
        return desired, None
    largest = max(history.since(situation.now - window), default=desired)
    held = min(largest, situation.replicas)
    if desired >= held:
        return desired, None
    return held, Reason(
        ReasonCode.SCALE_IN_WINDOW,
        f"largest recommendation in the scale-in window of {format_duration(window)}"
        f" is {largest}: {held}",
    )


def limit_out(situation: Situation, history: History, desired: int) -> Limited:
    """Grow by no more than the scale-out limits allow; of several, the more generous counts.

    The HPA's rule: changes in the period count whoever made them, and a share is rounded up.
    From zero, a share is taken of one replica.
    """
    limits, replicas = situation.spec.scale_out_limit, situation.replicas
    if not limits or desired <= replicas:
        return desired, None

    def allowed(limit: StepLimit) -> int:
        start = replicas - history.changed_by(situation.now - limit.period)
        if limit.percent:
            return math.ceil(max(start, 1) * (100 + limit.amount) / 100)
        return start + limit.amount

    most = max(replicas, *map(allowed, limits))
    if desired <= most:
        return desired, None
    return most, Reason(ReasonCode.SCALE_OUT_LIMIT, f"scale-out limit {_join(limits)}: {most}")


def limit_in(situation: Situation, history: History, desired: int) -> Limited:
    """Shrink by no more than the scale-in limits allow; of several, the more generous counts.

    The HPA's rule, where what a share leaves over is rounded down.
    """
    limits, replicas = situation.spec.scale_in_limit, situation.replicas
    if not limits or desired >= replicas:
        return desired, None

    def allowed(limit: StepLimit) -> int:
        start = replicas - history.changed_by(situation.now - limit.period)
        if limit.percent:
            return start * (100 - min(limit.amount, 100)) // 100
        return start - limit.amount

    least = min(replicas, *map(allowed, limits))
    if desired >= least:
        return desired, None
    return least, Reason(ReasonCode.SCALE_IN_LIMIT, f"scale-in limit {_join(limits)}: {least}")


def hold_rate_limited(situation: Situation, history: History, desired: int) -> Limited:
    """Do not grow while the server holds tasks back on purpose: workers cannot help."""
    since = history.rate_limited_since
    if desired <= situation.replicas or since is None or situation.now - since < RATE_LIMITED_FOR:
        return desired, None
    return situation.replicas, Reason(
        ReasonCode.RATE_LIMITED,
        f"the server limits the rate of the task queue: held at {situation.replicas}",
    )


def hold_phantom(situation: Situation, history: History, desired: int) -> Limited:
    """Do not grow further for tasks that no worker gets, however many there are.

    Temporal counts tasks of closed workflows until a worker comes by, and can count double
    after a restart.
    """
    if desired <= situation.replicas or not _grown_in_vain(situation, history):
        return desired, None
    return situation.replicas, Reason(
        ReasonCode.PHANTOM,
        f"nothing was dispatched since replicas were added: held at {situation.replicas}",
    )


def keep_build(situation: Situation, _history: History, desired: int) -> Limited:
    """Keep one replica of a build that drains, and of one that has never polled.

    Workflows pinned to a draining build need a worker whenever they go on, which no backlog
    shows beforehand; and Temporal learns of a new build only when a worker of it polls.
    """
    backlog = situation.backlog
    if desired or not isinstance(backlog, Backlog):
        return desired, None
    build = backlog.build
    if build not in (BuildStatus.DRAINING, BuildStatus.NEVER_POLLED):
        return desired, None
    why = "is draining" if build is BuildStatus.DRAINING else "has never polled"
    return 1, Reason(ReasonCode.BUILD, f"build {situation.spec.build_id} {why}: 1")


def pause(situation: Situation, _history: History, desired: int) -> Limited:
    """Hold the direction that `mode` pauses; the bounds still apply."""
    mode, replicas = situation.spec.mode, situation.replicas
    paused_in = mode is Mode.PAUSE_IN and desired < replicas
    paused_out = mode is Mode.PAUSE_OUT and desired > replicas
    if not (paused_in or paused_out):
        return desired, None
    return replicas, Reason(ReasonCode.PAUSED, f"mode is {mode}: {replicas}")


def bound(situation: Situation, _history: History, desired: int) -> Limited:
    """Keep the number between min and max. This comes after every other wish."""
    spec = situation.spec
    if desired < spec.min:
        return spec.min, Reason(ReasonCode.MIN, f"min: {spec.min}")
    if desired > spec.max:
        return spec.max, Reason(ReasonCode.MAX, f"max: {spec.max}")
    return desired, None


def cap(situation: Situation, _history: History, desired: int) -> Limited:
    """Do not ask for replicas that Docker cannot make."""
    ceiling = situation.ceiling
    if ceiling is None or desired <= ceiling.replicas:
        return desired, None
    return ceiling.replicas, Reason(
        ReasonCode.CEILING, f"at most {ceiling.replicas}: {ceiling.because}"
    )


def protect(situation: Situation, history: History, desired: int) -> Limited:
    """Stop no replica that is at work, or may be.

    After the bounds: even more replicas than max stay until they have finished.
    """
    replicas, in_flight = situation.replicas, situation.in_flight
    if desired >= replicas or in_flight is None or situation.spec.busy is Busy.IGNORE:
        return desired, None
    if isinstance(in_flight, UnknownInFlight):
        text = f"it is unknown what is in flight: held at {replicas}"
        return replicas, Reason(ReasonCode.BUSY, text)
    if in_flight.unreported:
        return _go_unreported(situation, in_flight, history, desired)
    known = standings(in_flight, situation.now)
    going = sum(standing is Standing.LEAVING for standing in known.values())
    going += len(to_stop(in_flight.replicas, known, replicas - desired).replicas)
    least = replicas - going
    if least <= desired:
        return desired, None
    busy, silent = (
        sum(standing is each for standing in known.values())
        for each in (Standing.BUSY, Standing.SILENT)
    )
    if not busy and not silent:
        text = f"the replicas have changed since they were counted: {least}"
        return least, Reason(ReasonCode.BUSY, text)
    stay = [f"{busy} at work" if busy else "", f"{silent} not reporting" if silent else ""]
    text = (
        f"{_count(busy + silent, 'replica')} may not be stopped ({', '.join(filter(None, stay))})"
    )
    if least > busy + silent:
        text += ", and the scheduler would choose from them"
    return least, Reason(ReasonCode.BUSY, f"{text}: {least}")


def _go_unreported(
    situation: Situation, in_flight: InFlight, history: History, desired: int
) -> Limited:
    """Where nobody reports, go on behind the stop grace, once that is sure to be so."""
    replicas, since = situation.replicas, history.unreported_since
    if situation.spec.busy is Busy.STRICT:
        text = f"no replica is known to be idle: held at {replicas}"
        return replicas, Reason(ReasonCode.BUSY, text)
    silent = situation.now - since if since is not None else timedelta()
    if silent < REPORT_WITHIN:
        text = (
            f"no worker has reported for {format_duration(_whole(silent))} of"
            f" {format_duration(REPORT_WITHIN)}: held at {replicas}"
        )
        return replicas, Reason(ReasonCode.BUSY, text)
    if all(replica.choosable for replica in in_flight.replicas):
        return desired, None
    # Nobody knows whom the scheduler hits: each gets its whole grace before the next is hit.
    least = replicas if situation.draining else replicas - 1
    if desired >= least:
        return desired, None
    return least, Reason(ReasonCode.BUSY, f"no worker reports, so one replica at a time: {least}")


LIMITERS: tuple[Limiter, ...] = (
    wake,
    sleep,
    stabilise_out,
    stabilise_in,
    limit_out,
    limit_in,
    hold_rate_limited,
    hold_phantom,
    keep_build,
    pause,
    bound,
    cap,
    protect,
)
"""The limits in the order they apply; each returns what it did and why."""


def _warnings(situation: Situation, history: History) -> Iterable[str]:
    if situation.spec.mode is not Mode.OFF:
        yield from _stop_warnings(situation, history)
    backlog = situation.backlog
    if not isinstance(backlog, Backlog):
        return
    spec = situation.spec
    for name, deployment in sorted(backlog.summed.items()):
        yield (
            f"task queue {name!r} belongs to Worker Deployment {deployment!r}, and its backlog sums"
            " up all builds; set the labels deployment and build-id to scale one build by its own"
        )
    if backlog.build is BuildStatus.NEVER_POLLED and situation.replicas:
        yield (
            f"Temporal knows no worker of build {spec.build_id!r} of Worker Deployment"
            f" {spec.deployment!r} yet: if its workers run, check both names"
        )
    if not situation.replicas:
        return
    if _grown_in_vain(situation, history):
        yield (
            f"{_count(backlog.waiting, 'task')} wait and none is dispatched, although replicas"
            " were added: they may belong to closed workflows, or no worker polls for their kind"
        )
    for queue, since in sorted(history.silent_since.items()):
        if situation.now - since >= SILENT_FOR:
            yield (
                f"task queue {queue.name!r} has had no poller, no backlog and no task added so"
                " far: check its name and namespace, and that the workers poll it"
            )


def _stop_warnings(situation: Situation, history: History) -> Iterable[str]:
    """Say what could cost a task when a replica is stopped."""
    grace, advice = situation.grace, "see docs/graceful-shutdown.md"
    if grace is None:
        yield (
            "stop_grace_period is not set, so Docker kills a replica 10 s after its stop signal:"
            f" set it longer than the longest activity; {advice}"
        )
    elif history.longest_task > grace:
        yield (
            f"a task was seen to run for longer than the stop grace of {format_duration(grace)}:"
            f" raise stop_grace_period; {advice}"
        )
    since = history.unreported_since
    if since is not None and situation.now - since >= REPORT_WITHIN:
        yield (
            "no worker reports what it is running, so only the stop grace protects its tasks (and"
            " strict stops none): it takes Temporal server 1.30, an SDK with worker heartbeats"
            f" (Python 1.20) and a host name per container; {advice}"
        )


def _grown_in_vain(situation: Situation, history: History) -> bool:
    """Whether replicas were added a while ago, and nothing has been dispatched since."""
    grown = history.grown_in_stall_at
    return grown is not None and situation.now - grown >= IN_VAIN_FOR


def _whole(duration: timedelta) -> timedelta:
    """Round to seconds, for people."""
    return timedelta(seconds=round(duration.total_seconds()))


def _join(limits: Iterable[StepLimit]) -> str:
    return ",".join(map(str, limits))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
