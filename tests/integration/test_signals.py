"""What a real engine shows of the signals that a container's first process ignores."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from docker import APIClient

from autoscaler.core.stopping import IgnoredSignal
from autoscaler.orchestrators.compose.leaving import signal_number
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.compose.signals import PS, SETTLED, Hearing, judge
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from tests.real.crew import IMAGE
from tests.real.daemon import autoscaler
from tests.real.proxy import hardened_proxy
from tests.real.stages import ComposeStage, docker
from tests.real.waiting import LIMIT, until, until_async

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("signals")]

SLEEP = "import time; time.sleep(3600)"
HANDLER = "import signal, time; signal.signal({}, lambda *_: exit()); time.sleep(3600)"
LOOP = """
import asyncio, signal
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
asyncio.run(main())
"""
WAIT = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); signal.sigwait([15])"
THREAD = """
import signal, threading, time
signal.pthread_sigmask(signal.SIG_BLOCK, [15])
threading.Thread(target=lambda: signal.sigwait([15])).start()
time.sleep(3600)
"""
BUSY = "while True: pass"
LABELS = {"temporal.queue": "orders"}


def python(code: str) -> tuple[str, ...]:
    return ("python", "-c", code)


CASES = {
    "python-without-a-handler": (Hearing.IGNORES, python(SLEEP), ()),
    "python-with-one": (Hearing.MAY_HEAR, python(HANDLER.format(15)), ()),
    "python-with-one-for-another": (Hearing.IGNORES, python(HANDLER.format(2)), ()),
    "an-event-loop-with-one": (Hearing.MAY_HEAR, python(LOOP), ()),
    "python-that-waits-for-it": (Hearing.MAY_HEAR, python(WAIT), ()),
    "a-thread-that-waits-for-it": (Hearing.MAY_HEAR, python(THREAD), ()),
    "python-at-work": (Hearing.NOT_SETTLED, python(BUSY), ("--cpus=0.05",)),
    "init": (Hearing.MAY_HEAR, python(SLEEP), ("--init",)),
    "a-shell": (Hearing.IGNORES, ("sh", "-c", "python -c 'import time; time.sleep(3600)'; :"), ()),
    "a-shell-that-makes-way": (
        Hearing.MAY_HEAR,
        ("sh", "-c", f'exec python -c "{HANDLER.format(15)}"'),
        (),
    ),
    "a-shell-with-a-trap": (Hearing.MAY_HEAR, ("sh", "-c", "trap exit TERM; sleep 3600; :"), ()),
    "a-shell-that-ignores": (Hearing.IGNORES, ("sh", "-c", "trap '' TERM; sleep 3600; :"), ()),
    "its-own-signal-ignored": (Hearing.IGNORES, python(LOOP), ("--stop-signal=SIGQUIT",)),
    "its-own-signal-handled": (
        Hearing.MAY_HEAR,
        python(HANDLER.format(37)),
        ("--stop-signal=RTMIN+3",),
    ),
    "a-kill": (Hearing.MAY_HEAR, python(SLEEP), ("--stop-signal=SIGKILL",)),
    "the-hosts-processes": (Hearing.MAY_HEAR, python(SLEEP), ("--pid=host",)),
}
"""For each container: what is to be found, its command, and options of `docker run`."""


def stop_signal(inspect: dict[str, dict[str, str]]) -> int | None:
    return signal_number(inspect["Config"].get("StopSignal") or "SIGTERM")


@pytest.fixture(scope="module")
def client() -> Iterator[APIClient]:
    found = APIClient(version="auto")
    yield found
    found.close()


@pytest.fixture(scope="module")
def containers(client: APIClient) -> Iterator[str]:
    """Run a container for each case, and return how their names begin, once all have settled."""
    prefix = f"tda-{uuid.uuid4().hex[:8]}"
    names = [f"{prefix}-{case}" for case in CASES]
    try:
        for name, (_, command, options) in zip(names, CASES.values(), strict=True):
            docker("run", "--detach", f"--name={name}", *options, IMAGE, *command)
        until(lambda: youngest(client, names) >= SETTLED.total_seconds(), "processes that settled")
        yield prefix
    finally:
        docker("rm", "--force", "--volumes", *names)


def youngest(client: APIClient, names: list[str]) -> int:
    """Return for how many seconds all these containers have run, by the engine's clock."""
    found = [client.top(name, "-o pid,etimes")["Processes"] for name in names]
    return min(int(processes[0][1]) for processes in found)


