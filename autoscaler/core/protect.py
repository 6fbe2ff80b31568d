"""The last step of a decision, and the choice that follows from it: who stops. Pure.

No replica is stopped that is at work, or may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from autoscaler.core.durations import format_duration, whole_seconds
from autoscaler.core.history import History
from autoscaler.core.in_flight import (
    HEARTBEAT_SLACK,
    LONGEST_HEARTBEAT,
    InFlight,
    Standing,
    UnknownInFlight,
    standings,
)
from autoscaler.core.label_values import Busy
from autoscaler.core.limits import Limited
from autoscaler.core.model import Replica
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.situation import Situation
from autoscaler.core.words import counted

REPORT_WITHIN = LONGEST_HEARTBEAT + HEARTBEAT_SLACK
"""A worker that can report does so within this time, even after a restart of the server, which
keeps heartbeats in memory. After as long without a report, no worker is expected to report."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which replicas of a service stop."""

    of: tuple[Replica, ...]
    """All replicas that counted when the choice was made."""
    in_turn: tuple[Replica, ...] = ()
    """Those that the scheduler stops by itself when it is asked for fewer replicas."""
    by_name: tuple[Replica, ...] = ()
    """Those that have to be stopped by name."""

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All that stop, those in turn first."""
        return self.in_turn + self.by_name


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of a choice."""

    replicas: tuple[str, ...] = ()
    """Ids of the replicas that went, whether they were chosen or not."""
    vacated: bool = False
    """A replica was stopped by name, and its scheduler fills its place again unless it is asked
    for fewer replicas: whoever stopped it looks and chooses once more."""


def protect(situation: Situation, history: History, desired: int) -> Limited:
    """Keep every replica that is at work, or may be.

    This comes after the bounds: replicas above max stay until they have finished.
    """
    replicas, in_flight = situation.replicas, situation.in_flight
    if desired >= replicas or in_flight is None or situation.spec.busy is Busy.IGNORE:
        return desired, None
    if isinstance(in_flight, UnknownInFlight):
        text = f"it is unknown what is in flight: held at {replicas}"
        return replicas, Reason(ReasonCode.BUSY, text)
    if in_flight.unreported:
        return _protect_unreported(situation, in_flight, history, desired)
    known = standings(in_flight, situation.now)
    going = sum(standing is Standing.LEAVING for standing in known.values())
    going += len(choose_idle(in_flight.replicas, known, replicas - desired).replicas)
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
        f"{counted(busy + silent, 'replica')} may not be stopped ({', '.join(filter(None, stay))})"
    )
    if least > busy + silent:
        text += ", and the scheduler would choose from them"
    return least, Reason(ReasonCode.BUSY, f"{text}: {least}")


def _protect_unreported(
    situation: Situation, in_flight: InFlight, history: History, desired: int
) -> Limited:
    """Shrink without reports only once it is sure that none will come: the grace protects then."""
    replicas, since = situation.replicas, history.unreported_since
    if situation.spec.busy is Busy.STRICT:
        text = f"no replica is known to be idle: held at {replicas}"
        return replicas, Reason(ReasonCode.BUSY, text)
    silent = situation.now - since if since is not None else timedelta()
    if silent < REPORT_WITHIN:
        text = (
            f"no worker has reported for {format_duration(whole_seconds(silent))} of"
            f" {format_duration(REPORT_WITHIN)}: held at {replicas}"
        )
        return replicas, Reason(ReasonCode.BUSY, text)
    if all(replica.choosable for replica in in_flight.replicas):
        return desired, None
    # Nobody knows which replica the scheduler stops: one at a time, each with its whole grace.
    least = replicas if situation.draining else replicas - 1
    if desired >= least:
        return desired, None
    return least, Reason(ReasonCode.BUSY, f"no worker reports, so one replica at a time: {least}")


def choose(in_flight: InFlight, wanted: int, now: datetime, *, reported: bool) -> Choice:
    """Choose at most `wanted` replicas to stop, right before they are stopped.

    Only idle ones go. Where no worker reports, any may go, unless one did when it was decided
    (`reported`): then reports are missing, and a replica without one is not idle.
    """
    if not in_flight.workers and not reported:
        return choose_in_order(in_flight.replicas, wanted)
    return choose_idle(in_flight.replicas, standings(in_flight, now), wanted)


def choose_vacated(replicas: Sequence[Replica]) -> Choice:
    """Choose the replacement of a replica that was stopped by name, where its turn is certain.

    `replicas` are in the scheduler's order, after the stop. The replacement has not started, so it
    runs nothing. It goes only where it has a node and is alone in the first turn: before it has a
    node, balance between the nodes may make the scheduler stop another replica instead. On a Swarm
    of three nodes that happened in 9 of 84 trials, and with this rule in none of 6.
    """
    first = [each for each in replicas if each.turn == replicas[0].turn]
    certain = len(first) == 1 and first[0].placed and not first[0].started
    return Choice(tuple(replicas), in_turn=tuple(first) if certain else ())


def choose_in_order(replicas: Sequence[Replica], wanted: int) -> Choice:
    """Choose the first `wanted` replicas in the scheduler's order, whatever they run."""
    return Choice(tuple(replicas), in_turn=tuple(replicas[: max(0, wanted)]))


def choose_idle(replicas: Sequence[Replica], known: Mapping[str, Standing], wanted: int) -> Choice:
    """Choose at most `wanted` idle replicas. `replicas` are in the scheduler's order.

    The scheduler stops replicas turn by turn, and within a turn in any order: a turn can go only
    if all replicas in it are idle. Behind a turn with a busy replica, idle ones that can be stopped
    by name go. Replicas that leave already count among the wanted, and are not told again.
    """
    staying = [each for each in replicas if known.get(each.id) is not Standing.LEAVING]
    wanted = max(0, wanted - len(replicas) + len(staying))
    in_turn: list[Replica] = []
    for _, group in groupby(staying, key=lambda replica: replica.turn):
        turn = list(group)
        if any(known.get(replica.id) is not Standing.IDLE for replica in turn):
            break
        in_turn += turn
    by_name = [
        replica
        for replica in staying[len(in_turn) :]
        if replica.choosable and known.get(replica.id) is Standing.IDLE
    ]
    in_turn = in_turn[:wanted]
    return Choice(tuple(replicas), tuple(in_turn), tuple(by_name[: wanted - len(in_turn)]))
