"""The last step of a decision, and the choice that follows from it: who stops. Pure.

No replica is stopped that is at work, or may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from autoscaler.core.durations import format_duration, seconds_passed
from autoscaler.core.history import History
from autoscaler.core.in_flight import (
    HEARTBEAT_SLACK,
    LONGEST_HEARTBEAT,
    NO_CREWS,
    Crew,
    InFlight,
    Standing,
    UnknownInFlight,
    standings,
)
from autoscaler.core.label_values import Busy
from autoscaler.core.limits import Limited
from autoscaler.core.model import Replica, ScalingAction
from autoscaler.core.reason import Reason, ReasonCode, kept
from autoscaler.core.situation import Situation
from autoscaler.core.words import agreeing, counted, figure

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


def keep_all_where_one_ignores_its_signal(
    situation: Situation, _history: History, desired: int
) -> Limited:
    """Stop nobody where a replica has ignored its stop signal: the others would do the same.

    Each would go on taking tasks until it is killed in the middle of some.
    """
    replicas = situation.replicas
    if desired >= replicas or not situation.ignoring:
        return desired, None
    names = ", ".join(situation.ignoring)
    verb = agreeing(len(situation.ignoring), "ignores its stop signal", "ignore their stop signal")
    text = f"{names} {verb}, so none is stopped"
    return replicas, Reason(ReasonCode.IGNORES_STOP, text, kept(replicas, replicas))


def keep_used(situation: Situation, _history: History, desired: int) -> Limited:
    """Keep the replicas that other containers use something of, such as their network."""
    least = min(len(situation.in_use), situation.replicas)
    if least <= desired:
        return desired, None
    text = (
        f"{counted(least, 'replica')} may not be stopped, because other containers use"
        f" {agreeing(least, 'its', 'their')} network, processes, memory or volumes"
        f" ({', '.join(situation.in_use)})"
    )
    return least, Reason(ReasonCode.BUSY, text, kept(least, situation.replicas))


def protect(situation: Situation, history: History, desired: int) -> Limited:
    """Keep every replica that is at work, or may be.

    This comes after the bounds: replicas above max stay until they have finished.
    """
    replicas, in_flight = situation.replicas, situation.in_flight
    if desired >= replicas or in_flight is None or situation.spec.busy is Busy.IGNORE:
        return desired, None
    if isinstance(in_flight, UnknownInFlight):
        text = "it is unknown what is in flight"
        return replicas, Reason(ReasonCode.BUSY, text, kept(replicas, replicas))
    if in_flight.unreported:
        return _protect_unreported(situation, in_flight, history, desired)
    known = standings(in_flight, situation.now, history.crews)
    # A change under way, or the scheduler, may still have to stop some of those that were found.
    found = max(replicas, len(in_flight.replicas))
    going = sum(standing is Standing.LEAVING for standing in known.values())
    going += len(choose_idle(in_flight.replicas, known, found - desired).replicas)
    least = min(replicas, found - going)
    if least <= desired:
        return desired, None
    busy, silent = (
        sum(standing is each for standing in known.values())
        for each in (Standing.BUSY, Standing.SILENT)
    )
    if not busy and not silent:
        text = "the replicas have changed since they were counted"
        return least, Reason(ReasonCode.BUSY, text, kept(least, replicas))
    used = sum(each.in_use and known[each.id] is Standing.IDLE for each in in_flight.replicas)
    stay = [
        f"{figure(busy)} at work" if busy else "",
        f"{figure(silent)} not reporting" if silent else "",
        f"{figure(used)} in use by other containers" if used else "",
    ]
    staying = busy + silent + used
    text = f"{counted(staying, 'replica')} may not be stopped ({', '.join(filter(None, stay))})"
    if least > staying:
        text += ", and the scheduler would choose from them"
    return least, Reason(ReasonCode.BUSY, text, kept(least, replicas))


def _protect_unreported(
    situation: Situation, in_flight: InFlight, history: History, desired: int
) -> Limited:
    """Shrink without reports only once it is sure that none will come: the grace protects then."""
    replicas, since = situation.replicas, history.unreported_since
    if situation.spec.busy is Busy.STRICT:
        text = "no replica is known to be idle"
        return replicas, Reason(ReasonCode.BUSY, text, kept(replicas, replicas))
    silent = situation.now - since if since is not None else timedelta()
    if silent < REPORT_WITHIN:
        text = (
            f"no worker has reported for {format_duration(seconds_passed(silent))} of"
            f" {format_duration(REPORT_WITHIN)}"
        )
        return replicas, Reason(ReasonCode.BUSY, text, kept(replicas, replicas))
    if all(replica.choosable for replica in in_flight.replicas):
        return desired, None
    # Nobody knows which replica the scheduler stops: one at a time, each with its whole grace.
    least = replicas if situation.draining else replicas - 1
    if desired >= least:
        return desired, None
    text = "no worker reports, so one replica at a time"
    return least, Reason(ReasonCode.BUSY, text, kept(least, replicas))


def choose_for(  # noqa: PLR0913 - all of it bears on the choice
    action: ScalingAction,
    busy: Busy,
    in_flight: InFlight,
    now: datetime,
    *,
    reported: bool,
    crews: Mapping[str, Crew] = NO_CREWS,
) -> Choice:
    """Choose who stops for a change to fewer replicas, by what is known right now.

    `reported` says whether any worker reported when the change was decided. Nobody is chosen where
    there are more replicas than the change counts: somebody has added some, or the scheduler still
    lets go of earlier ones, and whose turn comes after those is not known yet.
    """
    if len(in_flight.replicas) > action.current:
        return Choice(in_flight.replicas)
    wanted = action.current - action.desired
    if busy is Busy.IGNORE:
        return choose_in_order(in_flight.replicas, wanted)
    return choose(in_flight, wanted, now, reported=reported, crews=crews)


def stops_nobody(
    action: ScalingAction, situation: Situation, crews: Mapping[str, Crew] = NO_CREWS
) -> bool:
    """Say whether a change would stop no replica, as far as this look can tell.

    Replicas that leave already go without being told. A change that stops nobody is not started:
    it would be reported in each tick until they have gone.
    """
    in_flight = situation.in_flight
    if action.desired >= action.current or not isinstance(in_flight, InFlight):
        return False
    reported, busy = bool(in_flight.workers), situation.spec.busy
    choice = choose_for(action, busy, in_flight, situation.now, reported=reported, crews=crews)
    return not choice.replicas


def choose(
    in_flight: InFlight,
    wanted: int,
    now: datetime,
    *,
    reported: bool,
    crews: Mapping[str, Crew] = NO_CREWS,
) -> Choice:
    """Choose at most `wanted` replicas to stop, right before they are stopped.

    Only idle ones go. Where no worker reports, any may go, unless one did when it was decided
    (`reported`): then reports are missing, and a replica without one is not idle. `crews` are those
    of earlier looks.
    """
    if not in_flight.workers and not reported:
        return choose_in_order(in_flight.replicas, wanted)
    return choose_idle(in_flight.replicas, standings(in_flight, now, crews), wanted)


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
    free = [each for each in replicas if not each.in_use]
    return Choice(tuple(replicas), in_turn=tuple(free[: max(0, wanted)]))


def choose_idle(replicas: Sequence[Replica], known: Mapping[str, Standing], wanted: int) -> Choice:
    """Choose at most `wanted` idle replicas. `replicas` are in the scheduler's order.

    The scheduler stops replicas turn by turn, and within a turn in any order: a turn can go only
    if all replicas in it are idle. Behind a turn with a busy replica, idle ones that can be stopped
    by name go. Replicas that leave already count among the wanted, and are not told again.
    """
    staying = [each for each in replicas if known.get(each.id) is not Standing.LEAVING]
    idle = {each.id for each in staying if known.get(each.id) is Standing.IDLE and not each.in_use}
    wanted = max(0, wanted - len(replicas) + len(staying))
    in_turn: list[Replica] = []
    for _, group in groupby(staying, key=lambda replica: replica.turn):
        turn = list(group)
        if any(replica.id not in idle for replica in turn):
            break
        in_turn += turn
    by_name = [
        replica for replica in staying[len(in_turn) :] if replica.choosable and replica.id in idle
    ]
    in_turn = in_turn[:wanted]
    return Choice(tuple(replicas), tuple(in_turn), tuple(by_name[: wanted - len(in_turn)]))
