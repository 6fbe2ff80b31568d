"""The HTTP server, in the daemon's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp
from structlog.typing import FilteringBoundLogger

SILENT = "critical"
"""uvicorn's own log level: what users should know of the page, the site says itself."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to the daemon, which ends the server with everything else."""

    async def main_loop(self) -> None:
        """Keep the date of the answers right.

        Uvicorn looks ten times a second whether it should end: with one service, most of what
        the main thread of a daemon at rest did.
        """
        while True:
            await self.on_tick(0)
            await asyncio.sleep(1)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handler."""
        yield


class Server:
    """Serves the site while the daemon runs."""

    def __init__(self, site: ASGIApp, address: Address, logger: FilteringBoundLogger) -> None:
        self._site = site
        self._address = address
        self._logger = logger

    async def serve(self) -> None:
        """Answer until cancelled. Where it cannot listen it says so once: scaling goes on."""
        listener = self._listen()
        if isinstance(listener, OSError):
            self._logger.error(
                "no status page",
                error=f"cannot listen on {_written(self._address)} ({_why(listener)}): free it,"
                " or set AUTOSCALER_LISTEN to another address, and start the daemon anew",
            )
            await asyncio.Event().wait()
            return
        server = _Uvicorn(
            uvicorn.Config(
                self._site,
                log_config=None,
                log_level=SILENT,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
            )
        )
        server.servers = []
        host, port = listener.getsockname()[:2]
        self._logger.info("listening", url=f"http://{_written(Address(host, port))}/")
        try:
            await server.serve(sockets=[listener])
        finally:
            for opened in server.servers:
                opened.close()
            # Changes under way may keep the daemon for a while: the streams end at once.
            for connection in server.server_state.connections:
                connection.transport.abort()
            listener.close()

    def _listen(self) -> socket.socket | OSError:
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        try:
            return socket.create_server(self._address, family=family)
        except OSError as error:
            return error


def _why(error: OSError) -> str:
    # asyncio and socket put the address behind the reason, in brackets.
    return (error.strerror or str(error)).partition(" (")[0]


def _written(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
