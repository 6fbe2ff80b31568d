"""No change tells replicas to stop once more that finish their work after a scale-in. Pure.

A worker that no longer listens after its first stop signal, as in the TypeScript SDK, dies by the
second one. On a Swarm, every scale-in repeats it, and growth by too few (decision 032).
"""

from __future__ import annotations

from autoscaler.core.history import History
from autoscaler.core.limits import Limited
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.situation import Situation
from autoscaler.core.words import agreeing, counted, figure


def grow_enough(situation: Situation, _history: History, desired: int) -> Limited:
    """Wish for as many as it takes to repeat no signal, where there may be so many."""
    enough = situation.replicas + situation.least_growth
    ceiling = situation.ceiling
    most = situation.spec.max if ceiling is None else min(situation.spec.max, ceiling.replicas)
    too_few = situation.replicas < desired < enough
    if not too_few or enough > most or situation.crash is not None:
        return desired, None
    return enough, Reason(ReasonCode.FINISHING, _because(situation, desired), figure(enough))


def let_some_finish(situation: Situation, _history: History, desired: int) -> Limited:
    """Change nothing while the change would repeat the signal."""
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