@pytest.mark.parametrize("case", CASES)
def test_a_process_ignores_its_signal_only_where_that_is_certain(
    client: APIClient, containers: str, case: str
) -> None:
    name = f"{containers}-{case}"
    inspect = client.inspect_container(name)
    top = dict(client.top(name, PS))
    assert judge(inspect, top, stop_signal(inspect)).hearing is CASES[case][0]


def test_a_paused_process_tells_nothing(client: APIClient, containers: str) -> None:
    name = f"{containers}-init"
    docker("pause", name)
    try:
        inspect, top = client.inspect_container(name), dict(client.top(name, PS))
    finally:
        docker("unpause", name)
    # Whatever it waited in: it must not be taken for one that ignores.
    assert judge(inspect, top, stop_signal(inspect)).hearing is not Hearing.IGNORES


class TestServices:
    """The same by the orchestrator, the command line, and behind a proxy."""

    @pytest.fixture
    def stage(self, compose_stage: ComposeStage) -> ComposeStage:
        """A project with a service that ignores its signal, one in a shell, and one that hears."""
        compose_stage.up(
            dict.fromkeys(("deaf", "shell", "hears"), 1),
            dict.fromkeys(("deaf", "shell", "hears"), LABELS),
            image=IMAGE,
            stop_grace_period="1s",
            init=False,
            each={
                "deaf": {"command": list(python(SLEEP))},
                "shell": {"command": ["sh", "-c", "sleep 3600; :"]},
                "hears": {"command": list(python(LOOP))},
            },
        )
        return compose_stage

    async def test_they_are_known_before_any_is_stopped(
        self, stage: ComposeStage, engine: Engine, tmp_path: Path
    ) -> None:
        found = Found(engine, stage.project)
        assert await found.ignored() == dict.fromkeys(IGNORED)

        async with asyncio.timeout(LIMIT):
            # Time has to pass until the processes have settled.
            while await found.ignored() != IGNORED:  # noqa: ASYNC110
                await asyncio.sleep(0.5)

        with hardened_proxy(tmp_path) as address:
            # `plan` waits for an engine that is slow, but not for ever.
            await until_async(
                lambda: planned(tmp_path, stage.project, DOCKER_HOST=address) == WARNINGS,
                "the warnings of plan",
            )
        with hardened_proxy(tmp_path, "/top$") as address:
            assert planned(tmp_path, stage.project, DOCKER_HOST=address) == {
                key: [] for key in IGNORED
            }


IGNORED = {
    "deaf": IgnoredSignal("SIGTERM", "python", shell=False),
    "hears": None,
    "shell": IgnoredSignal("SIGTERM", "sh", shell=True),
}
WARNINGS = {service: [] if each is None else [each.words] for service, each in IGNORED.items()}
NO_WARNINGS: dict[str, list[str]] = {service: [] for service in IGNORED}


class Found:
    """What an orchestrator finds in a project."""

    def __init__(self, engine: Engine, project: str) -> None:
        self._compose = ComposeOrchestrator(
            engine, clock=lambda: datetime.now(UTC), projects=Projects(engine, [project])
        )

    async def ignored(self) -> dict[str, IgnoredSignal | None]:
        """Return the signal that each service is certain to ignore."""
        found = await self._compose.discover()
        return {each.id.name.rpartition("/")[2]: each.ignored_signal for each in found}


def planned(folder: Path, project: str, **settings: str) -> dict[str, list[str]]:
    """Return what `plan` warns of in each service, apart from its queue."""
    settings |= {"AUTOSCALER_PROJECTS": project, "AUTOSCALER_ORCHESTRATORS": "compose"}
    plan = json.loads(autoscaler(folder, "plan", "--json", **settings).stdout)
    assert plan["errors"] == []
    return {each["service"].rpartition("/")[2]: list(each["warnings"]) for each in plan["services"]}
