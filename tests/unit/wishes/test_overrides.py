"""Overrides as a source of wishes: what is in force, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from autoscaler.core.model import Service, ServiceId
from autoscaler.core.override import Wanted
from autoscaler.wishes.overrides import Overrides
from autoscaler.wishes.overrides_file import OverridesFile
from tests.fakes.clock import Clock

WORKER = ServiceId("compose", "shop/worker")
HOUR = timedelta(hours=1)


class World:
    """A file of overrides, its reader, and two clocks: the time of day, and one without jumps."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.elapsed = 0.0
        self.file = OverridesFile(folder / "state")
        self.overrides = Overrides(self.file, "temporal", self.clock, lambda: self.elapsed)

    def put(self, lasting: timedelta | None = HOUR, **values: str) -> None:
        """Set values as another process does."""
        wanted = Wanted(WORKER, values, "anna", "deploy", lasting)
        OverridesFile(self.file.folder).put(wanted, "temporal", {}, self.clock())

    def remove(self) -> None:
        OverridesFile(self.file.folder).remove(WORKER, lambda _: True, self.clock())

    def passes(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.clock.advance(seconds)
        self.elapsed += seconds

    async def given(self) -> dict[str, str]:
        """Return what a tick now would take from overrides."""
        await self.overrides.renew()
        service = Service(WORKER, {}, 1)
        return {name: given.value for name, given in self.overrides.given(service).items()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    return World(tmp_path)


class TestInForce:
    async def test_what_is_set_has_the_full_name_of_its_label_and_an_origin(
        self, world: World
    ) -> None:
        world.put(max="6")
        assert await world.given() == {"temporal.max": "6"}
        (given,) = world.overrides.given(Service(WORKER, {}, 1)).values()
        assert given.origin.startswith("override by anna until ")
        assert given.origin.endswith(": deploy")

    async def test_other_services_are_given_nothing(self, world: World) -> None:
        world.put(max="6")
        await world.overrides.renew()
        other = Service(ServiceId("compose", "shop/mail"), {}, 1)
        assert world.overrides.given(other) == {}

    async def test_within_a_tick_it_stays_the_same(self, world: World) -> None:
        world.put(max="6")
        await world.given()
        world.put(max="7")
        given = world.overrides.given(Service(WORKER, {}, 1))
        assert given["temporal.max"].value == "6"
        assert await world.given() == {"temporal.max": "7"}

    async def test_it_says_whether_anything_has_changed(self, world: World) -> None:
        assert not await world.overrides.renew()
        world.put(max="6")
        assert await world.overrides.renew()
        assert not await world.overrides.renew()
        world.remove()
        assert await world.overrides.renew()

    async def test_it_outlives_the_daemon(self, world: World) -> None:
        world.put(max="6")
        again = Overrides(world.file, "temporal", world.clock, lambda: 0.0)
        await again.renew()
        assert [each.value for each in again.holding] == ["6"]

    async def test_it_adopts_no_service(self, world: World) -> None:
        world.put(queue="orders")
        await world.overrides.renew()
        assert not world.overrides.looks_after(WORKER, {})


class TestAstray:
    async def test_a_service_that_is_not_there_is_named(self, world: World) -> None:
        world.put(max="6")
        await world.overrides.renew()
        (warning,) = world.overrides.astray([], [])
        assert warning.startswith("something is set for shop/worker, and no such service is there")

    async def test_one_that_nobody_looks_after_too(self, world: World) -> None:
        world.put(max="6")
        await world.overrides.renew()
        (warning,) = world.overrides.astray([WORKER], [])
        assert "which this daemon does not look after" in warning

    async def test_of_one_that_is_looked_after_nothing_is_said(self, world: World) -> None:
        world.put(max="6")
        await world.overrides.renew()
        assert world.overrides.astray([WORKER], [WORKER]) == []


class TestEnd:
    async def test_it_ends_by_itself(self, world: World) -> None:
        world.put(max="6")
        world.passes(3599)
        assert await world.given() == {"temporal.max": "6"}
        world.passes(1)
        assert await world.given() == {}

    async def test_without_an_end_it_stays(self, world: World) -> None:
        world.put(None, max="6")
        world.passes(10**8)
        assert await world.given() == {"temporal.max": "6"}

    async def test_where_the_clock_is_set_back_it_lasts_no_longer(self, world: World) -> None:
        world.put(max="6")
        await world.given()
        world.clock.advance(-86_400)
        world.passes(3599)
        assert await world.given() == {"temporal.max": "6"}
        world.passes(1)
        assert await world.given() == {}

    async def test_also_where_it_was_set_back_before_the_daemon_began(self, world: World) -> None:
        world.put(max="6")
        world.clock.advance(-86_400)
        assert await world.given() == {"temporal.max": "6"}
        world.passes(3600)
        assert await world.given() == {}

    async def test_where_the_clock_is_set_forward_beyond_its_end_it_is_over(
        self, world: World
    ) -> None:
        world.put(max="6")
        await world.given()
        world.clock.advance(86_400)
        assert await world.given() == {}


class TestTrouble:
    async def test_a_damaged_file_is_said_until_something_is_set_anew(self, world: World) -> None:
        world.put(max="6")
        await world.given()
        world.file.path.write_bytes(b"{")
        assert await world.given() == {}
        (warning,) = world.overrides.warnings
        assert "set them again" in warning
        assert await world.given() == {}
        assert world.overrides.warnings == (warning,)
        world.put(max="7")
        assert await world.given() == {"temporal.max": "7"}
        assert world.overrides.warnings == ()

    async def test_what_was_read_last_stays_while_the_file_cannot_be_read(
        self, world: World
    ) -> None:
        world.put(max="6")
        await world.given()
        world.file.path.unlink()
        world.file.folder.rmdir()
        world.file.folder.write_text("a file")
        assert await world.given() == {"temporal.max": "6"}
        (warning,) = world.overrides.warnings
        assert "AUTOSCALER_STATE" in warning
        world.passes(3600)
        assert await world.given() == {}


class TestWatching:
    @pytest.fixture
    async def changes(self, world: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
        """What is set when a change was seen."""
        monkeypatch.setattr("autoscaler.wishes.overrides.LOOKED_EVERY", timedelta())
        await world.overrides.renew()
        return asyncio.Event()

    async def test_what_is_set_is_seen(self, world: World, changes: asyncio.Event) -> None:
        async with asyncio.timeout(10), watching(world, changes):
            world.put(max="6")
            await changes.wait()

    async def test_an_end_is_seen(self, world: World, changes: asyncio.Event) -> None:
        world.put(max="6")
        await world.overrides.renew()
        async with asyncio.timeout(10), watching(world, changes):
            world.passes(3600)
            await changes.wait()


class watching:  # noqa: N801 - it reads as what it does
    """Watch while a block runs."""

    def __init__(self, world: World, changes: asyncio.Event) -> None:
        self._world = world
        self._changes = changes

    async def __aenter__(self) -> None:
        watch = self._world.overrides.watch(self._changes.set)
        self._watching = asyncio.ensure_future(watch)

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
