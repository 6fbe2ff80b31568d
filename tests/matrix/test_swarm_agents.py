"""Three nodes with the stack that users deploy: a daemon on the manager, an agent on every node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix.cluster import Cluster
from tests.real.agent_stack import IMAGE, AgentStack
from tests.real.waiting import until

ANSWER = [("ok", "the agent on every node of the Swarm answers")]


@pytest.fixture
def deployed(cluster: Cluster, tmp_path: Path) -> Iterator[AgentStack]:
    cluster.await_ready()
    cluster.bring(IMAGE)
    stack = AgentStack(cluster.manager, tmp_path)
    # The Swarm would start an agent that was killed again: here it is to stay away. And on an
    # encrypted network, only the agent on the manager's own node answered where the engines run in
    # containers (Engine 26.1, 2026-11); the cause was not examined.
    stack.deploy(replicas=3, agents={"restart_policy": {"condition": "none"}}, encrypted=False)
    yield stack
    stack.close()


def test_the_daemon_reaches_the_agent_on_every_node_and_doctor_names_one_without(
    cluster: Cluster, deployed: AgentStack
) -> None:
    name = next(name for name in cluster.nodes if name != cluster.manager.name)
    node = cluster.nodes[name]
    (id_,) = (id_ for id_, each in cluster.ids().items() if each == name)
    until(lambda: deployed.findings() == ANSWER, "agents that answer")

    until(lambda: deployed.containers("worker", node), "a task on another node than the manager")
    worker, *_ = deployed.containers("worker", node)
    assert deployed.drain(id_, worker) == str({worker: True})
    until(lambda: worker not in deployed.containers("worker", node), "the end of the task")

    node.docker("kill", *deployed.containers("agent", node))
    until(lambda: deployed.findings() != ANSWER, "a finding")
    (finding,) = deployed.findings()
    assert finding[0] == "wrong"
    assert f"node {name}" in finding[1]
