"""The agents on the nodes of a cluster: the image, in a container of each node's own engine.

An agent has the network of its node. So the daemon of a test reaches it at the node's address, and
a node that is cut off takes its agent along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from autoscaler.core.agent_messages import PORT
from autoscaler.orchestrators.engine import Engine
from tests.interop.engines import NestedEngine
from tests.real.agent import SECRET, AgentsAt
from tests.real.agent_stack import IMAGE
from tests.real.waiting import until

OTHER_SECRET = "another secret that is long enough too"
_NAME = "agent"


class NodeAgents:
    """An agent on every node."""

    def __init__(self, nodes: Mapping[str, NestedEngine]) -> None:
        """Run on these nodes, by their names. They have the image."""
        self._nodes = nodes
        self._other_secret: set[str] = set()

    def ready(self) -> None:
        """Let an agent with the daemon's secret run on every node."""
        for name, node in self._nodes.items():
            state = node.attempt("inspect", "--format={{.State.Running}}", _NAME)
            if state.stdout.strip() != "true" or name in self._other_secret:
                self.start(name)

    def start(self, name: str, secret: str = SECRET) -> None:
        """Let a new agent run on a node, with this secret."""
        node = self._nodes[name]
        node.attempt("rm", "--force", _NAME)
        node.docker(
            "run", "--detach", f"--name={_NAME}", "--network=host",
            "--volume=/var/run/docker.sock:/var/run/docker.sock",
            f"--env=AUTOSCALER_AGENT_SECRET={secret}",
            "--env=AUTOSCALER_PROJECTS=*",
            IMAGE, "agent",
        )  # fmt: skip
        self._other_secret -= {name}
        if secret != SECRET:
            self._other_secret |= {name}
        until(lambda: self._lines(name, "agent listening"), f"the agent on {name}")

    def kill(self, name: str) -> None:
        """Kill the agent on a node."""
        self._nodes[name].docker("kill", _NAME)

    def refusals(self, name: str) -> Sequence[str]:
        """Return why the agent on a node has refused requests, by its log."""
        return [str(line["because"]) for line in self._lines(name, "refused")]

    def asked_by(self, engine: Engine, ids: Mapping[str, str]) -> AgentsAt:
        """Return the daemon's side; `ids` has the name of each node by its NodeID."""
        hosts = {id_: self._nodes[name].address for id_, name in ids.items()}
        return AgentsAt(engine, SecretStr(SECRET), PORT, hosts)

    def _lines(self, name: str, event: str) -> list[dict[str, object]]:
        done = self._nodes[name].attempt("logs", _NAME)
        texts = (done.stdout + done.stderr).splitlines()
        lines = [json.loads(text) for text in texts if text.startswith("{")]
        return [line for line in lines if line["event"] == event]
