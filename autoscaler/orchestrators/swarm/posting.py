"""One HTTP request to an agent, with one deadline and a limit of size for the whole answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import h11

from autoscaler.core.agent_messages import LONGEST_BODY

ANSWERED_WITHIN = 10.0
"""Seconds for the whole exchange, from the connection to the last byte."""
_LONGEST_HEAD = 8 * 1024
_CHUNK = 64 * 1024


class NoAnswer(Exception):
    """No whole answer came; `str()` says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; nothing in it is checked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def post(host: str, port: int, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send a request and return the answer. Raises NoAnswer.

    A server that sends its answer bit by bit does not get more time.
    """
    request = h11.Request(
        method="POST",
        target=path,
        headers=[
            ("host", f"[{host}]" if ":" in host else host),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *headers.items(),
        ],
    )
    try:
        async with asyncio.timeout(ANSWERED_WITHIN):
            reader, writer = await asyncio.open_connection(host, port, limit=_CHUNK)
            try:
                return await _exchange(reader, writer, request, body)
            finally:
                # Not close: it would wait for the server to take what is not sent yet.
                writer.transport.abort()
    except TimeoutError as error:
        raise NoAnswer(f"no answer within {ANSWERED_WITHIN:.0f} s") from error
    except OSError as error:
        raise NoAnswer(error.strerror or "the connection ended") from error
    except h11.ProtocolError as error:
        raise NoAnswer("what came back is no HTTP answer") from error


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: h11.Request, body: bytes
) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
    events = (request, h11.Data(data=body), h11.EndOfMessage())
    # A server may refuse a request before it has read the whole of it.
    with contextlib.suppress(ConnectionError):
        writer.write(b"".join(connection.send(event) or b"" for event in events))
        await writer.drain()
    return await _receive(connection, reader)


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    response: h11.Response | None = None
    content = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > LONGEST_BODY:
                raise NoAnswer(f"the answer has more than {LONGEST_BODY} bytes")
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            return Answer(
                response.status_code,
                {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers},
                bytes(content),
            )
        elif not isinstance(event, h11.InformationalResponse):
            raise NoAnswer("the connection ended")
