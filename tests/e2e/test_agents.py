"""The agents of compose/swarm/agents.yaml, from the image, on a Swarm of one node.

`tests/matrix/test_swarm_agents.py` has them on three nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.engines import outer
from tests.real.agent_stack import AgentStack
from tests.real.stages import docker
from tests.real.waiting import until

pytestmark = pytest.mark.swarm


@pytest.fixture
def stack(tmp_path: Path, swarm: None) -> Iterator[AgentStack]:  # noqa: ARG001
    made = AgentStack(outer(), tmp_path)
    yield made
    made.close()


def node() -> tuple[str, str]:
    """Return the id and the name of this engine's node."""
    form = "--format={{.ID}} {{.Description.Hostname}}"
    id_, name = docker("node", "inspect", form, "self").split()
    return id_, name


def state_of(container: str, what: str) -> str:
    return docker("inspect", f"--format={{{{.State.{what}}}}}", container).strip()


def test_the_daemon_finds_the_agent_on_a_node_and_has_a_task_stopped(stack: AgentStack) -> None:
    stack.deploy()
    (agent,) = stack.containers("agent")
    (worker,) = stack.containers("worker")
    until(lambda: state_of(agent, "Health.Status") == "healthy", "a healthy agent")

    until(
        lambda: stack.findings() == [("ok", "the agent on every node of the Swarm answers")],
        "an agent that answers",
    )
    assert stack.drain(node()[0], worker) == str({worker: True})

    until(lambda: state_of(worker, "Running") == "false", "the end of the task")
    # The Swarm replaces what was stopped, as it does wherever nobody lowers the number.
    until(lambda: stack.containers("worker"), "its replacement")


def test_doctor_names_the_node_whose_agent_has_another_secret(stack: AgentStack) -> None:
    stack.deploy(secret_of_agents="another secret that is long enough too")
    (agent,) = stack.containers("agent")
    until(lambda: state_of(agent, "Health.Status") == "healthy", "a healthy agent")

    (finding,) = stack.findings()

    assert finding[0] == "wrong"
    assert finding[1].startswith(f"the agent on node {node()[1]} refuses the daemon's signature")
    assert "AUTOSCALER_AGENT_SECRET" in finding[1]
    assert docker("logs", agent).count('"refused"') == 1


def test_doctor_names_the_node_without_an_agent(stack: AgentStack) -> None:
    stack.deploy()
    docker("service", "rm", f"{stack.name}_agent")
    until(lambda: not stack.containers("agent"), "the end of the agent")

    (finding,) = stack.findings()

    assert finding[0] == "wrong"
    # Another test may have agents in the same Swarm, on another network.
    assert f" on node {node()[1]}: " in finding[1]
