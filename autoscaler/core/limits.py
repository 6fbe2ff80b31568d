"""The limits between a recommendation and a decision, in the order in which they apply. Pure.

Each limit takes a number of replicas and returns a number, with its reason where it changed it.
The order and the windows are those of the Horizontal Pod Autoscaler (HPA) of Kubernetes; scale to
zero is KEDA's. Where a rule differs from theirs, its docstring says so. Busy replicas are protected
after all of these, in `protect`. What the limits up to `cap` ask for is the service's wish: what
it gets where something is scarce is decided for all services together (`share.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

from autoscaler.core.backlog import Backlog, BuildStatus, UnknownBacklog
from autoscaler.core.durations import format_duration, seconds_begun, seconds_passed
from autoscaler.core.history import History
from autoscaler.core.label_values import Mode, StepLimit
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.recommend import recommend, without_limited
from autoscaler.core.schedule import Window
from autoscaler.core.situation import Situation
from autoscaler.core.words import counted, figure

RATE_LIMITED_FOR = timedelta(seconds=10)
"""How long the server must have limited the rate before growth stops: its flag may flicker."""
IN_VAIN_FOR = timedelta(minutes=2)
"""How long nothing must have been dispatched since replicas were added before growth stops.
Workers have started and polled by then, and the server's 30 s averages have faded."""

Limited = tuple[int, Reason | None]
"""A number of replicas, and why it differs from the number that went in; None where it does not."""

Limiter = Callable[[Situation, History, int], Limited]


def follow_schedule(situation: Situation, _history: History, desired: int) -> Limited:
    """Keep a scale-in within the bounds of the schedule, before every other limit.

    The history then remembers what the schedule has wanted, and replicas that a closing window no
    longer wants go as in any scale-in: by windows and step limits. To grow up to min, and no
    further than max, is left to `bound`.
    """
    bounded, reason = _within_bounds(situation, desired)
    if situation.spec.schedule and bounded <= situation.replicas:
        return bounded, reason
    return desired, None


def wake(situation: Situation, _history: History, desired: int) -> Limited:
    """Leave zero only for more waiting tasks than `activation`.

    Where other services get some of them, all count: that many would wake a service on its own.
    """
    spec, backlog = situation.spec, situation.backlog
    if situation.replicas or not desired or isinstance(backlog, UnknownBacklog):
        return desired, None
    waiting = backlog.waiting_in_whole
    if waiting > spec.activation:
        return desired, None
    return 0, Reason(
        ReasonCode.ACTIVATION,
        f"{counted(waiting, 'waiting task')}, not above the activation of"
        f" {figure(spec.activation)}",
        "keeps 0",
    )


