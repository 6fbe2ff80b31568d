"""A service whose replicas ignore their stop signal is known; what is not certain is not said."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from autoscaler.core.stopping import IgnoredSignal
from autoscaler.orchestrators.compose import recipe, signals
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.signals import SETTLED, Hearing, Signals, judge
from autoscaler.orchestrators.engine import EngineError, Json, Lane
from tests.unit.orchestrators.compose.test_containers import container

T = TypeVar("T")

TERM, QUIT, RTMIN_3 = 15, 3, 37
AGE = timedelta(minutes=5)


def mask(*numbers: int) -> str:
    return f"{sum(1 << (number - 1) for number in numbers):016x}"


def row(  # noqa: PLR0913 - all that ps shows
    pid: int = 100,
    thread: int = 100,
    state: str = "S",
    *,
    age: timedelta = AGE,
    caught: str = mask(signal.SIGINT),
    blocked: str = mask(),
    waits_in: str = "do_epoll_wait",
    name: str = "python",
) -> list[str]:
    """Return what ps shows of a thread: of Python without a handler, which sleeps."""
    seconds = str(int(age.total_seconds()))
    return [str(pid), str(thread), state, seconds, caught, blocked, waits_in, name]


def inspect(**host: Any) -> Json:
    return {"HostConfig": {"PidMode": "", **host}, "State": {"Pid": 100}}


def hearing(*rows: list[str], number: int | None = TERM, **host: Any) -> Hearing:
    return judge(inspect(**host), {"Processes": list(rows)}, number).hearing


class TestJudge:
    """What the rows of ps say of a container's first process."""

    @pytest.mark.parametrize(
        "thread",
        [
            pytest.param(row(), id="python"),
            pytest.param(row(name="sh", waits_in="do_wait"), id="a-shell"),
            pytest.param(row(caught=mask(QUIT, signal.SIGINT)), id="that-handles-other-signals"),
        ],
    )
    def test_a_signal_without_a_handler_does_nothing(self, thread: list[str]) -> None:
        assert hearing(thread) is Hearing.IGNORES

    @pytest.mark.parametrize(
        ("thread", "number"),
        [
            pytest.param(row(caught=mask(TERM)), TERM, id="handled"),
            pytest.param(row(caught=mask(RTMIN_3)), RTMIN_3, id="of-real-time-and-handled"),
            pytest.param(row(blocked=mask(TERM)), TERM, id="blocked-until-it-is-taken"),
            pytest.param(row(waits_in="do_sigtimedwait.isra.0"), TERM, id="waited-for"),
            pytest.param(row(waits_in="__x64_sys_rt_sigtimedwait"), TERM, id="on-other-kernels"),
            pytest.param(row(), int(signal.SIGKILL), id="the-one-that-nothing-can-ignore"),
            pytest.param(row(), None, id="of-an-unknown-name"),
        ],
    )
    def test_a_signal_that_may_be_heard(self, thread: list[str], number: int | None) -> None:
        assert hearing(thread, number=number) is Hearing.MAY_HEAR

    @pytest.mark.parametrize(
        "thread",
        [
            pytest.param(row(state="R", waits_in="-"), id="runs"),
            pytest.param(row(state="D"), id="paused"),
            pytest.param(row(state="T", waits_in="do_signal_stop"), id="halted"),
            pytest.param(row(waits_in="do_freezer_trap"), id="frozen"),
            pytest.param(row(waits_in="-"), id="the-kernel-does-not-say-where-it-waits"),
            pytest.param(row(age=SETTLED - timedelta(seconds=1)), id="has-only-just-started"),
            pytest.param(row(pid=7, thread=7), id="has-ended-meanwhile"),
        ],
    )
    def test_what_can_be_told_later_is_not_settled(self, thread: list[str]) -> None:
        assert hearing(thread) is Hearing.NOT_SETTLED

    def test_one_thread_that_takes_the_signal_is_enough(self) -> None:
        taking = row(thread=101, waits_in="do_sigtimedwait.isra.0")
        assert hearing(row(), taking) is Hearing.MAY_HEAR

    def test_one_thread_that_runs_leaves_it_open(self) -> None:
        assert hearing(row(), row(thread=101, state="R", waits_in="-")) is Hearing.NOT_SETTLED

    def test_other_processes_of_the_container_do_not_count(self) -> None:
        child = row(pid=200, thread=200, caught=mask(TERM))
        assert hearing(row(name="sh"), child) is Hearing.IGNORES

    @pytest.mark.parametrize("mode", ["host", "container:abc"])
    def test_only_the_first_process_of_a_pid_namespace_is_shielded(self, mode: str) -> None:
        assert hearing(row(), PidMode=mode) is Hearing.MAY_HEAR

    @pytest.mark.parametrize(
        "strange",
        [
            pytest.param(["100", "python"], id="too-few-columns"),
            pytest.param(row(caught="<81001000"), id="a-mask-that-was-cut"),
            pytest.param(row(caught="TERM"), id="names-of-signals"),
        ],
    )
    def test_what_another_ps_says_tells_nothing(self, strange: list[str]) -> None:
        assert hearing(strange) is Hearing.MAY_HEAR

    def test_a_container_without_processes_tells_nothing_yet(self) -> None:
        assert judge(inspect(), {"Processes": None}, TERM).hearing is Hearing.NOT_SETTLED

    def test_podman_counts_processes_from_the_containers_own_first(self) -> None:
        own, helper = row(1, 1), row(7, 7, caught=mask(TERM))
        assert hearing(own, helper) is Hearing.IGNORES

    def test_the_name_and_the_age_are_those_of_the_first_thread(self) -> None:
        threads = [row(thread=101, name="helper", age=SETTLED), row(name="python")]
        sight = judge(inspect(), {"Processes": threads}, TERM)
        assert (sight.process, sight.age) == ("python", AGE)


