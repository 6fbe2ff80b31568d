"""One request to an agent: what does not answer as an agent does not hold up the daemon."""

from __future__ import annotations

import asyncio
import threading

import pytest

from autoscaler.core.agent_messages import LONGEST_BODY
from autoscaler.orchestrators.swarm import posting
from autoscaler.orchestrators.swarm.posting import NoAnswer, post
from tests.real.waiting import free_port


async def answered(*parts: bytes, forever: bytes = b"") -> posting.Answer:
    """Ask a server that sends these parts, and then perhaps one part for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Not writelines: with an empty part, the event loop of Python 3.13 never comes to rest.
        for part in parts:
            writer.write(part)
        while forever:
            writer.write(forever)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            return await post("127.0.0.1", port, "/state", {"a": "b"}, b"{}")
        finally:
            server.close()


async def test_an_answer_comes_back_as_it_was_sent() -> None:
    answer = await answered(b"HTTP/1.1 403 No\r\nX-Y: z\r\nContent-Length: 2\r\n\r\n{", b"}")

    assert (answer.status, answer.headers["x-y"], answer.body) == (403, "z", b"{}")


@pytest.mark.parametrize(
    ("begin", "drip"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\nX: ", b"y"), (b"HTTP/1.1 200 OK\r\n\r\n", b"{")],
    ids=["status", "header", "body"],
)
async def test_an_answer_that_drips_ends_at_the_deadline_and_leaves_no_thread(
    begin: bytes, drip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "ANSWERED_WITHIN", 0.05)
    before = threading.active_count()

    with pytest.raises(NoAnswer):
        await answered(begin, forever=drip)

    assert threading.active_count() == before


async def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(NoAnswer, match=f"more than {LONGEST_BODY} bytes"):
        await answered(b"HTTP/1.1 200 OK\r\n\r\n", forever=b"a" * 65536)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "the connection ended|no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "ended|no HTTP answer"),
        (b"SSH-2.0\r\n\r\n", "no HTTP answer"),
    ],
)
async def test_half_an_answer_is_none(sent: bytes, words: str) -> None:
    with pytest.raises(NoAnswer, match=words):
        await answered(sent)


async def test_nobody_at_the_port_is_said() -> None:
    with pytest.raises(NoAnswer, match=r"Connect call failed|refused"):
        await post("127.0.0.1", free_port(), "/state", {}, b"{}")
