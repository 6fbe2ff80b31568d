"""The status page of no daemon: made-up ticks behind a real server on a real port."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from autoscaler.core.report import TickReport
from autoscaler.telemetry.logging import make_logger
from autoscaler.telemetry.metrics import Metrics
from autoscaler.web.board import About, Board
from autoscaler.web.changing import Changing
from autoscaler.web.server import Address, Server
from autoscaler.web.site import make_site
from autoscaler.wishes.overrides_file import OverridesFile
from tests.real.waiting import LIMIT, free_port, until

ABOUT = About(
    version("temporal-docker-autoscaler"), "temporal", timedelta(seconds=5), timedelta(seconds=60)
)


class ServedSite:
    """Serves the page on the loopback address until `stop`, with the ticks that it is given."""

    def __init__(
        self, token: str | None = None, about: About = ABOUT, state: Path | None = None
    ) -> None:
        """Keep overrides in the folder `state`; without one, nothing can be changed."""
        self.port = free_port()
        self.token = token
        changeable = token is not None and state is not None
        self.about = replace(about, changeable=changeable)
        self._state = state
        self._log = io.StringIO()
        self._starts = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def log(self) -> str:
        """The log so far."""
        return self._log.getvalue()

    def start(self) -> None:
        """Start serving, like a daemon that has just started and has seen no tick."""
        self._starts += 1
        self._metrics = Metrics()
        self._board = Board(self.about, time.monotonic)
        logger = make_logger("info", json=True, stream=self._log)
        changing = None
        if self._state is not None:
            changing = Changing(self._board, OverridesFile(self._state), logger)
        exposition = self._metrics.exposition
        secret = None if self.token is None else SecretStr(self.token)
        site = make_site(self._board, exposition, logger, secret, changing)
        self._server = Server(site, Address("127.0.0.1", self.port), logger)
        self._loop = asyncio.new_event_loop()
        self._serving = self._loop.create_task(self._server.serve())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: self.log.count("listening") == self._starts, f"an answer at {self.url}")

    def observe(self, report: TickReport) -> None:
        """Pass one tick to page and metrics; return when both have it."""
        self._call(lambda: (self._metrics.observe(report), self._board.observe(report)))

    def stop(self) -> None:
        """Stop at once, like a daemon that is killed."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._serving.cancel)
            self._thread.join(LIMIT)

    def _call(self, work: Callable[[], object]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (work(), done.set()))
        assert done.wait(LIMIT), "the server's loop hangs"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(asyncio.wait([self._serving]))
