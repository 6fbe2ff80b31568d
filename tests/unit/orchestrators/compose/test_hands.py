"""A service is left alone while `docker compose` or a person changes its containers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.drain import SIGNAL_SLACK
from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose.hands import QUIET, UNSURE, OtherHands, OwnHands
from autoscaler.orchestrators.engine import EngineError
from tests.fakes.clock import START, Clock

WORKER = ServiceId("compose", "shop/worker")
OTHER = ServiceId("compose", "shop/other")
GRACE = timedelta(seconds=30)
INSTANT = timedelta(microseconds=1)


def event(action: str, container: str = "c1") -> dict[str, Any]:
    """Return a container event of the engine."""
    return {"Type": "container", "Action": action, "Actor": {"ID": container, "Attributes": {}}}


@pytest.fixture
def hands() -> OtherHands:
    return OtherHands()


def notice(
    hands: OtherHands, action: str, container: str = "c1", after: timedelta = timedelta()
) -> None:
    """Let an event of the worker be noticed some time after the start."""
    hands.notice(WORKER, event(action, container), START + after, GRACE)


def test_a_clock_that_is_set_back_makes_nobody_work_for_longer(hands: OtherHands) -> None:
    notice(hands, "create")
    assert hands.at_work(WORKER, START)
    assert not hands.at_work(WORKER, START - timedelta(hours=1))


def test_nobody_is_at_work_to_begin_with(hands: OtherHands) -> None:
    assert not hands.at_work(WORKER, START)


@pytest.mark.parametrize("action", ["create", "rename", "destroy"])
def test_after_a_step_of_compose_the_service_is_left_alone_for_a_while(
    hands: OtherHands, action: str
) -> None:
    notice(hands, action)
    assert hands.at_work(WORKER, START + QUIET - INSTANT)
    assert not hands.at_work(WORKER, START + QUIET)


def test_every_further_step_prolongs_the_while(hands: OtherHands) -> None:
    notice(hands, "create")
    notice(hands, "create", after=timedelta(seconds=1.5))
    assert hands.at_work(WORKER, START + timedelta(seconds=3))


@pytest.mark.parametrize("action", ["die", "start"])
def test_what_a_container_does_by_itself_is_nobodys_work(hands: OtherHands, action: str) -> None:
    notice(hands, action)
    assert not hands.at_work(WORKER, START)


def test_an_end_that_others_may_have_caused_is_a_step_of_theirs(hands: OtherHands) -> None:
    hands.notice(WORKER, event("die"), START, GRACE, untold=True)
    assert hands.at_work(WORKER, START + QUIET - INSTANT)


def test_while_a_container_stops_within_its_grace_somebody_is_at_work(hands: OtherHands) -> None:
    notice(hands, "kill")
    assert hands.at_work(WORKER, START + GRACE + SIGNAL_SLACK - INSTANT)
    assert not hands.at_work(WORKER, START + GRACE + SIGNAL_SLACK)


@pytest.mark.parametrize("end", ["die", "destroy"])
def test_a_container_that_has_stopped_is_waited_for_no_longer(hands: OtherHands, end: str) -> None:
    notice(hands, "kill")
    notice(hands, end, after=timedelta(seconds=5))
    assert hands.at_work(WORKER, START + timedelta(seconds=5) + QUIET - INSTANT)
    assert not hands.at_work(WORKER, START + timedelta(seconds=5) + QUIET)


def test_the_slowest_container_is_waited_for(hands: OtherHands) -> None:
    notice(hands, "kill", "c1")
    notice(hands, "kill", "c2")
    notice(hands, "die", "c1", after=timedelta(seconds=1))
    assert hands.at_work(WORKER, START + timedelta(seconds=20))


def test_other_services_are_not_left_alone(hands: OtherHands) -> None:
    notice(hands, "kill")
    assert not hands.at_work(OTHER, START)


def test_a_service_that_is_gone_is_forgotten(hands: OtherHands) -> None:
    notice(hands, "kill")
    hands.forget_all_but([OTHER])
    assert not hands.at_work(WORKER, START)


def test_a_service_that_stays_is_not_forgotten(hands: OtherHands) -> None:
    notice(hands, "kill")
    hands.forget_all_but([WORKER])
    assert hands.at_work(WORKER, START)


def test_a_container_of_others_is_unfinished_until_its_start(hands: OtherHands) -> None:
    notice(hands, "create", "c1")
    notice(hands, "create", "c2")
    notice(hands, "start", "c1")
    assert (hands.made("c1"), hands.made("c2"), hands.made("c3")) == (False, True, False)


def test_a_container_that_is_removed_is_unfinished_no_longer(hands: OtherHands) -> None:
    notice(hands, "create")
    notice(hands, "destroy")
    assert not hands.made("c1")


def test_unfinished_containers_go_with_their_service(hands: OtherHands) -> None:
    notice(hands, "create")
    hands.forget_all_but([OTHER])
    assert not hands.made("c1")


class TestOwnHands:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def own(self, clock: Clock) -> OwnHands:
        return OwnHands(lambda: clock().timestamp())

    def test_a_container_is_ours_while_the_daemon_changes_it(self, own: OwnHands) -> None:
        assert not own.at_work("web-1")
        with own.on("web-1"):
            assert own.at_work("web-1")
            assert not own.at_work("web-2")

    def test_it_stays_ours_for_a_moment_because_events_arrive_later(
        self, own: OwnHands, clock: Clock
    ) -> None:
        with own.on("web-1"):
            pass
        clock.advance(QUIET.total_seconds() - 0.1)
        assert own.at_work("web-1")
        clock.advance(0.1)
        assert not own.at_work("web-1")

    @pytest.mark.parametrize(
        ("status", "lasts"),
        [pytest.param(None, UNSURE, id="no-answer"), pytest.param(409, QUIET, id="a-refusal")],
    )
    def test_where_the_answer_to_a_step_was_lost_its_events_may_come_much_later(
        self, own: OwnHands, clock: Clock, status: int | None, lasts: timedelta
    ) -> None:
        with pytest.raises(EngineError), own.on("web-1"):
            raise EngineError("no such luck", status)
        clock.advance(lasts.total_seconds() - 0.1)
        assert own.at_work("web-1")
        clock.advance(0.1)
        assert not own.at_work("web-1")

    def test_two_steps_on_one_container_end_with_the_later_one(
        self, own: OwnHands, clock: Clock
    ) -> None:
        with own.on("web-1"):
            with own.on("web-1"):
                pass
            clock.advance(10)
            assert own.at_work("web-1")

    def test_a_step_that_fails_ends_as_well(self, own: OwnHands, clock: Clock) -> None:
        with pytest.raises(RuntimeError), own.on("web-1"):
            raise RuntimeError
        clock.advance(QUIET.total_seconds())
        assert not own.at_work("web-1")