class World:
    """A service, and an engine that shows what a test says."""

    def __init__(self) -> None:
        self.ran_for_ = AGE
        self.stop_signal = "SIGTERM"
        self.answers: list[list[str] | EngineError] = [row()]
        """What ps shows, look after look; the last one for good."""
        self.looks = 0
        self.gate = asyncio.Event()
        """The engine answers once it is set."""
        self.gate.set()
        self.containers = [container(1), container(2)]
        self.signals = Signals(self, self)  # type: ignore[arg-type]

    def ran_for(self, _container: Container) -> timedelta:
        return self.ran_for_

    async def traits(self, _container: Container) -> recipe.Traits:
        return recipe.Traits(10, None, None, None, self.stop_signal)

    async def call(self, _what: str, work: Callable[[Any], T], lane: Lane) -> T:
        assert lane is Lane.PROCESSES
        await self.gate.wait()
        return work(self)

    def inspect_container(self, _id: str) -> Json:
        return inspect()

    def top(self, id_: str, arguments: str) -> Json:
        assert id_ == "id1"
        assert arguments.startswith("-L -o pid,lwp,")
        answer = self.answers[min(self.looks, len(self.answers) - 1)]
        self.looks += 1
        if isinstance(answer, EngineError):
            raise answer
        return {"Processes": [answer]}

    async def look(self) -> IgnoredSignal | None:
        replicas = Replicas.of(self.containers)
        await self.signals.look([replicas])
        # What a look begins ends soon, but only the first look waits for it.
        await asyncio.sleep(0)
        return self.signals.ignored(replicas.service)


@pytest.fixture
def world() -> World:
    return World()


PYTHON = IgnoredSignal("SIGTERM", "python", shell=False)
HEARS = row(caught=mask(TERM))


