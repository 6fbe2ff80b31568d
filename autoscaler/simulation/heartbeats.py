"""What the simulated workers report, as the daemon would read it."""

from __future__ import annotations

from datetime import datetime, timedelta

from autoscaler.core.in_flight import InFlight, SlotKind, Slots, Worker
from autoscaler.core.model import Replica
from autoscaler.simulation.fleet import Fleet, SimulatedReplica
from autoscaler.simulation.trace import START


def read_in_flight(fleet: Fleet, slots: int, now: float, begins: datetime = START) -> InFlight:
    """Return the replicas that count, and the latest heartbeat of each that has sent one.

    `now` is in seconds since the trace began, which was at `begins`.
    A container runs as soon as it is asked for, so one whose worker is still starting is silent.
    Replicas are in the order in which Compose would stop them: the newest first.
    """
    present = list(reversed(fleet.staying))
    replicas = tuple(
        Replica(replica.name, host=replica.name, turn=turn) for turn, replica in enumerate(present)
    )
    workers = (_worker(replica, slots, now, begins) for replica in present)
    return InFlight(replicas, tuple(worker for worker in workers if worker is not None))


def _worker(replica: SimulatedReplica, slots: int, now: float, begins: datetime) -> Worker | None:
    report = replica.reported(now)
    if report is None:
        return None
    first = report.at == replica.ready_at
    return Worker(
        instance=replica.name,
        host=replica.name,
        at=begins + timedelta(seconds=report.at),
        interval=timedelta(seconds=0.0 if first else replica.heartbeat),
        leaving=False,
        slots={SlotKind.ACTIVITY: Slots(report.busy, slots - report.busy, report.done)},
        process="1",
        began=begins + timedelta(seconds=replica.ready_at),
    )
