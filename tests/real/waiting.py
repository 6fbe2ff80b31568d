"""Waiting for things that no event announces, and free ports."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

LIMIT = 180.0
"""Seconds after which a test gives up. It is generous: it does not measure speed."""


def until(holds: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Call `holds` every 0.1 s until it is true; fail the test after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, f"waited {limit:.0f} s in vain for {what}"
        time.sleep(0.1)


async def until_async(holds: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Do the same without blocking the event loop."""
    await asyncio.to_thread(until, holds, what, limit)


def free_port() -> int:
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(number: int) -> range:
    """Return consecutive ports of the loopback address that nothing listens on."""
    with ExitStack() as held:
        while True:
            first = free_port()
            try:
                for port in range(first, first + number):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                held.close()
                continue
            return range(first, first + number)
