"""The loop: ticks at its interval, ends when it is told to, waits longer while it is blind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.report import TickReport
from autoscaler.daemon import Daemon
from autoscaler.reconcile import Reconciler
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock, run_in_virtual_time
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels

DOCKERS_GRACE = 10
"""Seconds between the engine's SIGTERM and its SIGKILL."""


class Recorder:
    """An observer that remembers when it was shown what, and can be waited for."""

    def __init__(self) -> None:
        self.reports: list[TickReport] = []
        self.times: list[float] = []
        self._seen = asyncio.Event()

    def observe(self, report: TickReport) -> None:
        self.reports.append(report)
        self.times.append(asyncio.get_running_loop().time())
        self._seen.set()

    async def saw(self, ticks: int) -> None:
        """Wait until there have been so many ticks."""
        while len(self.reports) < ticks:
            self._seen.clear()
            await self._seen.wait()


class FakeWatcher:
    """Sees a change whenever a test says so."""

    def __init__(self) -> None:
        self.changed: Callable[[], None] | None = None
        self.error: Exception | None = None
        self.cancelled = False

    async def watch(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        if self.error is not None:
            raise self.error
        try:
            await asyncio.sleep(10**6)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def see(self) -> None:
        """Report a change."""
        assert self.changed is not None
        self.changed()


class FakeWindow:
    """Is open until it is closed."""

    def __init__(self) -> None:
        self.open = False

    async def serve(self) -> None:
        self.open = True
        try:
            await asyncio.sleep(10**6)
        finally:
            self.open = False


class House:
    """A daemon in a world of fakes."""

    def __init__(self, poll_interval: float = 5) -> None:
        self.poll_interval = timedelta(seconds=poll_interval)
        self.orchestrator = FakeOrchestrator()
        self.watcher = FakeWatcher()
        self.window = FakeWindow()
        self.source = FakeBacklogSource()
        self.recorder = Recorder()
        self.daemon = self.make()

    def make(self, opening: Callable[[], Awaitable[object]] | None = None) -> Daemon:
        """Make the daemon, with something to say before it begins."""
        return Daemon(
            Reconciler([self.orchestrator], self.source, by_labels(), clock=Clock()),
            [self.recorder],
            poll_interval=self.poll_interval,
            watcher=self.watcher,
            window=self.window,
            opening=opening,
        )

    async def run_for(self, ticks: int) -> None:
        """Run the daemon, and stop it after so many ticks."""
        running = asyncio.create_task(self.daemon.run())
        await self.recorder.saw(ticks)
        self.daemon.stop()
        await running


def test_it_ticks_at_the_poll_interval_from_the_first_moment() -> None:
    house = House(poll_interval=5)
    run_in_virtual_time(house.run_for(ticks=4))
    assert house.recorder.times == pytest.approx([0, 5, 10, 15])


class TestOpening:
    def test_nothing_begins_before_it_has_ended(self) -> None:
        house = House()
        seen = []

        async def opening() -> None:
            await asyncio.sleep(2)
            seen.append((house.window.open, len(house.recorder.reports)))

        house.daemon = house.make(opening)
        run_in_virtual_time(house.run_for(ticks=1))
        assert seen == [(False, 0)]
        assert house.recorder.times == pytest.approx([2])

    def test_one_that_hangs_does_not_keep_it_from_ending(self) -> None:
        house = House()

        async def work() -> None:
            house.daemon = house.make(asyncio.Event().wait)
            running = asyncio.create_task(house.daemon.run())
            await asyncio.sleep(1)
            house.daemon.stop()
            await running

        run_in_virtual_time(work())
        assert len(house.orchestrator.closed) == 1


def times_with_a_long_tick(number: int, until: float) -> list[float]:
    """Let a tick wait for its backlogs until some moment; return when it and others ended."""
    house = House(poll_interval=5)

    async def work() -> None:
        running = asyncio.create_task(house.daemon.run())
        if number > 1:
            await house.recorder.saw(number - 1)
        house.source.reading = asyncio.Event()
        asyncio.get_running_loop().call_at(until, house.source.reading.set)
        await house.recorder.saw(number + 1)
        house.daemon.stop()
        await running

    run_in_virtual_time(work())
    return house.recorder.times


@pytest.mark.parametrize(("until", "next_one"), [(3, 5), (8, 10), (17, 17)])
def test_the_interval_is_counted_from_the_beginning_of_a_tick(
    until: float, next_one: float
) -> None:
    first = [] if until < 5 else [0]
    times = times_with_a_long_tick(len(first) + 1, until=until)
    assert times == pytest.approx([*first, until, next_one])


def test_every_observer_is_shown_every_tick() -> None:
    first, second = Recorder(), Recorder()
    daemon = Daemon(
        Reconciler([FakeOrchestrator()], FakeBacklogSource(), by_labels(), clock=Clock()),
        [first, second],
        poll_interval=timedelta(seconds=5),
    )

    async def work() -> None:
        running = asyncio.create_task(daemon.run())
        await second.saw(2)
        daemon.stop()
        await running

    run_in_virtual_time(work())
    assert first.reports == second.reports


def test_stop_ends_it_between_two_ticks() -> None:
    house = House(poll_interval=600)
    run_in_virtual_time(house.run_for(ticks=1))
    assert house.recorder.times == [0]


def test_stop_before_the_start_means_no_tick_at_all() -> None:
    house = House()
    house.daemon.stop()
    run_in_virtual_time(house.daemon.run())
    assert house.recorder.reports == []


def test_a_tick_that_hangs_does_not_hold_up_the_end() -> None:
    house = House()

    async def work() -> None:
        house.orchestrator.discovery = asyncio.Event()
        running = asyncio.create_task(house.daemon.run())
        await asyncio.sleep(30)
        house.daemon.stop()
        await running

    run_in_virtual_time(work())
    assert house.recorder.reports == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it(number: signal.Signals) -> None:
    house = House(poll_interval=600)
    async with asyncio.timeout(10):
        running = asyncio.create_task(house.daemon.run())
        await house.recorder.saw(1)
        os.kill(os.getpid(), number)
        await running


def test_a_change_under_way_is_finished_before_the_end() -> None:
    house = House()

    async def work() -> int:
        worker = house.orchestrator.add("a/worker", {"temporal.queue": "orders"})
        gate = house.orchestrator.hold(worker)
        house.source.fill("orders", 50)
        running = asyncio.create_task(house.daemon.run())
        await house.recorder.saw(1)
        house.daemon.stop()
        await asyncio.sleep(5)
        assert not running.done()
        gate.set()
        await running
        return house.orchestrator.count(worker)

    assert run_in_virtual_time(work()) == 5


def test_a_change_that_hangs_is_given_up_before_docker_loses_its_patience() -> None:
    house = House()

    async def work() -> float:
        worker = house.orchestrator.add("a/worker", {"temporal.queue": "orders"})
        house.orchestrator.hold(worker)
        house.source.fill("orders", 50)
        loop = asyncio.get_running_loop()
        await house.run_for(ticks=1)
        return loop.time()

    assert run_in_virtual_time(work()) < DOCKERS_GRACE


def test_changes_and_what_drains_share_one_patience() -> None:
    house = House()

    async def work() -> float:
        worker = house.orchestrator.add("a/worker", {"temporal.queue": "orders"})
        house.orchestrator.hold(worker)
        house.source.fill("orders", 50)
        await house.run_for(ticks=1)
        (for_drains,) = house.orchestrator.closed
        return asyncio.get_running_loop().time() + for_drains.total_seconds()

    assert run_in_virtual_time(work()) < DOCKERS_GRACE


class TestWhileNothingAnswers:
    def test_the_pause_doubles_up_to_half_a_minute(self) -> None:
        house = House(poll_interval=5)
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")
        run_in_virtual_time(house.run_for(ticks=7))
        times = house.recorder.times
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses == pytest.approx([5, 10, 20, 30, 30, 30])

    def test_a_poll_interval_above_half_a_minute_is_kept(self) -> None:
        house = House(poll_interval=60)
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")
        run_in_virtual_time(house.run_for(ticks=3))
        assert house.recorder.times == pytest.approx([0, 60, 120])

    def test_an_engine_that_is_back_is_asked_at_the_poll_interval_again(self) -> None:
        house = House(poll_interval=5)
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")

        async def work() -> None:
            running = asyncio.create_task(house.daemon.run())
            await house.recorder.saw(3)
            house.orchestrator.unreachable = None
            await house.recorder.saw(6)
            house.daemon.stop()
            await running

        run_in_virtual_time(work())
        assert house.recorder.times == pytest.approx([0, 5, 15, 35, 40, 45])

    def test_every_try_is_shown_to_the_observers(self) -> None:
        house = House()
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")
        run_in_virtual_time(house.run_for(ticks=2))
        assert [report.errors for report in house.recorder.reports] == [("no Docker Engine",)] * 2

    def test_trouble_of_one_service_is_no_reason_to_look_less_often(self) -> None:
        house = House(poll_interval=5)
        house.orchestrator.add("a/worker", {"temporal.queue": "orders"})
        house.source.fail("orders", "Temporal does not answer")
        run_in_virtual_time(house.run_for(ticks=4))
        assert house.recorder.times == pytest.approx([0, 5, 10, 15])


class TestChanges:
    @staticmethod
    def times(house: House, *changes: float, ticks: int) -> list[float]:
        """Run with changes at these moments, and return when the ticks were."""

        async def work() -> None:
            loop = asyncio.get_running_loop()
            for moment in changes:
                loop.call_at(moment, house.watcher.see)
            await house.run_for(ticks)

        run_in_virtual_time(work())
        return house.recorder.times

    def test_a_change_is_looked_at_at_once(self) -> None:
        assert self.times(House(), 2.5, ticks=2) == pytest.approx([0, 2.5])

    def test_the_poll_goes_on_at_its_own_times(self) -> None:
        assert self.times(House(), 2.5, 11, ticks=5) == pytest.approx([0, 2.5, 5, 10, 11])

    def test_a_storm_of_changes_is_no_storm_of_ticks(self) -> None:
        storm = [hundredth / 100 for hundredth in range(1, 300)]
        times = self.times(House(), *storm, ticks=5)
        assert times == pytest.approx([0, 1, 2, 3, 5], abs=0.02)

    def test_a_change_right_before_a_poll_does_not_put_it_off(self) -> None:
        assert self.times(House(), 4.8, ticks=4) == pytest.approx([0, 4.8, 5, 10])

    def test_a_change_while_a_tick_looks_is_looked_at_afterwards(self) -> None:
        house = House()

        async def work() -> None:
            house.source.reading = asyncio.Event()
            asyncio.get_running_loop().call_at(2, house.watcher.see)
            asyncio.get_running_loop().call_at(3, house.source.reading.set)
            await house.run_for(ticks=2)

        run_in_virtual_time(work())
        assert house.recorder.times == pytest.approx([3, 3])

    def test_a_change_ends_the_pause_while_nothing_answers(self) -> None:
        house = House()
        house.orchestrator.unreachable = OrchestratorError("no Docker Engine")
        assert self.times(house, 20, ticks=4) == pytest.approx([0, 5, 15, 20])

    def test_the_watcher_ends_with_the_daemon(self) -> None:
        house = House()

        async def work() -> bool:
            await house.run_for(ticks=1)
            return house.watcher.cancelled

        assert run_in_virtual_time(work())


def test_the_window_is_open_while_it_ticks_and_closed_at_the_end() -> None:
    house = House()

    async def work() -> tuple[bool, bool]:
        running = asyncio.create_task(house.daemon.run())
        await house.recorder.saw(2)
        while_it_ticks = house.window.open
        house.daemon.stop()
        await running
        await asyncio.sleep(0)
        return while_it_ticks, house.window.open

    assert run_in_virtual_time(work()) == (True, False)


class TestUnexpected:
    def test_an_error_of_the_watcher_is_no_silent_end(self) -> None:
        house = House()
        house.watcher.error = ZeroDivisionError("division by zero")
        with pytest.raises(ZeroDivisionError):
            run_in_virtual_time(house.daemon.run())
        assert len(house.orchestrator.closed) == 1

    def test_an_error_of_a_tick_is_no_silent_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        house = House()

        async def tick(**_: bool) -> object:
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr(house.daemon._reconciler, "tick", tick)
        with pytest.raises(ZeroDivisionError):
            run_in_virtual_time(house.daemon.run())
        assert len(house.orchestrator.closed) == 1
