"""One namespace: what fails is unknown, and a namespace that does not answer is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.backlog import TaskQueue
from autoscaler.core.errors import BacklogUnavailable, IntegrationError
from autoscaler.core.sighting import FRESH
from autoscaler.sources.temporal.calls import AT_ONCE, DEADLINE_WITH_CONNECTION
from tests.fakes.clock import run_in_virtual_time
from tests.unit.builders import stats, task_queue
from tests.unit.sources.temporal.place import Place

GONE = RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")


@pytest.fixture
def place() -> Place:
    return Place()


async def test_after_the_first_failure_no_further_calls_are_made_in_a_namespace(
    place: Place,
) -> None:
    place.server.broken_namespaces["shop"] = GONE
    queues = [task_queue(f"q{number}") for number in range(200)]
    answers = await place.source.read(queues)
    assert len(place.server.calls) <= AT_ONCE
    assert {str(answer) for answer in answers.values()} == {await place.why(queues[0])}


async def test_a_namespace_that_failed_is_left_alone_and_answers_with_its_last_error(
    place: Place,
) -> None:
    place.server.broken_namespaces["shop"] = GONE
    first = await place.why(task_queue())
    place.clock.advance(0.9)
    assert await place.why(task_queue("mails")) == first
    assert len(place.server.calls) == 1


async def test_the_pause_doubles_up_to_30_seconds(place: Place) -> None:
    place.server.broken_namespaces["shop"] = GONE
    tried = []
    for second in range(120):
        before = len(place.server.calls)
        await place.why(task_queue())
        if len(place.server.calls) > before:
            tried.append(second)
        place.clock.advance(1)
    assert tried == [0, 1, 3, 7, 15, 31, 61, 91]


async def test_a_namespace_that_answers_again_starts_over_with_the_shortest_pause(
    place: Place,
) -> None:
    place.fill("orders", 7)
    place.server.broken_namespaces["shop"] = GONE
    await place.why(task_queue())
    del place.server.broken_namespaces["shop"]
    place.clock.advance(1)
    assert (await place.source.read([task_queue()]))[task_queue()] == stats(7)
    place.clock.advance(FRESH.total_seconds())
    place.server.broken_namespaces["shop"] = GONE
    for _ in range(2):
        await place.why(task_queue())
        place.clock.advance(1)
    assert len(place.server.calls) == 4


async def test_an_invalid_name_concerns_one_task_queue_only(place: Place) -> None:
    place.server.broken_queues["/bad"] = RPCError(
        "invalid task queue name", RPCStatusCode.INVALID_ARGUMENT, b""
    )
    good, bad = task_queue("good"), task_queue("/bad")
    answers = await place.source.read([bad, good])
    assert answers[good] == stats(0)
    assert "reading task queue '/bad' in namespace shop at temporal:7233" in str(answers[bad])
    assert (await place.source.read([good]))[good] == stats(0)


async def test_an_error_names_the_integration_the_call_and_the_endpoint(place: Place) -> None:
    place.server.broken_namespaces["live"] = GONE
    why = await place.why(task_queue(integration="prod"))
    assert why.startswith(
        "integration prod: reading backlogs in namespace live at prod:7233 failed"
        " (UNAVAILABLE: connection refused); "
    )


async def test_a_connection_that_cannot_be_made_is_unknown(place: Place) -> None:
    place.server.broken_namespaces["shop"] = RuntimeError("Failed client connect: refused")
    assert "Failed client connect: refused" in await place.why(task_queue())


async def test_a_server_that_leaves_the_figures_out_is_named_with_the_version_that_has_them(
    place: Place,
) -> None:
    place.server.lacks_stats, place.server.version = True, "1.27.2"
    assert await place.why(task_queue()) == (
        "integration default: reading backlogs in namespace shop at temporal:7233 failed (Temporal"
        " Server 1.27.2 left out how many tasks wait); it takes Temporal Server 1.28 or later:"
        " upgrade it, and let any proxy before it pass on the whole answer"
    )


async def test_a_server_is_asked_for_its_version_once_and_only_where_figures_are_missing(
    place: Place,
) -> None:
    queues = [task_queue(f"q{number}", namespace=name) for number in range(9) for name in "ab"]
    await place.source.read(queues)
    assert place.server.asked_for_version == 0
    place.server.lacks_stats = True
    for _ in range(5):
        place.clock.advance(60)
        answers = await place.source.read(queues)
        assert {type(answer) for answer in answers.values()} == {BacklogUnavailable}
    assert place.server.asked_for_version == 1


@pytest.mark.parametrize(
    "error", [RPCError("no", RPCStatusCode.PERMISSION_DENIED, b""), RuntimeError("gone")]
)
async def test_a_server_that_hides_its_version_is_reported_all_the_same(
    place: Place, error: Exception
) -> None:
    place.server.lacks_stats, place.server.hides_version = True, error
    why = await place.why(task_queue())
    assert "(the server, which hides its version, left out how many tasks wait); it takes" in why


async def test_a_server_that_leaves_the_figures_out_is_left_alone_like_one_that_is_down(
    place: Place,
) -> None:
    place.server.lacks_stats = True
    await place.why(task_queue())
    assert await place.calls([task_queue()], after=0.9) == 0
    place.server.lacks_stats = False
    place.clock.advance(1)
    assert (await place.source.read([task_queue()]))[task_queue()] == stats(0)


def test_a_server_that_hangs_is_unknown_after_the_deadline(place: Place) -> None:
    async def work() -> str:
        place.server.answering = asyncio.Event()
        return await place.why(task_queue())

    assert "DEADLINE_EXCEEDED: no answer within 5 s" in run_in_virtual_time(work())


def test_a_namespace_that_hangs_costs_one_deadline_however_many_queues_it_has(place: Place) -> None:
    async def work() -> tuple[list[object], float]:
        place.server.answering = asyncio.Event()
        answers = list((await place.source.read(queues)).values())
        return answers, asyncio.get_running_loop().time()

    queues = [task_queue(f"q{number}") for number in range(200)]
    answers, seconds = run_in_virtual_time(work())
    assert seconds == DEADLINE_WITH_CONNECTION.total_seconds()
    assert len(answers) == 200
    assert all("no answer within 5 s" in str(answer) for answer in answers)
    assert len(place.server.calls) == AT_ONCE


def test_one_call_that_hangs_leaves_the_answers_of_the_others(place: Place) -> None:
    async def work() -> Mapping[TaskQueue, object]:
        place.server.hanging = {"q0"}
        return await place.source.read(queues)

    queues = [task_queue(f"q{number}") for number in range(200)]
    answers = run_in_virtual_time(work())
    assert "no answer within 5 s" in str(answers.pop(task_queue("q0")))
    assert answers == dict.fromkeys(queues[1:], stats(0))


async def test_credentials_that_cannot_be_used_make_the_namespace_unknown(place: Place) -> None:
    place.connections.unusable = IntegrationError("integration default: no such key file")
    queues = [task_queue("orders"), task_queue("mails")]
    answers = await place.source.read(queues)
    assert {str(answers[queue]) for queue in queues} == {"integration default: no such key file"}
    assert place.server.calls == []

    place.connections.unusable = None
    place.clock.advance(1)
    assert await place.source.read(queues) == dict.fromkeys(queues, stats(0))


def test_the_pause_begins_when_the_calls_have_ended(place: Place) -> None:
    async def work() -> int:
        place.server.answering = asyncio.Event()
        reading = asyncio.create_task(place.source.read([task_queue()]))
        await asyncio.sleep(1)
        place.clock.advance(DEADLINE_WITH_CONNECTION.total_seconds())
        await reading
        return await place.calls([task_queue()], after=0.9)

    assert run_in_virtual_time(work()) == 0


async def test_a_task_queue_that_no_service_uses_any_more_is_forgotten(place: Place) -> None:
    orders, mails = task_queue("orders"), task_queue("mails")
    await place.source.read([orders, mails])
    assert await place.source.read([orders]) == {orders: stats(0)}
    place.fill("mails", 7)
    assert await place.source.read([orders, mails]) == {orders: stats(0), mails: stats(7)}
