"""Replicas that were told to stop before this process began to watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from autoscaler.orchestrators.compose import leaving, recipe
from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.compose.leaving import signal_number, signals_sent, told_before
from autoscaler.orchestrators.engine import EngineError, Json
from autoscaler.orchestrators.events import Past
from tests.fakes.clock import START, Clock
from tests.unit.orchestrators.compose.test_containers import container

GRACE = timedelta(seconds=30)
AHEAD = timedelta(minutes=7)
"""How far the engine's clock is ahead."""
TERM, KILL, HUP, USR1 = 15, 9, 1, 10


def event(action: str, id_: str = "id1", *, ago: timedelta = timedelta(), number: int = 0) -> Json:
    """Return an event of a container, by the engine's clock."""
    at = START + AHEAD - ago
    attributes = {"signal": str(number)} if number else {}
    return {
        "Action": action,
        "Actor": {"ID": id_, "Attributes": attributes},
        "timeNano": int(at.timestamp() * 1_000_000_000),
    }


def kill(id_: str = "id1", *, ago: timedelta = timedelta(), number: int = TERM) -> Json:
    return event("kill", id_, ago=ago, number=number)


class TestSignals:
    def test_those_since_the_latest_start_count(self) -> None:
        sent = signals_sent(
            [kill("a"), event("die", "a"), event("start", "a"), kill("a", number=1)]
        )
        assert [each.number for each in sent["a"]] == [HUP]

    @pytest.mark.parametrize("action", ["die", "start", "destroy"])
    def test_of_what_has_ended_none_does(self, action: str) -> None:
        assert signals_sent([kill("a"), kill("b"), event(action, "a")]).keys() == {"b"}

    def test_they_have_the_time_of_the_engine(self) -> None:
        (sent,) = signals_sent([kill("a", ago=GRACE)])["a"]
        assert sent.at == START + AHEAD - GRACE

    @pytest.mark.parametrize(
        ("name", "number"),
        [
            ("SIGTERM", TERM),
            ("term", TERM),
            ("15", TERM),
            ("SIGUSR1", USR1),
            ("RTMIN+3", 37),
            ("SIGNOTHING", None),
            ("RTMIN+x", None),
        ],
    )
    def test_a_name_is_read_as_docker_reads_it(self, name: str, number: int | None) -> None:
        assert signal_number(name) == number


class Inventory:
    """Inspects containers."""

    def __init__(self) -> None:
        self.grace = GRACE
        self.stop_signal = "SIGTERM"
        self.error: EngineError | None = None

    async def traits(self, _container: Container) -> recipe.Traits:
        if self.error is not None:
            raise self.error
        seconds = int(self.grace.total_seconds())
        return recipe.Traits(seconds, self.grace, None, None, self.stop_signal)


class World:
    """Containers of one service, and what the engine remembers of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.inventory = Inventory()
        self.past: Sequence[Json] | EngineError = ()
        monkeypatch.setattr(leaving, "past_events", self._past_events)

    async def _past_events(self, _engine: Any, _filters: Mapping[str, Sequence[str]]) -> Past:
        if isinstance(self.past, EngineError):
            raise self.past
        return Past(self.past, self.clock() + AHEAD)

    async def told(self, *past: Json) -> Mapping[str, datetime]:
        """Return which of two replicas were told to stop, and when."""
        self.past = past or self.past
        running = [container(1), container(2)]
        return await told_before(None, self.inventory, self.clock, running)  # type: ignore[arg-type]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_one_that_was_told_to_stop_is_found_with_the_time_by_our_clock(
    world: World,
) -> None:
    told = await world.told(kill("id2", ago=GRACE), kill("gone"))
    assert told.keys() == {"id2"}
    assert abs(told["id2"] - (START - GRACE)) < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("stop_signal", "number", "leaves"),
    [
        pytest.param("SIGTERM", HUP, False, id="a-reload"),
        pytest.param("SIGUSR1", TERM, False, id="another-than-its-own"),
        pytest.param("SIGUSR1", USR1, True, id="its-own"),
        pytest.param("SIGUSR1", KILL, True, id="that-which-nobody-outlives"),
    ],
)
async def test_only_its_stop_signal_tells_a_container_to_stop(
    world: World, stop_signal: str, number: int, *, leaves: bool
) -> None:
    world.inventory.stop_signal = stop_signal
    assert set(await world.told(kill(number=number))) == ({"id1"} if leaves else set())


async def test_a_reload_after_the_stop_signal_changes_nothing(world: World) -> None:
    assert set(await world.told(kill(), kill(number=HUP))) == {"id1"}


async def test_where_the_engine_is_away_that_is_an_error(world: World) -> None:
    world.past = EngineError("no engine answers")
    with pytest.raises(EngineError):
        await world.told()


async def test_where_events_are_forbidden_nothing_is_known(world: World) -> None:
    world.past = EngineError("forbidden", 403)
    assert await world.told() == {}


async def test_one_that_is_gone_meanwhile_is_no_error(world: World) -> None:
    world.inventory.error = EngineError("no such container", 404)
    assert await world.told(kill()) == {}
