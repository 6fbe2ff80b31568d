"""The limits between a recommendation and a decision, in the order in which they apply. Pure.

Each limit takes a number of replicas and returns a number, with its reason where it changed it.
The order and the windows are those of the Horizontal Pod Autoscaler (HPA) of Kubernetes; scale to
zero is KEDA's. Where a rule differs from theirs, its docstring says so. Busy replicas are protected
after all of these, in `protect`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

from autoscaler.core.durations import format_duration, whole_seconds
from autoscaler.core.history import History
from autoscaler.core.label_values import Mode, StepLimit
from autoscaler.core.model import Backlog, BuildStatus, UnknownBacklog
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.situation import Situation
from autoscaler.core.words import counted

RATE_LIMITED_FOR = timedelta(seconds=10)
"""How long the server must have limited the rate before growth stops: its flag may flicker."""
IN_VAIN_FOR = timedelta(minutes=2)
"""How long nothing must have been dispatched since replicas were added before growth stops.
Workers have started and polled by then, and the server's 30 s averages have faded."""

Limited = tuple[int, Reason | None]
"""A number of replicas, and why it differs from the number that went in; None where it does not."""

Limiter = Callable[[Situation, History, int], Limited]


def wake(situation: Situation, _history: History, desired: int) -> Limited:
    """Leave zero only for more waiting tasks than `activation`."""
    spec, backlog = situation.spec, situation.backlog
    if situation.replicas or not desired or isinstance(backlog, UnknownBacklog):
        return desired, None
    if backlog.waiting > spec.activation:
        return desired, None
    return 0, Reason(
        ReasonCode.ACTIVATION,
        f"{counted(backlog.waiting, 'waiting task')} not above the activation of"
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
        f"quiet for {format_duration(whole_seconds(quiet))} of the cooldown of"
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
    return most, Reason(ReasonCode.SCALE_OUT_LIMIT, f"scale-out limit {_written(limits)}: {most}")


def limit_in(situation: Situation, history: History, desired: int) -> Limited:
    """Shrink by no more than the scale-in limits allow; of several, the more generous counts.

    The HPA's rule, where the replicas that a share leaves over are rounded down.
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
    return least, Reason(ReasonCode.SCALE_IN_LIMIT, f"scale-in limit {_written(limits)}: {least}")


def hold_rate_limited(situation: Situation, history: History, desired: int) -> Limited:
    """Do not grow while the server limits the rate of a queue: more workers cannot help."""
    since = history.rate_limited_since
    if desired <= situation.replicas or since is None or situation.now - since < RATE_LIMITED_FOR:
        return desired, None
    return situation.replicas, Reason(
        ReasonCode.RATE_LIMITED,
        f"the server limits the rate of the task queue: held at {situation.replicas}",
    )


def hold_phantom(situation: Situation, history: History, desired: int) -> Limited:
    """Do not grow further for tasks that no worker gets, however many there are.

    Temporal counts tasks of closed workflows until a worker polls, and can count tasks twice
    after a restart.
    """
    if desired <= situation.replicas or not grown_in_vain(situation, history):
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
    """Keep the number between min and max. No limit before this one can leave the bounds."""
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


LIMITS: tuple[Limiter, ...] = (
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
)
"""The limits in the order they apply."""


def grown_in_vain(situation: Situation, history: History) -> bool:
    """Whether replicas were added a while ago, and nothing has been dispatched since."""
    grown = history.grown_in_stall_at
    return grown is not None and situation.now - grown >= IN_VAIN_FOR


def _written(limits: Iterable[StepLimit]) -> str:
    return ",".join(map(str, limits))
