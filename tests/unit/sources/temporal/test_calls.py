"""One call to Temporal: once, with a deadline of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.sources.temporal.calls import DEADLINE, ask
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
