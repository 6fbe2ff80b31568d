"""Calls to Temporal: each is made once, and no hanging connection holds up the caller."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.sources.temporal.calls import DEADLINE, DEADLINE_WITH_CONNECTION, ask, side_by_side
from tests.fakes.clock import run_in_virtual_time


async def test_a_call_is_made_once_with_a_deadline_and_returns_the_answer() -> None:
    asked: list[tuple[str, bool, timedelta]] = []

    async def method(request: str, *, retry: bool, timeout: timedelta) -> str:  # noqa: ASYNC109
        asked.append((request, retry, timeout))
        return "answer"

    assert await ask(method, "request") == "answer"
    assert asked == [("request", False, DEADLINE)]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RPCError("gone", RPCStatusCode.UNAVAILABLE, b""), id="an-answer"),
        pytest.param(RuntimeError("Failed client connect"), id="no-connection"),
    ],
)
async def test_an_error_is_raised_after_one_attempt(error: Exception) -> None:
    attempts = []

    async def method(request: str, **_: object) -> str:
        attempts.append(request)
        raise error

    with pytest.raises(type(error)) as caught:
        await ask(method, "request")
    assert caught.value is error
    assert attempts == ["request"]


def test_a_call_that_hangs_ends_soon_after_its_deadline() -> None:
    """The call's own deadline does not cover making the connection."""

    async def work() -> float:
        async def method(_: str, **__: object) -> str:
            await asyncio.Event().wait()
            return "never"

        with pytest.raises(RPCError, match="no answer within 5 s") as caught:
            await ask(method, "request")
        assert caught.value.status is RPCStatusCode.DEADLINE_EXCEEDED
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(work()) == DEADLINE.total_seconds() + 1


class TestSideBySide:
    def test_the_results_come_in_the_order_of_the_calls(self) -> None:
        async def call(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        assert run_in_virtual_time(side_by_side(map(call, (3, 1, 2)))) == [3, 1, 2]

    async def test_nothing_to_do_is_done_at_once(self) -> None:
        assert await side_by_side([]) == []

    def test_calls_are_given_up_when_none_of_them_has_ended_for_a_deadline(self) -> None:
        async def work() -> tuple[object, float]:
            async def call(seconds: float) -> float:
                await asyncio.sleep(seconds)
                return seconds

            results = await side_by_side(map(call, (1, 7, 100)))
            return results, asyncio.get_running_loop().time()

        # The second still ends in the time that began when the first had ended.
        limit = DEADLINE_WITH_CONNECTION.total_seconds()
        assert run_in_virtual_time(work()) == ([1, 7, None], 3 * limit)

    async def test_a_caller_that_is_cancelled_leaves_no_call_behind(self) -> None:
        begun = asyncio.Event()
        cancelled = asyncio.Event()

        async def call() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        caller = asyncio.create_task(side_by_side([call()]))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await cancelled.wait()

    async def test_an_error_nobody_expected_is_raised(self) -> None:
        async def call() -> None:
            raise ValueError("unexpected")

        with pytest.raises(ValueError, match="unexpected"):
            await side_by_side([call()])
