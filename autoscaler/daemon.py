"""The loop: ticks at the poll interval and on changes; backs off; ends on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from autoscaler.core.backoff import Backoff
from autoscaler.ports import Observer, Watcher, Window
from autoscaler.reconcile import Reconciler

END_WITHIN = timedelta(seconds=8)
"""How long the end waits for changes under way: less than Docker's default grace of 10 s."""
LONGEST_PAUSE = timedelta(seconds=30)
"""The longest pause between two ticks while no orchestrator answers."""
SPACING = timedelta(seconds=1)
"""The shortest time between the beginnings of two ticks, however much changes."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Daemon:
    """Ticks until it is told to stop."""

    def __init__(  # noqa: PLR0913 - the parts of the daemon
        self,
        reconciler: Reconciler,
        observers: Sequence[Observer],
        *,
        poll_interval: timedelta,
        watcher: Watcher | None = None,
        window: Window | None = None,
        opening: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """Tick at the poll interval, and also when `watcher` sees a change; serve the `window`.

        All of this begins when `opening` has said what is looked after.
        """
        self._reconciler = reconciler
        self._observers = observers
        self._poll_interval = poll_interval.total_seconds()
        self._watcher = watcher
        self._window = window
        self._opening = opening
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Tick until SIGTERM or SIGINT, then finish what is under way."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        stopping = asyncio.create_task(self._stopping.wait())
        if self._opening is not None:
            opening = asyncio.ensure_future(self._opening())
            await asyncio.wait({stopping, opening}, return_when=asyncio.FIRST_COMPLETED)
            opening.cancel()
        tasks = [asyncio.create_task(self._tick_for_ever())]
        if self._watcher is not None:
            tasks.append(asyncio.create_task(self._watcher.watch(self._changed.set)))
        if self._window is not None:
            tasks.append(asyncio.create_task(self._window.serve()))
        # The end does not wait for a tick, which may wait for an engine that hangs. None of these
        # tasks ends by itself, except by an error that nobody expected.
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, *tasks):
            task.cancel()
        await self._reconciler.close(END_WITHIN)
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
            anew = self._changed.is_set()
            self._changed.clear()
            report = await self._reconciler.tick(anew=anew)
            if polled is None or began >= polled + self._poll_interval:
                polled = began
            for observer in self._observers:
                observer.observe(report)
            blind = bool(report.errors) and not report.services
            backoff = backoff.failed(report.at) if blind else backoff.succeeded()
            pause = max(backoff.pause.total_seconds(), self._poll_interval)
            # A change causes a tick at once, but many changes do not cause as many ticks, and they
            # do not delay the next poll.
            due = polled + pause
            spaced = min(began + SPACING.total_seconds(), due)
            await asyncio.sleep(max(0.0, spaced - loop.time()))
            await self._change_until(due)

    async def _change_until(self, deadline: float) -> None:
        """Wait for a change, at most until the deadline (seconds of the loop's clock)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
