"""The model of workers: what cannot be is refused, and who stops first."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.errors import ConfigurationError
from autoscaler.simulation.workers import Fleet, Workers


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"service_time": 0}, "service time", id="no-time"),
        pytest.param({"service_time": 86_401}, "service time", id="more-than-a-day"),
        pytest.param({"slots": 0}, "slots", id="no-slots"),
        pytest.param({"slots": 10_001}, "slots", id="too-many-slots"),
        pytest.param({"startup": -1}, "start-up", id="negative-startup"),
    ],
)
def test_workers_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Workers(**fields)


class TestFleet:
    def test_it_begins_with_replicas_that_are_ready(self) -> None:
        fleet = Fleet(2)
        assert (len(fleet.staying), fleet.ready(0)) == (2, 2)

    def test_a_new_replica_is_ready_after_its_startup(self) -> None:
        fleet = Fleet(1)
        assert len(fleet.grow(3, now=10, startup=5)) == 2
        assert [fleet.ready(at) for at in (14.9, 15)] == [1, 3]

    def test_replicas_that_are_starting_stop_before_ready_ones(self) -> None:
        fleet = Fleet(1)
        starting = fleet.grow(2, now=0, startup=5)
        assert fleet.shrink(1, now=2) == starting

    def test_idle_replicas_stop_before_busy_ones(self) -> None:
        fleet = Fleet(3)
        fleet.staying[0].busy, fleet.staying[2].busy = 1, 2
        idle = fleet.staying[1]
        assert fleet.shrink(2, now=1) == [idle]

    def test_of_equally_busy_replicas_the_newest_stops(self) -> None:
        fleet = Fleet(1)
        (newer,) = fleet.grow(2, now=1, startup=0)
        assert fleet.shrink(1, now=5) == [newer]

    def test_a_replica_costs_until_it_has_finished_its_tasks(self) -> None:
        fleet = Fleet(1)
        (replica,) = fleet.staying
        replica.busy = 1
        fleet.shrink(0, now=10)
        assert fleet.seconds(15) == 15
        replica.busy = 0
        fleet.settle(replica, now=20)
        assert fleet.seconds(30) == 20

    def test_the_peak_stays_when_replicas_go(self) -> None:
        fleet = Fleet(1)
        fleet.grow(7, now=1, startup=0)
        fleet.shrink(2, now=2)
        assert fleet.peak == 7
