"""Replicas that finish their work after a scale-in get no second stop signal. Pure.

A worker that no longer listens after its first stop signal, as in the TypeScript SDK, dies by the
second one. On a Swarm, every further scale-in repeats the signal, and so does growth by too few
replicas (decision 032).
"""

from __future__ import annotations

from autoscaler.core.history import History
from autoscaler.core.limits import Limited
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.situation import Situation
from autoscaler.core.words import agreeing, counted, figure


def grow_enough(situation: Situation, _history: History, desired: int) -> Limited:
    """Where growth by too few would repeat a stop signal, wish for enough, within max and ceiling.

    Otherwise the number stays, and `let_some_finish` holds it back.
    """
    enough = situation.replicas + situation.least_growth
    ceiling = situation.ceiling
    most = situation.spec.max if ceiling is None else min(situation.spec.max, ceiling.replicas)
    too_few = situation.replicas < desired < enough
    if not too_few or enough > most or situation.crash is not None:
        return desired, None
    return enough, Reason(ReasonCode.FINISHING, _because(situation, desired), figure(enough))


def let_some_finish(situation: Situation, _history: History, desired: int) -> Limited:
    """Keep the present number while a change to the desired one would repeat a stop signal."""
    replicas = situation.replicas
    enough = desired > replicas and desired - replicas >= situation.least_growth
    if not situation.finishing or desired == replicas or enough:
        return desired, None
    text = _because(situation, desired)
    return replicas, Reason(ReasonCode.BUSY, text, kept(replicas, replicas))


def _because(situation: Situation, desired: int) -> str:
    """Say why a change to the `desired` number of replicas may not be made."""
    finishing, least = situation.finishing, situation.least_growth
    growing = desired > situation.replicas
    change = f"growth by fewer than {least}" if growing else "another scale-in"
    return (
        f"{counted(finishing, 'replica')} of an earlier scale-in still"
        f" {agreeing(finishing, 'finishes its work', 'finish their work')}, and {change}"
        f" would repeat {agreeing(finishing, 'its', 'their')} stop signal"
    )
