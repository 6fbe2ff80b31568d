"""The HTTP server, in the daemon's own event loop."""

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
"""uvicorn's log level. The daemon itself logs what users should know."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers.

    The daemon handles SIGTERM and SIGINT itself. uvicorn has no setting for this (0.54), and
    overriding this method is how programs that embed it do without.
    """

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
        """Answer until cancelled. Where it cannot listen, log that once: scaling goes on."""
        try:
            listener = self._listen()
        except OSError as error:
            self._logger.error(  # noqa: TRY400 - a traceback would tell users nothing
                "status page unavailable",
                error=f"cannot listen on {_written(self._address)} ({_why(error)}): free it,"
                " or set AUTOSCALER_LISTEN to another address, and restart the daemon",
            )
            await asyncio.Event().wait()
            return
        host, port = listener.getsockname()[:2]
        self._logger.info("listening", url=f"http://{_written(Address(host, port))}/")
        with listener:
            await self._serve_on(listener)

    async def _serve_on(self, listener: socket.socket) -> None:
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
                # Streams never end by themselves: at the end they are cut off at once.
                timeout_graceful_shutdown=0,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address.host else socket.AF_INET
        return socket.create_server(self._address, family=family)


def _why(error: OSError) -> str:
    # asyncio and socket append the address in brackets.
    return (error.strerror or str(error)).partition(" (")[0]


def _written(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
