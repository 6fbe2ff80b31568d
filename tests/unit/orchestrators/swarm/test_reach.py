"""Whose tasks can be chosen, and what is said where not all can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import pytest

from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.swarm import reach as room
from autoscaler.orchestrators.swarm.agents import AgentUnavailable
from autoscaler.orchestrators.swarm.reach import NO_AGENTS, NO_PLACEMENT, Reach

T = TypeVar("T")
ROW: dict[str, Any] = {"ID": "id1", "Spec": {"TaskTemplate": {"Placement": {}}}}
WITHOUT_PLACEMENT: dict[str, Any] = {"ID": "id2", "Spec": {"TaskTemplate": {}}}


TASKS = [
    {
        "ServiceID": "id1",
        "NodeID": node,
        "Status": {"State": state, "ContainerStatus": {"ContainerID": f"on-{node}"}},
    }
    for node, state in (("n1", "running"), ("n2", "running"), ("n2", "complete"), ("n3", "running"))
]


class Nodes:
    """A manager, and the agents of three nodes."""

    def __init__(self, managers: int = 1) -> None:
        self.managers = managers
        self.fails: dict[str, Exception] = {}
        """By node, what goes wrong with its agent."""
        self.hangs: set[str] = set()
        """Nodes whose agents never answer."""
        self.asked: list[tuple[str, str, list[str]]] = []
        self.unreachable: EngineError | None = None

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        if self.unreachable is not None:
            raise self.unreachable
        return work(self)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "ID": f"n{number}",
                "Spec": {"Role": "manager" if number <= self.managers else "worker"},
                "Description": {"Hostname": f"host{number}"},
            }
            for number in (1, 2, 3)
        ]

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        self.asked.append((node, service, list(containers)))
        if node in self.fails:
            raise self.fails[node]
        if node in self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)  # An answer never comes at once.
        return dict.fromkeys(containers, True)


def reach(nodes: Nodes) -> Reach:
    return Reach(nodes, nodes)  # type: ignore[arg-type]


async def test_all_nodes_are_within_reach_where_every_agent_answers() -> None:
    nodes = Nodes()
    seen = reach(nodes)
    assert await seen.look(TASKS) == {"n1", "n2", "n3"}
    assert nodes.asked == [(node, "id1", [f"on-{node}"]) for node in ("n1", "n2", "n3")]
    assert seen.shortfall(ROW) is None


async def test_without_agents_none_is() -> None:
    seen = Reach(Nodes(), None)  # type: ignore[arg-type]
    assert seen.shortfall(ROW) == NO_AGENTS
    assert await seen.look(TASKS) == ()


async def test_where_no_task_runs_nobody_is_asked() -> None:
    nodes = Nodes()
    assert await reach(nodes).look(TASKS[2:3]) == ()
    assert nodes.asked == []


async def test_a_node_whose_agent_cannot_be_asked_is_left_out_and_it_is_said_why() -> None:
    nodes = Nodes()
    nodes.fails = {"n2": AgentUnavailable("there is no agent on node two"), "n3": TimeoutError()}
    seen = reach(nodes)
    assert await seen.look(TASKS) == {"n1"}
    assert seen.shortfall(ROW) == (
        "the agent on node host3 did not answer within 5 s: see docs/agents.md, and the agent's"
        " log; there is no agent on node two"
    )
    nodes.fails = {}
    await seen.look(TASKS)
    assert seen.shortfall(ROW) is None


async def test_an_agent_that_was_silent_is_asked_again_but_waited_for_shortly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = Nodes()
    seen = reach(nodes)
    nodes.fails = {"n2": TimeoutError()}
    assert await seen.look(TASKS) == {"n1", "n3"}
    # The first wait would last for ever now, so this ends only with the second one.
    monkeypatch.setattr(room, "ANSWERS_WITHIN", 1e9)
    monkeypatch.setattr(room, "STILL_SILENT_AFTER", 0)
    nodes.fails, nodes.hangs = {}, {"n2"}
    assert await seen.look(TASKS) == {"n1", "n3"}
    monkeypatch.undo()
    nodes.hangs = set()
    assert await seen.look(TASKS) == {"n1", "n2", "n3"}
    assert seen.shortfall(ROW) is None


async def test_an_agent_that_answers_again_is_waited_for_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = Nodes()
    seen = reach(nodes)
    nodes.fails = {"n2": TimeoutError()}
    await seen.look(TASKS)
    nodes.fails = {}
    await seen.look(TASKS)
    monkeypatch.setattr(room, "STILL_SILENT_AFTER", 0)
    assert await seen.look(TASKS) == {"n1", "n2", "n3"}


@pytest.mark.parametrize("managers", [0, 2, 3])
async def test_where_a_leader_could_change_none_is(managers: int) -> None:
    nodes = Nodes(managers)
    seen = reach(nodes)
    assert await seen.look(TASKS) == ()
    assert f"the Swarm has {managers} managers" in str(seen.shortfall(ROW))
    assert nodes.asked == []


async def test_where_the_nodes_may_not_be_listed_none_is() -> None:
    nodes = Nodes()
    nodes.unreachable = EngineError("forbidden", 403)
    seen = reach(nodes)
    assert await seen.look(TASKS) == ()
    assert "forbidden" in str(seen.shortfall(ROW))


async def test_a_service_without_any_placement_is_out_of_reach() -> None:
    seen = reach(Nodes())
    assert seen.shortfall(WITHOUT_PLACEMENT) == NO_PLACEMENT


async def test_what_one_service_misses_is_not_said_of_another_nor_of_one_that_is_gone() -> None:
    nodes = Nodes(managers=3)
    seen = reach(nodes)
    await seen.look(TASKS)
    assert seen.shortfall({**ROW, "ID": "id2"}) is None
    seen.forget_all_but({"id2"})
    assert seen.shortfall(ROW) is None
