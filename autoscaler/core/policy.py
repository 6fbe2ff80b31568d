"""The decision: recommend, wake or sleep, stabilise, limit, hold, bound.

Pure, and every change comes with its reason. The order and the windows are the HPA's; zero is
KEDA's; what is different is said where it is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

from autoscaler.core.durations import format_duration
from autoscaler.core.model import (
    Backlog,
    Decision,
    History,
    Reason,
    ReasonCode,
    Situation,
    UnknownBacklog,
)
from autoscaler.core.spec import LONGEST_WINDOW, Mode, StepLimit, format_share

RATE_LIMITED_FOR = timedelta(seconds=10)
"""Debounce: the server's flag may flicker between two reads."""
IN_VAIN_FOR = timedelta(minutes=2)
"""After this long without a dispatch since replicas were added, more of them are of no use.
Workers have started and polled by then, and the server's 30 s averages have faded."""
SILENT_FOR = timedelta(minutes=1)
"""After this long without a poller, a task or an addition, a queue's name is probably wrong."""

Limited = tuple[int, Reason | None]
"""A number of replicas, and why it is not the number that went in (None where it is)."""

Limiter = Callable[[Situation, History, int], Limited]


def decide(situation: Situation) -> Decision:
    """Run the recommendation through every limit, keeping the reason for each change."""
    seen = situation.history.observe(
        situation.replicas, situation.backlog, situation.now, LONGEST_WINDOW
    )
    recommended, because = recommend(situation)
    # The whole longest window is kept, whatever the labels say now: a label that is
    # changed later finds the history that still applies.
    history = seen.record(recommended, situation.now, LONGEST_WINDOW)
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


def recommend(situation: Situation) -> tuple[int, Reason]:
    """Return the replicas that the signals alone call for, and why.

    `ceil(backlog / target)`, in tasks, or what max-wait asks for where that is more. An unknown
    backlog recommends the present count, so that the windows remember that nobody knew, and
    the fallback once it has been unknown for long enough.
    """
    if isinstance(situation.backlog, UnknownBacklog):
        return _recommend_unknown(situation)
    by_backlog = _recommend_by_backlog(situation, situation.backlog)
    by_wait = _recommend_by_wait(situation, situation.backlog)
    return by_backlog if by_wait is None or by_wait[0] <= by_backlog[0] else by_wait


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
    tolerated = replicas > 0 and abs(waiting - wanted) <= round(tolerance * wanted, 6)
    if number != replicas and tolerated:
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
    if not window:
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
    if not window:
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


LIMITERS: tuple[Limiter, ...] = (
    wake,
    sleep,
    stabilise_out,
    stabilise_in,
    limit_out,
    limit_in,
    hold_rate_limited,
    hold_phantom,
    pause,
    bound,
    cap,
)
"""The limits in the order they apply; each returns what it did and why."""


def _warnings(situation: Situation, history: History) -> Iterable[str]:
    backlog = situation.backlog
    if not isinstance(backlog, Backlog) or not situation.replicas:
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
