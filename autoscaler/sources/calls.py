"""One call to Temporal, with a deadline of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")

DEADLINE = timedelta(seconds=5)
"""For one call. The server answers in milliseconds; what takes longer is as good as lost."""
AT_ONCE = 16
"""Calls at the same time on one connection: more only lengthens each (measured: unbounded,
5,000 calls take 1 s each instead of 13 ms)."""


async def ask(method: Callable[..., Awaitable[T]], request: Any) -> T:
    """Send one request, once. Raises RPCError, or RuntimeError where there is no connection."""
    try:
        # The RPC's own timeout does not cover making the connection.
        async with asyncio.timeout(DEADLINE.total_seconds() + 1):
            return await method(request, retry=False, timeout=DEADLINE)
    except TimeoutError as error:
        raise RPCError("no answer within 5 s", RPCStatusCode.DEADLINE_EXCEEDED, b"") from error
