"""A proxy before a server: a test can slow it down, make it hang, or close its connections."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from tests.real.waiting import free_port

Place = Path | int
"""Where a server listens: a socket file, or a port of the loopback address."""

_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")
_VERSION = re.compile(r"^/v[0-9.]+")
_CHUNK = 65536


class Gate:
    """Passes bytes between clients and the server behind it."""

    def __init__(self, place: Place, behind: Place) -> None:
        """Listen at `place` for the server at `behind`."""
        self.place = place
        self.delay = 0.0
        """Seconds of delay, in both directions."""
        self._behind = behind
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._cutting: asyncio.Future[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @classmethod
    def before(cls, endpoint: str) -> Self:
        """Make a gate before a server on the loopback address, given as `host:port`."""
        return cls(free_port(), int(endpoint.rpartition(":")[2]))

    @property
    def endpoint(self) -> str:
        """The address for clients."""
        return f"unix://{self.place}" if isinstance(self.place, Path) else f"127.0.0.1:{self.place}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.release()
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.release()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def hang(self) -> None:
        """Pass nothing on, and keep the connections open."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Pass bytes on again, beginning with what has been held back."""
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> None:
        """Close every connection and accept no more; remove the socket file."""
        self._do(self._cut())

    def cut_at_once(self) -> None:
        """Do the same from the event loop, where a function of `after_change` runs."""
        self._cutting = asyncio.ensure_future(self._cut())

    def mend(self) -> None:
        """Accept connections again."""
        self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        if isinstance(self.place, Path):
            self._server = await asyncio.start_unix_server(self._serve, self.place)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.place)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if isinstance(self.place, Path):
            self.place.unlink(missing_ok=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            if isinstance(self._behind, Path):
                there, back = await asyncio.open_unix_connection(self._behind)
            else:
                there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, back}
        self._writers |= ends
        ways = [asyncio.ensure_future(way) for way in self._ways((reader, writer), (there, back))]
        with contextlib.suppress(OSError, EOFError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in ways:
            each.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._writers -= ends
        for end in ends:
            end.close()

    def _ways(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return the coroutines that carry bytes to the server and back."""
        return self._carry(client[0], server[1]), self._carry(server[0], client[1])

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._pass_on(data, writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._open.wait()
        writer.write(data)
        await writer.drain()


class EngineGate(Gate):
    """A gate before the socket of an engine, which records the calls that pass."""

    def __init__(self, place: Path, behind: Path) -> None:
        super().__init__(place, behind)
        self.changes: list[str] = []
        """Each answered call that changes something, such as `POST /containers/create`."""
        self._at = 0
        self._then: Callable[[], None] | None = None

    def after_change(self, number: int, then: Callable[[], None]) -> None:
        """Call `then` when the engine has made `number` changes, before the client learns of it."""
        self._at, self._then = number, then

    def _ways(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> tuple[Coroutine[Any, Any, None], ...]:
        asked: list[str] = []
        return self._ask(client[0], server[1], asked), self._answer(server[0], client[1], asked)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[str]
    ) -> None:
        """Carry requests one at a time: a client sends the next when it has the answer."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, path, _ = head.decode("latin-1").split(" ", 2)
                asked.append(f"{method} {_VERSION.sub('', path).partition('?')[0]}")
                await self._pass_on(head + body, writer)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[str]
    ) -> None:
        while data := await reader.read(_CHUNK):
            while asked:
                self._note(asked.pop())
            await self._pass_on(data, writer)

    def _note(self, call: str) -> None:
        if call.startswith(("GET", "HEAD")):
            return
        self.changes.append(call)
        if self._then is not None and len(self.changes) == self._at:
            self._then()
