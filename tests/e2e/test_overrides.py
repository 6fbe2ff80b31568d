"""Values that are set live: nobody is stopped for them, and they outlive the daemon."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.crew import Crew
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.stages import ComposeStage, Stage
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async

LONG_ENOUGH = 8.0
"""Seconds in which a service that is not paused would have been scaled: some ticks."""


def command(folder: Path, daemon: DaemonProcess, *words: str) -> str:
    """Run a command beside a daemon, as `docker compose exec` does, and return what it prints."""
    done = autoscaler(
        folder,
        *words,
        AUTOSCALER_STATE=str(folder / "state"),
        AUTOSCALER_LISTEN=daemon.url.removeprefix("http://").rstrip("/"),
        COLUMNS="200",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def row(daemon: DaemonProcess, name: str) -> dict[str, object]:
    """Return what the daemon says of a service over HTTP."""
    with urlopen(f"{daemon.url}api/services", timeout=30) as answer:
        found = json.loads(answer.read())["services"]
    return next(dict(each) for each in found if each["service"] == name)


@pytest.mark.engine
async def test_a_larger_max_brings_two_more_workers_and_the_busy_ones_stay(
    compose_stage: ComposeStage, crew: Crew, run_daemon: RunDaemon, tmp_path: Path
) -> None:
    name = compose_stage.name("worker")
    wanted = labels(crew.queue, target="1", max="4", busy="protect")
    compose_stage.up({"worker": 4}, {"worker": wanted}, **crew.service(SLOTS="1"))
    begun = await crew.begin(4)
    more = [await crew.start() for _ in range(6)]
    endpoint = crew.endpoint
    daemon = run_daemon(compose_stage, AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=endpoint)
    daemon.wait_for("tick")
    before = compose_stage.running("worker")
    assert len(before) == 4

    command(tmp_path, daemon, "set", name, "max=6", "--reason", "a busy hour")
    await until_async(lambda: len(compose_stage.running("worker")) == 6, "6 replicas")
    assert before < compose_stage.running("worker")
    line = daemon.wait_for("override begins", service=name)
    assert (line["values"], line["reason"]) == (["max=6"], "a busy hour")

    # Killed and started again, it still knows.
    daemon.kill()
    again = run_daemon(compose_stage, AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=endpoint)
    again.wait_for("override begins", service=name)
    again.wait_for("tick", after=len(again.lines))
    assert before < compose_stage.running("worker")
    assert len(compose_stage.running("worker")) == 6
    assert row(again, name)["max"] == 6

    crew.release()
    await asyncio.gather(*(each.result() for each in (*begun, *more)))
    assert crew.lost() == []


async def test_paused_nothing_moves_also_over_a_kill_and_after_the_time_it_follows_by_itself(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str, tmp_path: Path
) -> None:
    stage.up({"worker": 2}, {"worker": labels(queue)})
    name = stage.name("worker")
    daemon = run_daemon(stage)
    daemon.wait_for("tick")
    before = stage.running("worker")
    command(tmp_path, daemon, "pause", name, "--for", "1h", "--reason", "deploy", "--by", "anna")
    daemon.wait_for("override begins", service=name, values=["paused"])

    await temporal.enqueue(queue, 40)
    await asyncio.sleep(LONG_ENOUGH)
    assert stage.running("worker") == before
    assert "paused until " in command(tmp_path, daemon, "status")
    (shown,) = row(daemon, name)["overrides"]  # type: ignore[misc, attr-defined]
    assert (shown["what"], shown["by"], shown["reason"]) == ("paused", "anna", "deploy")
    assert daemon.metric("autoscaler_override", name) == 1

    daemon.kill()
    again = run_daemon(stage)
    again.wait_for("override begins", service=name, values=["paused"])
    again.wait_for("tick", after=len(again.lines))
    assert stage.running("worker") == before

    command(tmp_path, again, "pause", name, "--for", "3s")
    again.wait_for("override ended", service=name)
    await until_async(lambda: len(stage.running("worker")) == 4, "4 replicas")
    assert "nothing is set" in command(tmp_path, again, "overrides")


async def test_resumed_it_follows_at_once(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str, tmp_path: Path
) -> None:
    stage.up({"worker": 1}, {"worker": labels(queue)})
    name = stage.name("worker")
    daemon = run_daemon(stage)
    daemon.wait_for("tick")
    command(tmp_path, daemon, "pause", name)
    daemon.wait_for("override begins", service=name)
    await temporal.enqueue(queue, 30)
    await asyncio.sleep(LONG_ENOUGH)
    assert len(stage.running("worker")) == 1

    command(tmp_path, daemon, "resume", name)
    daemon.wait_for("override removed", service=name)
    await until_async(lambda: len(stage.running("worker")) == 3, "3 replicas")


def flags(folder: Path, daemon: DaemonProcess) -> list[str]:
    return command(folder, daemon, "scale-flags").split()


@pytest.mark.engine
class TestScaleFlags:
    async def test_up_with_them_stops_nobody(
        self, compose_stage: ComposeStage, crew: Crew, run_daemon: RunDaemon, tmp_path: Path
    ) -> None:
        wanted = labels(crew.queue, target="1", max="3", busy="protect")
        compose_stage.up({"worker": 3}, {"worker": wanted}, **crew.service(SLOTS="1"))
        begun = await crew.begin(3)
        endpoint = crew.endpoint
        daemon = run_daemon(compose_stage, AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=endpoint)
        daemon.wait_for("tick")
        before = compose_stage.running("worker")

        found = flags(tmp_path, daemon)
        assert found == ["--scale", "worker=3"]
        compose_stage.compose("up", "--detach", *found)

        assert compose_stage.running("worker") == before
        crew.release()
        await asyncio.gather(*(each.result() for each in begun))
        assert crew.lost() == []

    async def test_with_a_changed_service_all_are_made_anew_and_as_many(
        self,
        compose_stage: ComposeStage,
        temporal: TemporalServer,
        run_daemon: RunDaemon,
        queue: str,
        tmp_path: Path,
    ) -> None:
        await temporal.enqueue(queue, 30)
        compose_stage.up({"worker": 1, "other": 1}, {"worker": labels(queue)})
        daemon = run_daemon(compose_stage)
        await until_async(lambda: len(compose_stage.running("worker")) == 3, "3 replicas")
        daemon.wait_for("tick", after=len(daemon.lines))
        before = compose_stage.running("worker")

        found = flags(tmp_path, daemon)
        compose_stage.write(
            ("worker", "other"), {"worker": labels(queue)}, environment={"VERSION": "2"}
        )
        compose_stage.compose("up", "--detach", *found)

        after = compose_stage.running("worker")
        assert len(after) == 3
        assert not before & after

    async def test_without_a_daemon_the_engine_says_the_same_and_a_service_at_zero_can_wake(
        self,
        compose_stage: ComposeStage,
        temporal: TemporalServer,
        run_daemon: RunDaemon,
        queue: str,
        tmp_path: Path,
    ) -> None:
        compose_stage.up(
            {"worker": 2, "idle": 1},
            {"worker": labels(queue, min="2"), "idle": labels(f"{queue}-idle", min="0")},
        )
        compose_stage.compose("stop", "--timeout", "1", "idle")

        done = autoscaler(
            tmp_path,
            "scale-flags",
            AUTOSCALER_PROJECTS=compose_stage.project,
            AUTOSCALER_LISTEN="127.0.0.1:1",
        )
        assert done.stdout.split() == ["--scale", "idle=1", "--scale", "worker=2"], done.stderr
        compose_stage.compose("up", "--detach", *done.stdout.split())

        run_daemon(compose_stage)
        await temporal.enqueue(f"{queue}-idle", 20)
        await until_async(lambda: len(compose_stage.running("idle")) == 2, "2 replicas")

    def test_compose_names_a_service_of_a_profile_that_is_off(
        self, compose_stage: ComposeStage, queue: str, tmp_path: Path
    ) -> None:
        """`up` needs the same --profile as before; it says so, and changes nothing."""
        compose_stage.write(
            ("worker", "extra"),
            {"worker": labels(queue), "extra": labels(queue)},
            each={"extra": {"profiles": ["extras"]}},
        )
        compose_stage.compose("--profile", "extras", "up", "--detach", "--scale=worker=2")
        before = compose_stage.running("worker")
        done = autoscaler(
            tmp_path,
            "scale-flags",
            AUTOSCALER_PROJECTS=compose_stage.project,
            AUTOSCALER_LISTEN="127.0.0.1:1",
        )
        compose_file = str(tmp_path / "compose.yaml")
        up = subprocess.run(
            ["docker", "compose", "-f", compose_file, "up", "--detach", *done.stdout.split()],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert up.returncode != 0
        assert "no such service: extra" in up.stderr
        assert compose_stage.running("worker") == before
        compose_stage.compose("--profile", "extras", "down", "--timeout", "1")