def sleep(situation: Situation, history: History, desired: int) -> Limited:
    """Go to zero only after everything has been quiet for the cooldown.

    Arrivals count as activity: a queue that fast workers keep empty is not idle. Of several
    services that poll the same queues, the last replica of all is the one that waits for that.
    """
    cooldown, backlog = situation.spec.cooldown, situation.backlog
    if isinstance(backlog, Backlog) and not backlog.led:
        return desired, None
    quiet = situation.now - history.active_at
    if desired or not situation.replicas or situation.spec.min or quiet >= cooldown:
        return desired, None
    return 1, Reason(
        ReasonCode.COOLDOWN,
        f"quiet for {format_duration(seconds_passed(quiet))} of the cooldown of"
        f" {format_duration(cooldown)}",
        kept(1, situation.replicas),
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
    called = f"called for {figure(held)}" if held == smallest else "did not call for growth"
    return held, Reason(
        ReasonCode.SCALE_OUT_WINDOW,
        f"some of the last {format_duration(window)} {called} (scale-out window)",
        kept(held, situation.replicas),
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
        f"some of the last {format_duration(window)} called for {figure(largest)}"
        " (scale-in window)",
        kept(held, situation.replicas),
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
    text = f"scale-out limit {_written(limits)}"
    return most, Reason(ReasonCode.SCALE_OUT_LIMIT, text, kept(most, replicas))


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
    text = f"scale-in limit {_written(limits)}"
    return least, Reason(ReasonCode.SCALE_IN_LIMIT, text, kept(least, replicas))


def hold_rate_limited(situation: Situation, history: History, desired: int) -> Limited:
    """Do not grow for task queues whose rate the server limits: more workers cannot help.

    The other task queues may still wake the service and let it grow, as if they were alone.
    """
    replicas, backlog = situation.replicas, situation.backlog
    limited = frozenset(
        queue
        for queue, since in history.rate_limited_since.items()
        if situation.now - since >= RATE_LIMITED_FOR
    )
    if desired <= replicas or not limited or not isinstance(backlog, Backlog):
        return desired, None
    others = without_limited(situation, backlog, limited)
    awake, _ = wake(others, history, recommend(others)[0])
    most = max(replicas, awake)
    if desired <= most:
        return desired, None
    named = " and ".join(sorted(f"{queue.name!r} ({queue.type})" for queue in limited))
    what = named if len(limited) < len(backlog.parts) else "the task queue"
    text = f"the server limits the rate of {what}"
    return most, Reason(ReasonCode.RATE_LIMITED, text, kept(most, replicas))


def hold_phantom(situation: Situation, history: History, desired: int) -> Limited:
    """Do not grow further for tasks that no worker gets, however many there are.

    Temporal counts tasks of closed workflows until a worker polls, and can count tasks twice
    after a restart.
    """
    if desired <= situation.replicas or not grown_in_vain(situation, history):
        return desired, None
    return situation.replicas, Reason(
        ReasonCode.PHANTOM,
        "nothing was dispatched since replicas were added",
        kept(situation.replicas, situation.replicas),
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
    text = f"build {situation.spec.build_id} {why}"
    return 1, Reason(ReasonCode.BUILD, text, kept(1, situation.replicas))


def pause(situation: Situation, _history: History, desired: int) -> Limited:
    """Hold the direction that `mode` pauses; the bounds still apply."""
    spec, replicas = situation.spec, situation.replicas
    # Where there is a schedule, `bound` does not cut down what has been held here.
    held = min(replicas, spec.max) if spec.schedule else replicas
    paused_in = spec.mode is Mode.PAUSE_IN and desired < held
    paused_out = spec.mode is Mode.PAUSE_OUT and desired > replicas
    if not (paused_in or paused_out):
        return desired, None
    number = held if paused_in else replicas
    text = f"{'scale-in' if paused_in else 'scale-out'} is paused (mode)"
    return number, Reason(ReasonCode.PAUSED, text, kept(number, replicas))


def bound(situation: Situation, _history: History, desired: int) -> Limited:
    """Keep the number between min and max. No limit before this one can leave the bounds.

    Where a schedule has lowered max, windows and step limits say how fast replicas go: those that
    they still hold are left.
    """
    spec = situation.spec
    if spec.schedule and spec.max < desired <= situation.replicas:
        return desired, None
    return _within_bounds(situation, desired)


def _within_bounds(situation: Situation, desired: int) -> Limited:
    spec = situation.spec
    if desired < spec.min:
        by = _by(spec.schedule.min_by)
        so = f"{kept(spec.min, situation.replicas)} (min{by})"
        return spec.min, Reason(ReasonCode.MIN, "", so)
    if desired > spec.max:
        by = _by(spec.schedule.max_by)
        so = f"{figure(desired)} needed, at most {figure(spec.max)} (max{by})"
        return spec.max, Reason(ReasonCode.MAX, "", so)
    return desired, None


def _by(window: Window | None) -> str:
    """Return the window of the schedule that sets a bound, in words; empty: the label itself."""
    return "" if window is None else f", schedule {window.when}"


def recover(situation: Situation, _history: History, desired: int) -> Limited:
    """After a crash, start nothing for a while, and then min or one more replica as a trial.

    The orchestrator ends the crash once a replica that was started after it has run for a while.
    """
    crash, replicas = situation.crash, situation.replicas
    if crash is None or desired <= replicas:
        return desired, None
    if crash.retry_at is None:
        return replicas, Reason(ReasonCode.CRASHED, "after a crash", kept(replicas, replicas))
    if crash.retry_at > situation.now:
        wait = format_duration(seconds_begun(crash.retry_at - situation.now))
        text = f"after a crash, more are started in {wait}"
        return replicas, Reason(ReasonCode.CRASHED, text, kept(replicas, replicas))
    most = max(replicas + 1, situation.spec.min)
    if desired <= most:
        return desired, None
    return most, Reason(ReasonCode.CRASHED, "a trial after a crash", figure(most))


def cap(situation: Situation, _history: History, desired: int) -> Limited:
    """Do not ask for replicas that Docker cannot make."""
    ceiling = situation.ceiling
    if ceiling is None or desired <= ceiling.replicas:
        return desired, None
    text = f"{figure(desired)} needed, at most {figure(ceiling.replicas)}: {ceiling.because}"
    return ceiling.replicas, Reason(ReasonCode.CEILING, text)


def take_share(situation: Situation, _history: History, desired: int) -> Limited:
    """Do with what the service gets where something is scarce, even below min."""
    allowance = situation.allowance
    if allowance is None or desired <= allowance.replicas:
        return desired, None
    text = f"wants {figure(desired)}, gets {figure(allowance.replicas)}: {allowance.because}"
    return allowance.replicas, Reason(ReasonCode.SHARED, text)


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
    recover,
    cap,
)
"""The limits in the order they apply. `core/decide.py` has the steps that follow them."""


def within_bounds(situation: Situation, history: History) -> bool:
    """Whether min, max and what Docker can make allow the present number of replicas."""
    limited = (
        _within_bounds(situation, situation.replicas),
        cap(situation, history, situation.replicas),
    )
    return all(reason is None for _, reason in limited)


def grown_in_vain(situation: Situation, history: History) -> bool:
    """Whether replicas were added a while ago, and nothing has been dispatched since."""
    grown = history.grown_in_stall_at
    return grown is not None and situation.now - grown >= IN_VAIN_FOR


def _written(limits: Iterable[StepLimit]) -> str:
    return ",".join(map(str, limits))
