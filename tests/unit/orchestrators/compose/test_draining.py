"""Replicas on their way out: told, watched, removed, and killed only where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest

from autoscaler.core.drain import SIGNAL_SLACK, Drain
from autoscaler.orchestrators.compose import draining, recipe
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.draining import Drainer
from autoscaler.orchestrators.compose.hands import OwnHands
from autoscaler.orchestrators.engine import EngineError, Lane
from tests.fakes.clock import START, Clock
from tests.unit.orchestrators.compose.test_containers import container

T = TypeVar("T")
GRACE = timedelta(seconds=30)
FIRST, SECOND = container(1), container(2)
WORKER = FIRST.service


class World:
    """An engine with two replicas, of which nothing is known but what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        """Calls that change something: `kill id1 SIGTERM`, `remove id1`."""
        self.error: EngineError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.listed = [FIRST, SECOND]
        self.still: list[bool] = []
        """Whether the engine says that a container runs, for one question after the other."""
        self.clock = Clock()
        self.told: dict[str, datetime] = {}
        """Those that were told before the process began."""
        self.asked_for_the_past = 0
        self.traits_ = recipe.Traits(int(GRACE.total_seconds()), GRACE, None, None, "SIGQUIT")
        monkeypatch.setattr(draining, "told_before", self._told_before)
        monkeypatch.setattr(draining, "_AGAIN", 0.0)
        self.drainer = Drainer(self, OwnHands(), self, self.clock)  # type: ignore[arg-type]

    # What the drainer asks its engine and its inventory.

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return work(self)

    def kill(self, id_: str, *, signal: str) -> None:
        self.calls.append(f"kill {id_} {signal}")

    def remove_container(self, id_: str, *, v: bool) -> None:
        assert v
        self.calls.append(f"remove {id_}")

    async def traits(self, _container: Container) -> recipe.Traits:
        return self.traits_

    async def runs(self, _container: Container) -> bool:
        return self.still.pop(0) if self.still else False

    def changed(self) -> None:
        """Nothing is kept here."""

    async def listed_now(self) -> dict[Any, Replicas]:
        return {WORKER: self.replicas}

    async def _told_before(self, *_: object) -> dict[str, datetime]:
        self.asked_for_the_past += 1
        return self.told

    # What a test asks.

    @property
    def replicas(self) -> Replicas:
        return Replicas.of(self.listed, self.drainer.draining)

    async def look(self) -> list[Drain]:
        await self.drainer.look({WORKER: Replicas.of(self.listed)})
        return list(self.drainer.seen())

    def start(self, *going: Container, keep: str = "") -> None:
        self.drainer.start(WORKER, [(each, self.traits_) for each in going], keep=keep)

    async def settle(self) -> None:
        """Let all that can go on do so."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


class TestStopping:
    async def test_it_is_told_by_its_own_signal_and_nothing_else_happens(
        self, world: World
    ) -> None:
        world.start(FIRST)
        await world.settle()
        assert world.calls == ["kill id1 SIGQUIT"]
        (drain,) = await world.look()
        assert (drain.id, drain.grace, drain.host, drain.own) == ("id1", GRACE, "id1", True)

    async def test_its_grace_begins_when_the_signal_has_been_sent(self, world: World) -> None:
        world.gate.clear()
        world.start(FIRST)
        world.clock.advance(60)
        world.gate.set()
        await world.settle()
        (drain,) = await world.look()
        assert drain.told_at >= START + timedelta(seconds=60)

    async def test_when_it_has_ended_it_is_removed(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        world.drainer.ended("id1")
        await world.settle()
        assert world.calls == ["kill id1 SIGQUIT", "remove id1"]
        assert not world.drainer.draining

    async def test_its_end_is_also_seen_without_an_event(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        world.listed = [SECOND]
        assert await world.look() == []
        await world.settle()
        assert world.calls[-1] == "remove id1"

    async def test_it_is_not_removed_before_the_engine_has_cleaned_up(self, world: World) -> None:
        world.still = [True, True]
        world.start(FIRST)
        world.drainer.ended("id1")
        await world.settle()
        assert world.still == []
        assert world.calls[-1] == "remove id1"

    async def test_the_one_to_keep_stays(self, world: World) -> None:
        world.start(FIRST, SECOND, keep="id1")
        await world.settle()
        world.drainer.ended("id1")
        world.drainer.ended("id2")
        await world.settle()
        assert [call for call in world.calls if call.startswith("remove")] == ["remove id2"]
        assert not world.drainer.draining

    @pytest.mark.parametrize("status", [404, 409])
    async def test_one_that_has_ended_before_its_signal_is_removed(
        self, world: World, status: int
    ) -> None:
        world.error = EngineError("it does not run", status)
        world.start(FIRST)
        await world.settle()
        assert not world.drainer.draining
        assert world.drainer.trouble(WORKER) is None

    async def test_one_that_cannot_be_told_counts_again_and_trouble_says_why(
        self, world: World
    ) -> None:
        world.error = EngineError("forbidden", 403)
        world.start(FIRST)
        await world.settle()
        assert not world.drainer.draining
        assert world.drainer.trouble(WORKER) == "shop-worker-1 could not be removed: forbidden"

    async def test_where_its_signal_got_no_answer_the_engine_tells_whether_it_was_sent(
        self, world: World
    ) -> None:
        assert await world.look() == []
        world.error = EngineError("timed out")
        world.start(FIRST, SECOND)
        await world.settle()
        world.told = {"id1": START}

        (drain,) = await world.look()

        assert (drain.id, drain.own) == ("id1", False)
        assert world.drainer.trouble(WORKER) == "shop-worker-2 could not be removed: timed out"
        assert world.asked_for_the_past == 2
        await world.look()
        assert world.asked_for_the_past == 2

    async def test_one_that_somebody_starts_again_is_to_stay(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        world.drainer.came_up("id1")
        world.drainer.ended("id1")
        await world.settle()
        assert world.calls == ["kill id1 SIGQUIT"]
        assert await world.look() == []

    async def test_where_others_may_have_its_host_name_that_is_said(self, world: World) -> None:
        world.traits_ = recipe.Traits(-1, None, None, "shared", "SIGTERM")
        world.start(FIRST)
        (drain,) = await world.look()
        assert (drain.host, drain.grace) == (None, None)


class TestKilling:
    async def test_it_is_killed_once(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        for _ in range(3):
            world.drainer.kill("id1")
            await world.settle()
        assert world.calls == ["kill id1 SIGQUIT", "kill id1 SIGKILL"]

    async def test_and_again_where_that_failed(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        world.error = EngineError("no engine answers")
        world.drainer.kill("id1")
        await world.settle()
        assert world.drainer.trouble(WORKER) is not None
        world.error = None
        world.drainer.kill("id1")
        await world.settle()
        assert world.calls[-1] == "kill id1 SIGKILL"

    async def test_nothing_else_is_killed(self, world: World) -> None:
        world.told = {"id1": START}
        await world.look()
        world.drainer.kill("id1")
        world.drainer.kill("id2")
        await world.settle()
        assert world.calls == []


class TestTakenBack:
    async def test_it_is_no_drain_and_not_removed(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        world.drainer.take_back("id1", ignores=True)
        assert await world.look() == []
        assert world.drainer.ignoring(world.replicas) == ("shop-worker-1",)
        assert world.drainer.has_ignored("id1")
        assert world.calls == ["kill id1 SIGQUIT"]

    @pytest.mark.parametrize("how", ["event", "list", "start"])
    async def test_its_end_ends_that(self, world: World, how: str) -> None:
        world.start(FIRST)
        await world.settle()
        world.drainer.take_back("id1", ignores=True)
        if how == "event":
            world.drainer.ended("id1")
        if how == "list":
            world.listed = [SECOND]
            await world.look()
        if how == "start":
            world.drainer.came_up("id1")
        assert not world.drainer.has_ignored("id1")

    async def test_one_that_was_not_meant_to_stop_does_not_ignore_anything(
        self, world: World
    ) -> None:
        world.told = {"id1": START}
        await world.look()
        world.drainer.take_back("id1", ignores=False)
        assert world.drainer.ignoring(world.replicas) == ()
        assert await world.look() == [], "the past is read once"


class TestFound:
    """Told to stop before this process began."""

    async def test_it_drains_but_is_nobodys_until_it_is_taken_up(self, world: World) -> None:
        world.told = {"id1": START}
        (drain,) = await world.look()
        assert (drain.id, drain.told_at, drain.own) == ("id1", START, False)
        assert not world.drainer.follows("id1")
        world.listed = [SECOND]
        assert await world.look() == []
        await world.settle()
        assert world.calls == []
        assert not world.drainer.draining

    async def test_taken_up_it_is_removed_when_it_has_ended(self, world: World) -> None:
        world.told = {"id1": START}
        await world.look()
        assert world.drainer.take_up("id1", Replicas.of(world.listed))
        assert not world.drainer.take_up("id1", Replicas.of(world.listed)), "it is followed"
        world.drainer.ended("id1")
        await world.settle()
        assert world.calls == ["remove id1"]

    async def test_the_last_one_that_could_be_copied_is_kept(self, world: World) -> None:
        world.told = {"id1": START, "id2": START}
        await world.look()
        assert not world.drainer.take_up("id1", Replicas.of(world.listed)), "of somebody else"
        world.clock.advance((GRACE + SIGNAL_SLACK).total_seconds())
        for id_ in ("id1", "id2"):
            assert world.drainer.take_up(id_, Replicas.of(world.listed))
            world.drainer.ended(id_)
        await world.settle()
        assert len(world.calls) == 1, "one of both is removed"

    async def test_the_past_is_read_once(self, world: World) -> None:
        await world.look()
        await world.look()
        assert world.asked_for_the_past == 1

    async def test_where_all_were_told_somebody_else_may_be_stopping_them(
        self, world: World
    ) -> None:
        world.told = {"id1": START, "id2": START}
        await world.look()
        assert world.drainer.may_be_others(world.replicas)
        world.clock.advance((GRACE + SIGNAL_SLACK).total_seconds())
        assert not world.drainer.may_be_others(world.replicas)

    async def test_where_one_was_not_told_nobody_does(self, world: World) -> None:
        world.told = {"id1": START}
        await world.look()
        assert not world.drainer.may_be_others(world.replicas)

    async def test_those_that_this_process_stops_are_not_meant(self, world: World) -> None:
        world.start(FIRST, SECOND)
        await world.settle()
        assert not world.drainer.may_be_others(world.replicas)


class TestClosing:
    async def test_it_waits_for_what_ends_soon(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        world.listed = [SECOND]
        await world.drainer.close(timedelta(seconds=30))
        assert world.calls[-1] == "remove id1"

    async def test_but_not_for_longer_than_it_is_told(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()
        await world.drainer.close(timedelta(seconds=0.05))
        assert world.calls == ["kill id1 SIGQUIT"]

    async def test_an_engine_that_is_away_ends_the_wait(self, world: World) -> None:
        world.start(FIRST)
        await world.settle()

        async def fail() -> dict[Any, Replicas]:
            raise EngineError("no engine answers")

        world.listed_now = fail  # type: ignore[method-assign]
        await world.drainer.close(timedelta(seconds=30))
        assert world.calls == ["kill id1 SIGQUIT"]
