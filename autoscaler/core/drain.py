"""Which replicas to stop: idle ones, in the order in which their scheduler would take them. Pure.

A heartbeat says who is busy; Docker says who exists. What runs in a replica that does not report,
while its siblings do, is unknown, and unknown is never idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from autoscaler.core.model import InFlight, Replica, Worker


class Standing(StrEnum):
    """What is known of the work of one replica."""

    IDLE = "idle"
    BUSY = "busy"
    SILENT = "silent"
    """It does not report, or not any more."""
    LEAVING = "leaving"
    """Somebody has told it to stop already: it finishes what it runs and ends by itself."""


def standings(in_flight: InFlight, now: datetime) -> Mapping[str, Standing]:
    """Return what is known of each replica, by its id.

    Replicas that share a host name (one that is set by hand, or the host's own network) cannot be
    told apart: one that is busy makes all of them busy. Those whose host name cannot be told share
    the workers that belong to no other replica.
    """
    known: dict[str, Standing] = {}
    for replicas, workers in _by_host(in_flight):
        standing = _standing(workers, len(replicas), now)
        known |= {replica.id: standing for replica in replicas}
    idle = {replica.id: Standing.IDLE for replica in in_flight.replicas if not replica.started}
    return known | idle


def reporting(in_flight: InFlight, now: datetime) -> int:
    """Count the replicas whose workers' latest heartbeats are not overdue and not their last."""
    return sum(
        min(len(replicas), sum(each.fresh(now) and not each.leaving for each in workers))
        for replicas, workers in _by_host(in_flight)
    )


def _by_host(in_flight: InFlight) -> Iterable[tuple[Sequence[Replica], Sequence[Worker]]]:
    """Return the started replicas of each host, with the workers that may be theirs."""
    replicas: dict[str | None, list[Replica]] = defaultdict(list)
    for replica in in_flight.replicas:
        if replica.started:
            replicas[replica.host].append(replica)
    workers: dict[str | None, list[Worker]] = defaultdict(list)
    for worker in in_flight.workers:
        workers[worker.host if worker.host in replicas else None].append(worker)
    return [(sharing, workers[host]) for host, sharing in replicas.items()]


def _standing(workers: Sequence[Worker], replicas: int, now: datetime) -> Standing:
    """Judge by the reports of the workers on a host that so many replicas share."""
    fresh = [worker for worker in workers if worker.fresh(now)]
    if len(fresh) >= replicas and all(worker.leaving for worker in fresh):
        return Standing.LEAVING
    # However old: a worker that ran something and was not heard of since may still run it.
    if any(worker.running for worker in workers):
        return Standing.BUSY
    return Standing.SILENT if len(fresh) < replicas else Standing.IDLE


@dataclass(frozen=True, slots=True)
class Chosen:
    """Idle replicas to stop, none of which costs a busy one."""

    in_turn: tuple[Replica, ...]
    """Those that the scheduler stops by itself when it is asked for fewer replicas."""
    one_by_one: tuple[Replica, ...]
    """Those that have to be stopped by name."""

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """All of them, those in turn first."""
        return self.in_turn + self.one_by_one


def to_stop(replicas: Sequence[Replica], known: Mapping[str, Standing], wanted: int) -> Chosen:
    """Choose at most `wanted` idle replicas. `replicas` are in the scheduler's order.

    It stops replicas by turns, and within a turn as it likes: a turn goes only if all in it are
    idle. Behind a turn with a busy one in it, those go that can be chosen one by one. Replicas
    that leave already count among the wanted, and are not told again.
    """
    staying = [each for each in replicas if known.get(each.id) is not Standing.LEAVING]
    wanted = max(0, wanted - len(replicas) + len(staying))
    in_turn: list[Replica] = []
    for _, group in groupby(staying, key=lambda replica: replica.turn):
        turn = list(group)
        if any(known.get(replica.id) is not Standing.IDLE for replica in turn):
            break
        in_turn += turn
    one_by_one = [
        replica
        for replica in staying[len(in_turn) :]
        if replica.choosable and known.get(replica.id) is Standing.IDLE
    ]
    in_turn = in_turn[:wanted]
    return Chosen(tuple(in_turn), tuple(one_by_one[: wanted - len(in_turn)]))