class TestSignals:
    """When replicas are looked at, and what is kept of it."""

    async def test_the_signal_and_the_process_are_named(self, world: World) -> None:
        assert await world.look() == PYTHON

    @pytest.mark.parametrize(("name", "shell"), [("dash", True), ("java", False)])
    async def test_a_shell_is_known_as_one(self, world: World, name: str, *, shell: bool) -> None:
        world.answers = [row(name=name)]
        assert await world.look() == IgnoredSignal("SIGTERM", name, shell)

    async def test_its_own_stop_signal_counts(self, world: World) -> None:
        world.stop_signal = "RTMIN+3"
        world.answers = [HEARS]
        assert await world.look() == IgnoredSignal("RTMIN+3", "python", shell=False)

    async def test_one_look_alone_is_not_certain(self, world: World) -> None:
        world.answers = [row(), HEARS]
        assert await world.look() is None

    async def test_one_that_hears_is_looked_at_once(self, world: World) -> None:
        world.answers = [HEARS]
        for _ in range(3):
            assert await world.look() is None
            world.ran_for_ *= 10
        assert world.looks == 1

    async def test_another_configuration_is_looked_at_anew(self, world: World) -> None:
        world.answers = [HEARS, row()]
        assert await world.look() is None
        world.containers = [replace(each, config_hash="newer") for each in world.containers]
        assert await world.look() == PYTHON

    async def test_one_that_has_just_started_is_looked_at_later(self, world: World) -> None:
        world.ran_for_ = SETTLED - timedelta(seconds=1)
        assert await world.look() is None
        assert world.looks == 0
        world.ran_for_ = SETTLED
        assert await world.look() == PYTHON

    async def test_a_handler_that_is_set_up_late_ends_the_warning(self, world: World) -> None:
        world.answers = [row(), row(), HEARS]
        assert await world.look() == PYTHON
        world.ran_for_ = 2 * AGE - timedelta(seconds=1)
        assert await world.look() == PYTHON
        assert world.looks == 2
        world.ran_for_ = 2 * AGE
        assert await world.look() is None

    async def test_one_that_is_busy_at_a_later_look_is_not_forgotten(self, world: World) -> None:
        world.answers = [row(), row(), row(state="R", waits_in="-")]
        await world.look()
        world.ran_for_ = 2 * AGE
        assert await world.look() == PYTHON

    @pytest.mark.parametrize("state", ["paused", "restarting"])
    async def test_one_that_does_not_run_is_not_looked_at(self, world: World, state: str) -> None:
        world.containers = [replace(each, state=state) for each in world.containers]
        assert await world.look() is None
        assert world.looks == 0

    @pytest.mark.parametrize(
        ("status", "looks"),
        [
            pytest.param(403, 1, id="refused-for-good"),
            pytest.param(500, 1, id="a-ps-without-the-columns"),
            pytest.param(404, 3, id="gone-meanwhile"),
            pytest.param(None, 3, id="no-answer"),
        ],
    )
    async def test_a_look_that_fails_is_no_error(
        self, world: World, status: int | None, looks: int
    ) -> None:
        world.answers = [EngineError("no", status)]
        for _ in range(3):
            assert await world.look() is None
            world.ran_for_ *= 2
        assert world.looks == looks

    async def test_the_first_look_waits_for_what_it_finds(self, world: World) -> None:
        replicas = Replicas.of(world.containers)
        await world.signals.look([replicas])
        assert world.signals.ignored(replicas.service) == PYTHON

    async def test_no_later_look_waits(self, world: World) -> None:
        world.ran_for_ = timedelta()
        await world.look()
        world.ran_for_ = AGE
        world.gate.clear()
        assert await world.look() is None
        world.gate.set()
        await asyncio.sleep(0)
        assert await world.look() == PYTHON

    async def test_a_slow_engine_does_not_hold_up_the_first_look_for_long(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(signals, "PATIENCE", 0.0)
        world.gate.clear()
        assert await world.look() is None

    async def test_a_service_that_is_gone_is_forgotten(self, world: World) -> None:
        await world.look()
        await world.signals.look([])
        assert world.signals.ignored(world.containers[0].service) is None
