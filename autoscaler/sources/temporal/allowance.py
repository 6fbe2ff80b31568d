"""The calls that one integration may make: how many, and how many at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from autoscaler.core.budget import AnyCall, Budget, LastCall, Pace
from autoscaler.sources.temporal.calls import AT_ONCE, send

Took = Callable[[float], None]
"""Is called with the seconds that each call took, including calls that failed."""
T = TypeVar("T")


class Allowance:
    """What is left of the budget of one integration. Its namespaces share it."""

    def __init__(self, budget: Budget, took: Took) -> None:
        """Begin with a whole budget; `took` is called after each call."""
        self._budget = budget
        self.took = took
        self.pace = Pace(budget.interval, budget.interval)
        """The pace of the latest read."""
        self.gate = asyncio.Semaphore(AT_ONCE)
        """Limits the calls at the same time on the one connection."""

    def choose(self, calls: Mapping[AnyCall, LastCall | None], now: datetime) -> frozenset[AnyCall]:
        """Return the calls whose turn it is at `now`, and pay for them."""
        chosen, self.pace, self._budget = self._budget.choose(calls, now)
        return chosen

    def spend(self, calls: int, *, ahead: bool = False) -> bool:
        """Pay for calls without a turn, and return True, where the budget has room for them.

        `ahead` allows them before the budget has earned them.
        """
        spent = self._budget.spend(calls, ahead=ahead)
        if spent is None:
            return False
        self._budget = spent
        return True

    def charge(self, calls: int) -> None:
        """Pay for calls that cannot wait, whatever is left."""
        self._budget = self._budget.charge(calls)

    async def make(self, call: Callable[..., Awaitable[T]], request: Any) -> T:
        """Make one call as soon as there is room on the connection, and measure it.

        Raises RPCError, or RuntimeError where there is no connection.
        """
        async with self.gate:
            began = time.perf_counter()
            try:
                return await send(call, request)
            finally:
                self.took(time.perf_counter() - began)
