"""The server of an agent: limits of time and size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from autoscaler.agent import door
from autoscaler.agent.door import Call, Door, Reply
from autoscaler.agent.refusals import Refusals


@asynccontextmanager
async def opened(calls: list[Call]) -> AsyncIterator[int]:
    """Open a door that keeps what comes in, and yield its port."""

    async def answer(call: Call) -> Reply:
        calls.append(call)
        return Reply(200, b"{}", {"autoscaler-signature": "s"})

    made = Door(answer, Refusals(get_logger(), lambda: 0.0))
    async with await made.open("127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def exchange(port: int, sent: bytes) -> bytes:
    """Send this, leave the connection open, and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_it_passes_a_request_on_and_ends_the_connection_with_the_answer() -> None:
    calls: list[Call] = []
    async with opened(calls) as port:
        answer = await exchange(
            port, b"POST /state HTTP/1.1\r\nHost: a\r\nX-Y: z\r\nContent-Length: 2\r\n\r\n{}"
        )

    (call,) = calls
    assert (call.method, call.path, call.body) == ("POST", "/state", b"{}")
    assert (call.headers["x-y"], call.address) == ("z", "127.0.0.1")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"autoscaler-signature: s" in answer.lower()
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /state HT",
        b"POST /state HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{",
        b"POST /state HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
async def test_a_request_that_does_not_end_is_not_waited_for(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "RECEIVED_WITHIN", 0.05)
    calls: list[Call] = []
    with capture_logs() as lines:
        async with opened(calls) as port:
            answer = await exchange(port, sent)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert calls == []
    assert "no whole request" in lines[0]["because"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 10_000, b"400"),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", b"400"),
    ],
    ids=["large", "negative", "long-head", "no-http"],
)
async def test_what_is_too_large_or_no_http_is_refused(sent: bytes, status: bytes) -> None:
    calls: list[Call] = []
    async with opened(calls) as port:
        answer = await exchange(port, sent)

    assert status in answer.splitlines()[0]
    assert calls == []


async def test_an_engine_that_hangs_does_not_hold_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "ANSWERED_WITHIN", 0.05)

    async def hang(_: Call) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    made = Door(hang, Refusals(get_logger(), lambda: 0.0))
    async with await made.open("127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
    assert not made._limits._open


async def test_a_sender_that_leaves_early_frees_its_place() -> None:
    calls: list[Call] = []
    async with opened(calls) as port:
        for _ in range(40):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
        answer = await exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
