"""Replicas that end by themselves soon after the start: growth waits, and says why."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from autoscaler.core.model import Ceiling, ServiceId
from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.compose.exits import SETTLED, Exits
from tests.fakes.clock import START

WORKER = ServiceId("compose", "shop/worker")
INSTANT = timedelta(microseconds=1)
FIRST_PAUSE = timedelta(seconds=10)


def container(number: int, state: str = "running") -> Container:
    """Describe a replica in some state."""
    return Container(
        id=f"id{number}",
        name=f"shop-worker-{number}",
        service=WORKER,
        number=number,
        config_hash="h",
        created=0.0,
        state=state,
        status="Exited (1) 3 seconds ago" if state == "exited" else state,
        labels={},
    )


@pytest.fixture
def exits() -> Exits:
    """Replica 2 has just been started beside replica 1."""
    watched = Exits()
    watched.started(WORKER, "id2", START)
    return watched


def ceiling(
    exits: Exits, *containers: Container, now: datetime, service: ServiceId = WORKER
) -> Ceiling | None:
    """Look at the containers of a service at some time."""
    return exits.ceiling(service, containers, now)


def test_a_replica_that_runs_speaks_against_nothing(exits: Exits) -> None:
    assert ceiling(exits, container(1), container(2), now=START) is None


def test_a_replica_that_ended_soon_stops_growth_and_says_why(exits: Exits) -> None:
    held = ceiling(exits, container(1), container(2, "exited"), now=START)
    assert held == Ceiling(
        1,
        "shop-worker-2 ended by itself (Exited (1) 3 seconds ago);"
        " see `docker logs shop-worker-2`; growth is tried again in 10s",
    )


def test_one_that_the_engine_could_not_clean_up_has_ended_as_well(exits: Exits) -> None:
    assert ceiling(exits, container(1), container(2, "dead"), now=START) is not None


def test_growth_is_tried_again_after_a_pause(exits: Exits) -> None:
    ended = (container(1), container(2, "exited"))
    ceiling(exits, *ended, now=START)
    assert ceiling(exits, *ended, now=START + FIRST_PAUSE - INSTANT) is not None
    assert ceiling(exits, *ended, now=START + FIRST_PAUSE) is None


def test_the_pause_doubles_when_the_next_one_ends_as_well(exits: Exits) -> None:
    ceiling(exits, container(1), container(2, "exited"), now=START)
    exits.started(WORKER, "id3", START + FIRST_PAUSE)
    ended = (container(1), container(3, "exited"))
    ceiling(exits, *ended, now=START + FIRST_PAUSE)
    assert ceiling(exits, *ended, now=START + 3 * FIRST_PAUSE - INSTANT) is not None
    assert ceiling(exits, *ended, now=START + 3 * FIRST_PAUSE) is None


def test_a_replica_that_settled_ends_the_pauses(exits: Exits) -> None:
    ceiling(exits, container(1), container(2, "exited"), now=START)
    exits.started(WORKER, "id3", START + FIRST_PAUSE)
    settled = START + FIRST_PAUSE + SETTLED
    ceiling(exits, container(1), container(3), now=settled)
    exits.started(WORKER, "id4", settled)
    held = ceiling(exits, container(1), container(4, "exited"), now=settled)
    assert held is not None
    assert "in 10s" in held.because


def test_a_replica_that_ends_once_it_has_settled_is_no_failure(exits: Exits) -> None:
    ceiling(exits, container(1), container(2), now=START + SETTLED)
    later = START + SETTLED + INSTANT
    assert ceiling(exits, container(1), container(2, "exited"), now=later) is None


def test_a_replica_that_is_stopped_on_purpose_is_no_failure(exits: Exits) -> None:
    exits.stopped_on_purpose(WORKER, "id2")
    assert ceiling(exits, container(1), container(2, "exited"), now=START) is None


def test_a_replica_that_somebody_else_started_is_not_watched(exits: Exits) -> None:
    assert ceiling(exits, container(1, "exited"), container(2), now=START) is None


def test_a_replica_that_keeps_restarting_stops_growth_whoever_started_it() -> None:
    held = ceiling(Exits(), container(1), container(2, "restarting"), now=START)
    assert held is not None
    assert held.replicas == 2
    assert "shop-worker-2 keeps restarting" in held.because


def test_other_services_may_grow(exits: Exits) -> None:
    ceiling(exits, container(1), container(2, "exited"), now=START)
    other = ServiceId("compose", "shop/other")
    assert ceiling(exits, now=START, service=other) is None


def test_a_service_that_is_gone_is_forgotten_and_one_that_stays_is_not(exits: Exits) -> None:
    ended = (container(1), container(2, "exited"))
    ceiling(exits, *ended, now=START)
    exits.forget_all_but([WORKER])
    assert ceiling(exits, *ended, now=START) is not None
    exits.forget_all_but([])
    assert ceiling(exits, *ended, now=START) is None
