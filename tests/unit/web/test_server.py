"""The HTTP server beside the loop: it says where it is, and never gets in the daemon's way."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from autoscaler.telemetry.logging import make_logger
from autoscaler.web.server import Address, Server


async def hello(_: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def stream(_: object) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        yield "begun\n"
        await asyncio.Event().wait()

    return StreamingResponse(lines())


class House:
    """A server, and what it logs."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._log = io.StringIO()
        logger = make_logger("info", json=True, stream=self._log)
        self.server = Server(
            Starlette(routes=[Route("/", hello), Route("/stream", stream)]),
            Address(host, port),
            logger,
        )

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    async def until_it_said(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while not self.lines:  # noqa: ASYNC110 - a log cannot be awaited
                await asyncio.sleep(0.01)
        (line,) = self.lines
        assert line["event"] == event
        return line


async def end(serving: asyncio.Task[None]) -> None:
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def get(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback address; a container often has none."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")),
    ],
)
async def test_it_says_where_it_listens_and_answers_there(host: str) -> None:
    house = House(host)
    serving = asyncio.create_task(house.server.serve())
    line = await house.until_it_said("listening")
    port = int(line["url"].rstrip("/").rpartition(":")[2])
    assert (await get(host, port)).endswith(b"hello")
    await end(serving)


async def test_it_leaves_the_signals_to_the_daemon() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    house = House()
    serving = asyncio.create_task(house.server.serve())
    await house.until_it_said("listening")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    await end(serving)


async def test_a_port_in_use_is_one_line_that_says_what_to_do_and_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house = House(port=port)
        serving = asyncio.create_task(house.server.serve())
        line = await house.until_it_said("status page unavailable")
        assert line["level"] == "error"
        assert line["error"] == (
            f"cannot listen on 127.0.0.1:{port} (Address already in use): free it, or set"
            " AUTOSCALER_LISTEN to another address, and restart the daemon"
        )
        assert not serving.done()
        await end(serving)


async def test_a_host_that_is_not_this_machine_is_one_line_too() -> None:
    house = House("192.0.2.1", 8080)
    serving = asyncio.create_task(house.server.serve())
    line = await house.until_it_said("status page unavailable")
    assert "cannot listen on 192.0.2.1:8080 (" in line["error"]
    await end(serving)


async def test_its_port_is_free_again_at_the_end() -> None:
    house = House()
    serving = asyncio.create_task(house.server.serve())
    line = await house.until_it_said("listening")
    await end(serving)
    port = int(line["url"].rstrip("/").rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        await get("127.0.0.1", port)


async def test_streams_are_cut_off_at_the_end_although_they_never_end_themselves() -> None:
    house = House()
    serving = asyncio.create_task(house.server.serve())
    line = await house.until_it_said("listening")
    port = int(line["url"].rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"begun\n")
    serving.cancel()
    async with asyncio.timeout(5):
        await reader.read()
        with suppress(asyncio.CancelledError):
            await serving
    writer.close()
