"""What a real engine lists while it tells of ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine, Json
from autoscaler.orchestrators.events import EngineEvents
from autoscaler.orchestrators.projects import Projects
from tests.real.stages import ComposeStage
from tests.real.waiting import LIMIT

pytestmark = pytest.mark.engine


class Ends:
    """Counts the containers of a project whose end the engine has told."""

    def __init__(self, project: str) -> None:
        self.told = 0
        self._project = project

    def stream_began(self) -> None:
        pass

    def stream_ended(self) -> None:
        pass

    def happened(self, event: Json) -> timedelta | None:
        project = event["Actor"]["Attributes"].get("com.docker.compose.project")
        self.told += event["Action"] == "die" and project == self._project
        return None


async def test_a_look_right_after_the_event_of_an_end_counts_no_replica_that_has_ended(
    compose_stage: ComposeStage, engine: Engine
) -> None:
    def clock() -> datetime:
        return datetime.now(UTC)

    compose_stage.up({"worker": 5}, {"worker": {"temporal.queue": "orders"}})
    projects = Projects(engine, [compose_stage.project])
    orchestrator = ComposeOrchestrator(engine, clock=clock, projects=projects)
    ends = Ends(compose_stage.project)
    news = asyncio.Event()
    watching = asyncio.create_task(
        EngineEvents(engine, clock, [orchestrator, ends]).watch(news.set)
    )
    try:
        async with asyncio.timeout(LIMIT):
            await news.wait()
            await orchestrator.discover()
            stopping = asyncio.create_task(
                asyncio.to_thread(compose_stage.compose, "stop", "--timeout", "0")
            )
            while ends.told < 5:
                news.clear()
                await news.wait()
                told = ends.told
                (service,) = await orchestrator.discover()
                assert service.replicas <= 5 - told
            await stopping
    finally:
        watching.cancel()
