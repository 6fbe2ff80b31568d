"""One call to Temporal, with a deadline of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")

DEADLINE = timedelta(seconds=5)
"""For one call. The server answers in milliseconds; what takes longer is as good as lost."""
AT_ONCE = 100
"""Calls at the same time on one connection: as many as HTTP/2 proxies commonly allow. More would
bring each closer to its deadline where the server is slow: one that loads task queues for the first
time needs 25 ms for each, one after the other (measured)."""
PATIENCE = DEADLINE + timedelta(seconds=1)
"""For one call and the connection that it may have to make first, which its own does not cover."""


def call(method: Callable[..., Awaitable[T]], request: Any) -> Callable[[], Awaitable[T]]:
    """Prepare one call, made once; the caller sees to it that the connection comes to stand.

    It raises RPCError, or RuntimeError where there is no connection.
    """
    return partial(method, request, retry=False, timeout=DEADLINE)


async def ask(method: Callable[..., Awaitable[T]], request: Any) -> T:
    """Send one request, once. Raises RPCError, or RuntimeError where there is no connection."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await call(method, request)()
    except TimeoutError as error:
        raise no_answer() from error


def no_answer() -> RPCError:
    """Make the error of a call that has had all the time there is."""
    return RPCError("no answer within 5 s", RPCStatusCode.DEADLINE_EXCEEDED, b"")
