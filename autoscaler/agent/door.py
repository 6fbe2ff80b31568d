"""The HTTP server of an agent: one request on each connection, within limits of time and size.

The daemon's own web server is not used here: it keeps connections open, waits for slow senders, and
has no limits for each address.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from autoscaler.agent.limits import Limits
from autoscaler.agent.refusals import Refusals
from autoscaler.core.agent_messages import LONGEST_BODY

RECEIVED_WITHIN = 5.0
"""Seconds that a sender has for a whole request."""
ANSWERED_WITHIN = 9.0
"""Seconds from the connection to the last byte of the answer."""
_LONGEST_HEAD = 8 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came in; nothing in it is checked."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    address: str
    """The sender's IP address."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class _TooLarge(Exception):
    """A request has more bytes than are read."""


class Door:
    """Receives requests, and sends back what `answer` returns for each."""

    def __init__(self, answer: Callable[[Call], Awaitable[Reply]], refusals: Refusals) -> None:
        self._answer = answer
        self._refusals = refusals
        self._limits = Limits()

    async def open(self, host: str, port: int) -> asyncio.Server:
        """Listen. Raises OSError."""
        return await asyncio.start_server(self._serve, host, port, limit=_CHUNK, backlog=128)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str((writer.get_extra_info("peername") or ("unknown",))[0])
        reason = self._limits.enter(address, time.monotonic())
        if reason is not None:
            self._refusals.note(reason, address)
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                await self._exchange(reader, writer, address)
        except TimeoutError:
            self._refusals.note("the exchange took too long", address)
            writer.transport.abort()
        except OSError:
            writer.transport.abort()
        finally:
            self._limits.leave(address)
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        try:
            async with asyncio.timeout(RECEIVED_WITHIN):
                call = await _receive(connection, reader, address)
        except TimeoutError:
            self._refusals.note(f"no whole request within {RECEIVED_WITHIN:.0f} s", address)
            reply = Reply(HTTPStatus.REQUEST_TIMEOUT, b"")
        except h11.RemoteProtocolError:
            self._refusals.note("it was no HTTP request", address)
            reply = Reply(HTTPStatus.BAD_REQUEST, b"")
        except _TooLarge:
            self._refusals.note(f"a request of more than {LONGEST_BODY} bytes", address)
            reply = Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"")
        else:
            if call is None:
                return
            reply = await self._answer(call)
        await _send(connection, writer, reply)


async def _receive(
    connection: h11.Connection, reader: asyncio.StreamReader, address: str
) -> Call | None:
    """Read one request; None where the sender closes the connection instead."""
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Request):
            request = event
            length = dict(event.headers).get(b"content-length", b"0")
            if int(length) > LONGEST_BODY:
                raise _TooLarge
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LONGEST_BODY:
                raise _TooLarge
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return Call(
                request.method.decode("ascii"),
                request.target.decode("latin-1"),
                {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers},
                bytes(body),
                address,
            )
        else:
            return None


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply) -> None:
    """Write an answer, and say that it is the last one on this connection."""
    headers = {
        "content-type": "application/json",
        "content-length": str(len(reply.body)),
        "connection": "close",
        **reply.headers,
    }
    events = (
        h11.Response(status_code=reply.status, headers=list(headers.items())),
        h11.Data(data=reply.body),
        h11.EndOfMessage(),
    )
    # Only the answer to HEAD: it must not have a body, so none is sent.
    with contextlib.suppress(h11.LocalProtocolError):
        writer.write(b"".join(connection.send(event) or b"" for event in events))
        await writer.drain()
