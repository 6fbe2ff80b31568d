"""What the daemon would read of simulated workers."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.core.in_flight import SlotKind, Slots, Standing, standings
from autoscaler.simulation.controllers import START
from autoscaler.simulation.fleet import Fleet
from autoscaler.simulation.heartbeats import read_in_flight


def known(fleet: Fleet, now: float) -> dict[str, Standing]:
    in_flight = read_in_flight(fleet, 2, now)
    return dict(standings(in_flight, START + timedelta(seconds=now)))


def test_replicas_are_in_the_order_in_which_compose_stops_them() -> None:
    fleet = Fleet(1, heartbeat=60)
    fleet.grow(3, now=1, startup=0)
    in_flight = read_in_flight(fleet, 2, now=5)
    assert [replica.id for replica in in_flight.replicas] == ["worker-3", "worker-2", "worker-1"]
    assert [replica.turn for replica in in_flight.replicas] == [0, 1, 2]


def test_a_report_says_what_the_slots_did() -> None:
    fleet = Fleet(1, heartbeat=60)
    fleet.staying[0].take(2, now=10)
    fleet.staying[0].finish(1, now=20)
    (worker,) = read_in_flight(fleet, 2, now=61).workers
    assert worker.slots == {SlotKind.ACTIVITY: Slots(used=1, free=1, processed=1)}
    assert worker.at == START + timedelta(seconds=60)
    assert worker.interval == timedelta(seconds=60)


def test_the_first_report_has_none_before_it() -> None:
    (worker,) = read_in_flight(Fleet(1, heartbeat=10), 2, now=9).workers
    assert (worker.at, worker.interval) == (START, timedelta())


def test_a_worker_is_as_busy_as_its_latest_report_says() -> None:
    fleet = Fleet(1, heartbeat=60)
    fleet.staying[0].take(1, now=10)
    assert known(fleet, 59) == {"worker-1": Standing.SILENT}
    assert known(fleet, 60) == {"worker-1": Standing.BUSY}
    fleet.staying[0].finish(1, now=61)
    assert known(fleet, 119) == {"worker-1": Standing.BUSY}
    assert known(fleet, 120) == {"worker-1": Standing.IDLE}


def test_a_replica_that_starts_is_silent_until_its_second_report() -> None:
    fleet = Fleet(1, heartbeat=60)
    fleet.grow(2, now=10, startup=20)
    assert known(fleet, 61) == {"worker-1": Standing.IDLE, "worker-2": Standing.SILENT}
    assert known(fleet, 90) == {"worker-1": Standing.IDLE, "worker-2": Standing.IDLE}


def test_workers_without_heartbeats_report_nothing() -> None:
    in_flight = read_in_flight(Fleet(2), 2, now=600)
    assert (len(in_flight.replicas), in_flight.workers) == (2, ())
    assert in_flight.unreported
