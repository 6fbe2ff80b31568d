"""The loop: ticks at the poll interval and on changes, ends on SIGTERM, backs off when blind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from datetime import timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.ports import Observer, Watcher, Window
from autoscaler.reconcile import Reconciler

PATIENCE = timedelta(seconds=8)
"""How long the end waits for changes under way: less than Docker's own grace of 10 s."""
LONGEST_PAUSE = timedelta(seconds=30)
"""Between two ticks while no orchestrator answers."""
SPACING = timedelta(seconds=1)
"""Between the beginnings of two ticks at least, however much changes."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Daemon:
    """Ticks until it is told to stop."""

    def __init__(
        self,
        reconciler: Reconciler,
        observers: Sequence[Observer],
        *,
        poll_interval: timedelta,
        watcher: Watcher | None = None,
        window: Window | None = None,
    ) -> None:
        """Tick at the poll interval, and also when `watcher` sees a change; open the window."""
        self._reconciler = reconciler
        self._observers = observers
        self._poll_interval = poll_interval.total_seconds()
        self._watcher = watcher
        self._window = window
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Tick until SIGTERM or SIGINT, then finish what is under way."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        stopping = asyncio.create_task(self._stopping.wait())
        tasks = [asyncio.create_task(self._tick_for_ever())]
        if self._watcher is not None:
            tasks.append(asyncio.create_task(self._watcher.watch(self._changed.set)))
        if self._window is not None:
            tasks.append(asyncio.create_task(self._window.serve()))
        # A tick may wait for an engine that hangs: the end does not wait with it. Neither of
        # the tasks ends by itself, unless by an error that nobody expected.
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, *tasks):
            task.cancel()
        await self._reconciler.close(PATIENCE)
        for task in done - {stopping}:
            task.result()

    def stop(self) -> None:
        """End the loop; changes of replicas under way are finished first."""
        self._stopping.set()

    async def _tick_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(
            timedelta(seconds=self._poll_interval),
            max(timedelta(seconds=self._poll_interval), LONGEST_PAUSE),
        )
        polled: float | None = None
        while True:
            began = loop.time()
            self._changed.clear()
            report = await self._reconciler.tick()
            if polled is None:
                # The first tick reads backlogs only when it has found the services. Counted from
                # its beginning, its readings would be too young at the next poll, and stay.
                polled = loop.time()
            elif began >= polled + self._poll_interval:
                polled = began
            for observer in self._observers:
                observer.observe(report)
            blind = bool(report.errors) and not report.services
            backoff = backoff.failed(report.at) if blind else backoff.succeeded()
            pause = max(backoff.pause.total_seconds(), self._poll_interval)
            # A change is acted on at once, but a storm of changes is no storm of ticks; nor does
            # it put off the next poll.
            due = polled + pause
            spaced = min(began + SPACING.total_seconds(), due)
            await asyncio.sleep(max(0.0, spaced - loop.time()))
            await self._change_until(due)

    async def _change_until(self, deadline: float) -> None:
        """Wait for a change, at most until the deadline (seconds of the loop's clock)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
