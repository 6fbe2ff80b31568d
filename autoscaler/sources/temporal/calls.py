"""One call to Temporal, with a deadline of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")

DEADLINE = timedelta(seconds=5)
"""For the server's answer to one call, which normally takes milliseconds."""
DEADLINE_WITH_CONNECTION = DEADLINE + timedelta(seconds=1)
"""For one call and the connection that it may have to make first: the client does not count the
connection towards `DEADLINE`."""
AT_ONCE = 100
"""Calls at the same time on one connection: as many as HTTP/2 proxies commonly allow. With more,
calls to a slow server would miss their deadline: a server that loads task queues for the first time
needs 25 ms for each, one after the other (measured). With 16, a read over 100 services
took 1.4 times the CPU, one over 1,000 services 1.1 times (measured 2026-11 on a busy machine)."""


async def ask(method: Callable[..., Awaitable[T]], request: Any) -> T:
    """Send one request, once. Raises RPCError, or RuntimeError where there is no connection."""
    try:
        async with asyncio.timeout(DEADLINE_WITH_CONNECTION.total_seconds()):
            return await method(request, retry=False, timeout=DEADLINE)
    except TimeoutError as error:
        text = f"no answer within {DEADLINE.total_seconds():g} s"
        raise RPCError(text, RPCStatusCode.DEADLINE_EXCEEDED, b"") from error
