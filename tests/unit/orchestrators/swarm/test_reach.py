"""Whose tasks can be chosen, and what is said where not all can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.swarm.agents import AgentUnavailable
from autoscaler.orchestrators.swarm.reach import NO_AGENTS, NO_PLACEMENT, Reach

T = TypeVar("T")
ROW = {"Spec": {"TaskTemplate": {"Placement": {}}}}
WITHOUT_PLACEMENT: dict[str, Any] = {"Spec": {"TaskTemplate": {}}}


class Nodes:
    """A manager that lists three nodes, and their agents."""

    def __init__(self, managers: int = 1) -> None:
        self.managers = managers
        self.mute: list[str] = []
        self.fails: Exception | None = None
        self.unreachable: EngineError | None = None

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        if self.unreachable is not None:
            raise self.unreachable
        return work(self)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "ID": f"n{number}",
                "Description": {"Hostname": f"node-{number}"},
                "Spec": {"Role": "manager" if number <= self.managers else "worker"},
            }
            for number in (1, 2, 3)
        ]

    async def silent(self) -> Mapping[str, str]:
        if self.fails is not None:
            raise self.fails
        return {node: f"no agent runs on {node}" for node in self.mute}


def reach(nodes: Nodes) -> Reach:
    return Reach(nodes, nodes)  # type: ignore[arg-type]


async def test_all_nodes_are_within_reach_where_every_agent_answers() -> None:
    seen = reach(Nodes())
    assert await seen.look() == {"n1", "n2", "n3"}
    assert seen.shortfall(ROW) is None


async def test_without_agents_none_is() -> None:
    seen = Reach(Nodes(), None)  # type: ignore[arg-type]
    assert seen.shortfall(ROW) == NO_AGENTS
    assert await seen.look() == ()


async def test_a_node_whose_agent_is_silent_is_named_and_left_out() -> None:
    nodes = Nodes()
    nodes.mute = ["n2"]
    seen = reach(nodes)
    assert await seen.look() == {"n1", "n3"}
    assert seen.shortfall(ROW) == "no agent runs on n2"
    nodes.mute = []
    await seen.look()
    assert seen.shortfall(ROW) is None


@pytest.mark.parametrize("managers", [0, 2, 3])
async def test_where_a_leader_could_change_none_is(managers: int) -> None:
    seen = reach(Nodes(managers))
    assert await seen.look() == ()
    assert f"the Swarm has {managers} managers" in str(seen.shortfall(ROW))


@pytest.mark.parametrize("error", [AgentUnavailable("no answer"), TimeoutError()])
async def test_where_the_agents_cannot_be_asked_none_is(error: Exception) -> None:
    nodes = Nodes()
    nodes.fails = error
    seen = reach(nodes)
    assert await seen.look() == ()
    assert "unknown which agents answer" in str(seen.shortfall(ROW))


async def test_where_the_nodes_may_not_be_listed_none_is() -> None:
    nodes = Nodes()
    nodes.unreachable = EngineError("forbidden", 403)
    seen = reach(nodes)
    assert await seen.look() == ()
    assert "forbidden" in str(seen.shortfall(ROW))


async def test_a_service_without_any_placement_is_out_of_reach() -> None:
    seen = reach(Nodes())
    await seen.look()
    assert seen.shortfall(WITHOUT_PLACEMENT) == NO_PLACEMENT
