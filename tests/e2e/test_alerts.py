"""Alerts fire in the states that they are for, in a real Prometheus, from a real daemon."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import autoscaler
from tests.real.gate import EngineGate
from tests.real.prometheus import severities, watch
from tests.real.stages import IDLE, TINY_IMAGE, ComposeStage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import LIMIT, free_port, until, until_async

NOT_HERE = {"AutoscalerLoopStalled", "AutoscalerReplicasInterrupted"}
"""What this test does not bring about: promtool checks these on made-up series."""
CRASHES = ("sh", "-c", "sleep 1; exit 3")


def expiring_key() -> str:
    """Return an API key like those of Temporal Cloud, which expires in a day."""
    claims = json.dumps({"exp": int(time.time()) + 86400}).encode()
    return f"head.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"


@pytest.fixture
def engine_gate(tmp_path: Path) -> Iterator[EngineGate]:
    """A gate before this machine's engine."""
    with EngineGate(tmp_path / "gate.sock", Path("/var/run/docker.sock")) as gate:
        yield gate


def run_everywhere(stage: SwarmStage, service: str, asked: Mapping[str, str]) -> None:
    """Add a global service to a stack. It has no number of replicas that could be changed."""
    mine = {"com.docker.stack.namespace": stage.project, **asked}
    options = [f"--label={key}={value}" for key, value in mine.items()]
    name = f"--name={stage.name(service)}"
    docker("service", "create", "--detach", "--mode=global", name, *options, TINY_IMAGE, *IDLE)


@pytest.mark.swarm
@pytest.mark.prometheus
async def test_alerts_fire_in_the_states_that_they_are_for(  # noqa: PLR0913, PLR0917
    compose_stage: ComposeStage,
    swarm_stage: SwarmStage,
    engine_gate: EngineGate,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    tmp_path: Path,
    queue: str,
) -> None:
    asked = {
        "calm": labels(f"{queue}-calm"),
        "full": labels(f"{queue}-full", target="1", max="1"),
        "held": labels(f"{queue}-held", target="1", group="gpu"),
        "broken": labels(f"{queue}-broken", min="1"),
        "away": labels(f"{queue}-away", integration="away"),
    }
    compose_stage.up(
        dict.fromkeys(asked, 1),
        asked,
        command=IDLE,
        each={"broken": {"command": CRASHES}},
    )
    swarm_stage.up({"chosen": 1}, {"chosen": labels(f"{queue}-chosen", swarm_choice="any")})
    run_everywhere(swarm_stage, "everywhere", labels(f"{queue}-everywhere"))
    await temporal.enqueue(f"{queue}-held", 3)
    daemon = run_daemon(
        compose_stage,
        DOCKER_HOST=engine_gate.endpoint,
        AUTOSCALER_PROJECTS=f"{compose_stage.project},{swarm_stage.project}",
        AUTOSCALER_GROUPS__GPU="1",
        AUTOSCALER_INTEGRATIONS__AWAY__ENDPOINT=f"127.0.0.1:{free_port()}",
        AUTOSCALER_INTEGRATIONS__AWAY__API_KEY=expiring_key(),
    )
    daemon.wait_for("tick")
    calm, full = compose_stage.name("calm"), compose_stage.name("full")
    done = autoscaler(
        tmp_path, "set", calm, "max=4", "--for", "4m", AUTOSCALER_STATE=str(tmp_path / "state")
    )
    assert done.returncode == 0, done.stderr

    expected = {
        ("AutoscalerBacklogGrowingAtMax", full),
        ("AutoscalerOldestTaskTooOld", full),
        ("AutoscalerHeldByShare", compose_stage.name("held")),
        ("AutoscalerReplicasCrash", compose_stage.name("broken")),
        ("AutoscalerServiceBroken", compose_stage.name("away")),
        ("AutoscalerOverrideEnding", calm),
        ("AutoscalerAgentMissing", swarm_stage.name("chosen")),
        ("AutoscalerServiceRefused", swarm_stage.name("everywhere")),
        ("AutoscalerIntegrationDown", "away"),
        ("AutoscalerCredentialExpiring", "away"),
    }
    with watch(tmp_path, daemon.url) as server:
        fired: set[tuple[str, str]] = set()

        late = time.monotonic() + LIMIT
        while not expected <= fired:
            assert time.monotonic() < late, f"these do not fire: {expected - fired}"
            # Each second more tasks wait.
            await temporal.put(f"{queue}-full", 3)
            await asyncio.sleep(1)
            fired |= server.firing()
        names = {name for name, about in fired if about == calm}
        assert names == {"AutoscalerOverrideEnding"}

        engine_gate.cut()
        engine = ("AutoscalerEngineNotAnswering", "")
        await until_async(lambda: engine in server.firing(), "an alert about the engine")
        daemon.kill()
        until(lambda: ("AutoscalerDown", "") in server.firing(), "an alert about the daemon")
    engine_gate.mend()

    brought_about = {name for name, _ in expected} | {engine[0], "AutoscalerDown"}
    assert severities().keys() == brought_about | NOT_HERE
