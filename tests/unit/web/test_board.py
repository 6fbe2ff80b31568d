"""What the page shows: everything at first, then changes only; unseen services are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from autoscaler.core.model import ServiceId
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.web.board import LAST_CHANGES, About, Board, Event
from tests.fakes.clock import START, run_in_virtual_time
from tests.fakes.reports import broken, busy_hour, compose, integration, scaled, service, tick

ABOUT = About("1.2.3", "temporal", timedelta(seconds=5), stalled_after=timedelta(seconds=60))
QUIET = timedelta(seconds=10)
NO_ENGINE = "no Docker Engine"


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Words(Redactor):
    """Counts the texts that are shown: secrets are hidden in each."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def hide(self, text: str) -> str:
        self.read += 1
        return super().hide(text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(ABOUT, clock)


def later(seconds: float, *services: ServiceReport, **rest: Any) -> TickReport:
    return tick(*services, at=START + timedelta(seconds=seconds), **rest)


AT_MAX = (Reason(ReasonCode.MAX, "", "40 needed, at most 20 (max)"),)


def since_at_max(board: Board, report: TickReport) -> float | None:
    """Let the board see a tick; return since when the only service has been at max."""
    board.observe(report)
    (seen,) = board.services()["services"]
    since: float | None = seen["at_max_since"]
    return since


async def told(events: AsyncGenerator[Event | None]) -> dict[str, Any]:
    """Return what the next event says."""
    event = await anext(events)
    assert event is not None
    return {"name": event.name, **json.loads(event.data)}


class TestHealth:
    def test_a_loop_that_has_not_ticked_yet_is_alive_and_not_ready(self, board: Board) -> None:
        assert (board.stalled, board.ready) == (False, False)

    def test_after_a_tick_it_is_ready(self, board: Board) -> None:
        board.observe(tick())
        assert (board.stalled, board.ready) == (False, True)

    def test_without_an_engine_it_is_alive_and_not_ready(self, board: Board) -> None:
        board.observe(tick(errors=(NO_ENGINE,)))
        assert (board.stalled, board.ready) == (False, False)

    def test_trouble_of_a_service_is_no_trouble_of_the_daemon(self, board: Board) -> None:
        board.observe(tick(broken()))
        assert board.ready

    @pytest.mark.parametrize("ticks", [0, 1])
    def test_a_loop_that_ticks_no_more_is_neither(
        self, board: Board, clock: Clock, ticks: int
    ) -> None:
        for _ in range(ticks):
            board.observe(tick())
        clock.now += 61
        assert (board.stalled, board.ready) == (True, False)

    def test_one_that_ticks_again_is_alive_again(self, board: Board, clock: Clock) -> None:
        clock.now += 61
        board.observe(tick())
        assert (board.stalled, board.ready) == (False, True)


class TestServices:
    def test_before_the_first_tick_nothing_is_known(self, board: Board) -> None:
        assert board.services() == {
            "at": None,
            "took": 0.0,
            "errors": [],
            "warnings": [],
            "causes": [],
            "left_alone": [],
            "integrations": [],
            "limits": [],
            "memory": None,
            "services": [],
        }

    async def test_a_secret_that_some_error_quotes_is_not_shown(self, clock: Clock) -> None:
        redactor = Redactor()
        redactor.learn(SecretStr("planted-secret"))
        board = Board(ABOUT, clock, redactor)
        error = "the server said: planted-secret is no key"
        reason = Reason(ReasonCode.REFUSED, error)
        seen = service(errors=(error,), warnings=(error,), reasons=(reason,))
        found = (integration(error=error, up=False),)
        board.observe(tick(scaled(seen, 2), errors=(error,), integrations=found))
        event = await anext(board.stream(QUIET))
        assert event is not None
        for text in (event.data, json.dumps(board.services())):
            assert "planted" not in text
            assert text.count("the server said: [hidden] is no key") == 8

    def test_a_service_that_is_gone_is_forgotten(self, board: Board) -> None:
        board.observe(tick(service("a/one"), service("b/two")))
        board.observe(tick(service("b/two")))
        assert [seen["service"] for seen in board.services()["services"]] == ["b/two"]

    def test_a_service_that_was_not_seen_is_kept_and_marked(self, board: Board) -> None:
        board.observe(tick(service("a/one"), service("b/two")))
        board.observe(tick(service("b/two"), errors=(NO_ENGINE,), unseen=compose("a/one")))
        seen = {seen["service"]: seen["unseen"] for seen in board.services()["services"]}
        assert seen == {"a/one": True, "b/two": False}
        board.observe(tick(service("a/one"), service("b/two")))
        assert not any(seen["unseen"] for seen in board.services()["services"])

    def test_an_error_of_one_orchestrator_keeps_no_service_of_the_other(self, board: Board) -> None:
        lost = ServiceReport(ServiceId("swarm", "lost"), 1, 1)
        board.observe(tick(service("gone"), service("stays"), lost))
        board.observe(tick(service("stays"), errors=("no Swarm",), unseen=(lost.service,)))
        seen = {seen["service"]: seen["unseen"] for seen in board.services()["services"]}
        assert seen == {"stays": False, "lost": True}

    def test_an_error_alone_marks_no_service(self, board: Board) -> None:
        board.observe(tick(service()))
        board.observe(tick(service(), errors=("no Swarm",)))
        assert [seen["unseen"] for seen in board.services()["services"]] == [False]

    def test_the_same_name_on_compose_and_swarm_is_two_services(self, board: Board) -> None:
        twin = ServiceReport(ServiceId("swarm", "shop/worker"), 1, 1)
        board.observe(tick(service(), twin))
        assert len(board.services()["services"]) == 2


class TestSince:
    def test_at_max_begins_with_the_first_tick_in_a_row(self, board: Board) -> None:
        full = service(waiting=400, replicas=20, desired=20, reasons=AT_MAX)
        assert since_at_max(board, later(0, full)) == later(0).at.timestamp()
        assert since_at_max(board, later(5, full)) == later(0).at.timestamp()
        assert since_at_max(board, later(10, service())) is None
        assert since_at_max(board, later(15, full)) == later(15).at.timestamp()

    def test_while_a_service_is_not_seen_it_goes_on(self, board: Board) -> None:
        full = service(waiting=400, replicas=20, desired=20, reasons=AT_MAX)
        board.observe(later(0, full))
        unseen = later(5, errors=("no engine",), unseen=compose("shop/worker"))
        assert since_at_max(board, unseen) == later(0).at.timestamp()

    def test_a_cause_begins_when_it_is_first_seen_even_if_its_words_change(
        self, board: Board
    ) -> None:
        for second, answer in ((0, "connection refused"), (5, "no answer in time")):
            error = f"integration default: {answer}"
            down = integration(up=False, error=error)
            services = [service(name, None, errors=(error,)) for name in ("a/one", "a/two")]
            board.observe(later(second, *services, integrations=(down,)))
        (cause,) = board.services()["causes"]
        assert cause == {
            "text": "integration default: no answer in time",
            "warning": False,
            "services": 2,
            "texts": ["integration default: no answer in time"],
            "since": later(0).at.timestamp(),
        }


class TestStream:
    async def test_it_begins_with_everything_there_is(self, board: Board) -> None:
        board.observe(later(0, scaled(service(waiting=40), 4)))
        first = await told(board.stream(QUIET))
        assert first["name"] == "state"
        assert first["about"].pop("defaults")["temporal.target"] == "10"
        assert first["about"] == {
            "version": "1.2.3",
            "prefix": "temporal",
            "changeable": False,
            "poll_interval": 5.0,
            "stalled_after": 60.0,
        }
        seen = first["services"]["compose:shop/worker"]
        assert seen["backlog"] == 40
        assert seen["trail"] == [[START.timestamp(), 40, 1]]
        assert seen["changes"] == [
            {
                "at": START.timestamp(),
                "current": 1,
                "desired": 4,
                "reasons": ["40 waiting tasks at target 10 → 4"],
            }
        ]

    async def test_it_goes_on_with_what_a_tick_changed_and_nothing_else(self, board: Board) -> None:
        board.observe(later(0, service("a/one"), service("b/two")))
        events = board.stream(QUIET)
        await anext(events)
        board.observe(later(30, service("a/one"), service("b/two", replicas=2, desired=2)))
        second = await told(events)
        assert second["name"] == "tick"
        point = [START.timestamp() + 30, 0, 2]
        assert second["services"] == {
            "compose:b/two": {"replicas": 2, "desired": 2, "wished": 2, "point": point}
        }
        assert second["gone"] == []

    async def test_an_idle_tick_is_a_short_message_however_many_services_there_are(
        self, board: Board
    ) -> None:
        many = [service(f"shop/worker-{number}") for number in range(1000)]
        board.observe(later(0, *many))
        events = board.stream(QUIET)
        await anext(events)
        board.observe(later(5, *many))
        event = await anext(events)
        assert event is not None
        assert len(event.data) < 200

    async def test_a_change_of_replicas_is_told_with_its_reasons(self, board: Board) -> None:
        board.observe(later(0, service()))
        events = board.stream(QUIET)
        await anext(events)
        board.observe(later(5, scaled(service(waiting=40), 4)))
        (change,) = (await told(events))["services"]["compose:shop/worker"]["changes"]
        assert change["desired"] == 4
        assert change["reasons"] == ["40 waiting tasks at target 10 → 4"]

    async def test_a_service_that_was_not_seen_is_told_once(self, board: Board) -> None:
        board.observe(later(0, service()))
        events = board.stream(QUIET)
        await anext(events)
        board.observe(later(5, errors=(NO_ENGINE,), unseen=compose("shop/worker")))
        assert (await told(events))["services"] == {"compose:shop/worker": {"unseen": True}}
        board.observe(later(10, errors=(NO_ENGINE,), unseen=compose("shop/worker")))
        assert (await told(events))["services"] == {}
        board.observe(later(15, service()))
        assert (await told(events))["services"] == {"compose:shop/worker": {"unseen": False}}

    async def test_a_service_that_is_gone_is_named(self, board: Board) -> None:
        board.observe(later(0, service("a/one"), service("b/two")))
        events = board.stream(QUIET)
        await anext(events)
        board.observe(later(5, service("b/two")))
        assert (await told(events))["gone"] == ["compose:a/one"]

    async def test_whoever_missed_a_tick_is_given_everything_again(self, board: Board) -> None:
        board.observe(later(0, service()))
        events = board.stream(QUIET)
        await anext(events)
        board.observe(later(5, service(waiting=10)))
        board.observe(later(10, service(waiting=20)))
        again = await told(events)
        assert again["name"] == "state"
        assert again["services"]["compose:shop/worker"]["backlog"] == 20

    async def test_all_streams_send_the_same(self, board: Board) -> None:
        board.observe(later(0, service()))
        streams = [board.stream(QUIET) for _ in range(3)]
        for events in streams:
            await anext(events)
        waiting = [asyncio.ensure_future(anext(events)) for events in streams]
        await asyncio.sleep(0)
        board.observe(later(5, service(waiting=10)))
        seen = await asyncio.gather(*waiting)
        assert len({event for event in seen if event is not None}) == 1

    async def test_while_no_stream_is_open_a_tick_is_not_put_into_words(self, clock: Clock) -> None:
        words = Words()
        board = Board(ABOUT, clock, words)
        events = board.stream(QUIET)
        board.observe(later(0, service()))
        assert words.read == 0
        await anext(events)
        board.observe(later(5, service(waiting=10)))
        assert words.read == 4
        await events.aclose()
        board.observe(later(10, service(waiting=20)))
        assert words.read == 4

    async def test_whoever_comes_again_is_given_what_happened_meanwhile(self, board: Board) -> None:
        board.observe(later(0, service()))
        events = board.stream(QUIET)
        await anext(events)
        await events.aclose()
        board.observe(later(5, scaled(service(waiting=40), 4)))
        state = await told(board.stream(QUIET))
        seen = state["services"]["compose:shop/worker"]
        assert (seen["backlog"], len(seen["changes"])) == (40, 1)

    def test_silence_is_told_so_that_a_lost_daemon_can_be_noticed(self, board: Board) -> None:
        async def work() -> tuple[Event | None, float]:
            events = board.stream(QUIET)
            await anext(events)
            return await anext(events), asyncio.get_running_loop().time()

        assert run_in_virtual_time(work()) == (None, QUIET.total_seconds())

    async def test_only_the_last_changes_are_remembered(self, board: Board) -> None:
        for number in range(LAST_CHANGES + 3):
            board.observe(later(number, scaled(service(replicas=number), number + 1)))
        first = await told(board.stream(QUIET))
        changes = first["services"]["compose:shop/worker"]["changes"]
        assert [change["current"] for change in changes] == [3, 4, 5, 6, 7]

    async def test_a_busy_hour_of_a_thousand_services_is_a_few_megabytes(
        self, board: Board
    ) -> None:
        for report in busy_hour(START, services=20):
            board.observe(report)
        event = await anext(board.stream(QUIET))
        assert event is not None
        assert len(event.data) < 20 * 3000
