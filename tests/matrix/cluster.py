"""A Swarm of several nodes, and a stack on it."""

from __future__ import annotations

import functools
import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.interop.engines import NestedEngine, outer
from tests.interop.projects import BUSY
from tests.matrix.agents import NodeAgents
from tests.real.agent_stack import IMAGE
from tests.real.stages import TINY_IMAGE
from tests.real.waiting import until

QUEUE = "orders"
TARGET = 10
LABELS = {
    "temporal.queue": QUEUE,
    "temporal.queue-types": "workflow",
    "temporal.target": str(TARGET),
    "temporal.min": "1",
    "temporal.max": "20",
}


class Cluster:
    """A Swarm of one manager and its workers."""

    def __init__(
        self, network: str, manager: NestedEngine, *workers: NestedEngine, beat: str = "1s"
    ) -> None:
        """Make a Swarm of engines on one network of this machine's engine.

        A node counts as down after a few missed heartbeats, one each `beat`.
        """
        self.network = network
        self.manager = manager
        self.nodes = {node.name: node for node in (manager, *workers)}
        self._killed: set[str] = set()
        self._cut_off: set[str] = set()
        manager.docker(
            "swarm",
            "init",
            "--advertise-addr=eth0",
            f"--dispatcher-heartbeat={beat}",
            "--autolock=false",
        )
        token = manager.docker("swarm", "join-token", "--quiet", "worker").strip()
        for worker in workers:
            where = ("--advertise-addr=eth0", f"{manager.address}:2377")
            worker.docker("swarm", "join", f"--token={token}", *where)
        self.await_ready()

    def states(self) -> dict[str, str]:
        """Return each node's status and availability; empty where the Swarm has no leader."""
        form = "--format={{.Hostname}} {{.Status}} {{.Availability}}"
        lines = self.manager.attempt("node", "ls", form).stdout.splitlines()
        return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}

    def await_ready(self) -> None:
        """Wait until every node can run tasks."""
        wanted = dict.fromkeys(self.nodes, "Ready Active")
        until(lambda: self.states() == wanted, "three nodes that are ready")

    def ids(self) -> dict[str, str]:
        """Return the name of each node, by its NodeID."""
        lines = self.manager.docker("node", "ls", "--format={{.ID}} {{.Hostname}}").splitlines()
        return dict(line.split() for line in lines)

    @functools.cached_property
    def agents(self) -> NodeAgents:
        """The agents, which `ready` starts."""
        self.bring(IMAGE)
        return NodeAgents(self.nodes)

    def bring(self, image: str) -> None:
        """Copy an image of this machine's engine to every node, where it is not there yet."""
        for node in self.nodes.values():
            if not node.docker("image", "ls", "--quiet", image).strip():
                node.bring(image)

    def kill(self, node: str) -> None:
        """Kill a node, and wait until the Swarm has noticed."""
        self.lose(node)
        until(lambda: self.states().get(node, "").startswith("Down"), f"{node} to be down")

    def lose(self, node: str) -> None:
        """Kill a node."""
        self._killed.add(node)
        self.nodes[node].kill()

    def cut_off(self, node: str) -> None:
        """Block all traffic between a node and the others."""
        self._cut_off.add(node)
        for way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self.nodes[node].inside("iptables", "-I", *way, "eth0", "-j", "DROP")

    def drain(self, node: str) -> None:
        """Move the tasks of a node to other nodes."""
        self.make(node, "drain")

    def make(self, node: str, availability: str) -> None:
        """Change the availability of a node: `active`, `pause` or `drain`."""
        command = ("node", "update", f"--availability={availability}", node)
        # The manager refuses an update where the node has just reported: "out of sequence".
        until(
            lambda: self.manager.attempt(*command).returncode == 0, f"{node} to be {availability}"
        )

    def heal(self) -> None:
        """Bring back every node that was killed, cut off or drained."""
        while self._cut_off:
            node = self._cut_off.pop()
            for way in (("INPUT", "-i"), ("OUTPUT", "-o")):
                self.nodes[node].inside("iptables", "-D", *way, "eth0", "-j", "DROP")
        while self._killed:
            node = self._killed.pop()
            outer().docker("start", node)
            self.nodes[node].await_answer()
        for node, state in self.states().items():
            if not state.endswith("Active"):
                self.make(node, "active")


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a service."""

    id: str
    slot: str
    node: str
    desired: str
    state: str

    @property
    def running(self) -> bool:
        return self.desired == self.state == "Running"


class Stack:
    """One service on an overlay network, deployed with `docker stack deploy`."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.name = f"tda-{uuid.uuid4().hex[:8]}"
        self.service = f"{self.name}_worker"
        self._cluster = cluster
        self._file = folder / "stack.yaml"

    def deploy(
        self,
        replicas: int,
        *,
        version: str = "1",
        command: Sequence[str] = BUSY,
        wait: bool = True,
        **options: Any,
    ) -> None:
        """Deploy the stack with this number of replicas in its file.

        The options apply to the service, except for `top`: further top-level parts of the file.
        """
        top = options.pop("top", {})
        worker = {
            "image": TINY_IMAGE,
            "command": list(command),
            "environment": {"VERSION": version},
            "stop_grace_period": "5s",
            "networks": ["mesh"],
            "deploy": {
                "replicas": replicas,
                "labels": options.pop("labels_of_deploy", LABELS),
                "update_config": {
                    "parallelism": 1,
                    "monitor": "2s",
                    "failure_action": "rollback",
                },
                "restart_policy": {"delay": "1s"},
            },
            **options,
        }
        content = {
            "version": "3.8",
            "services": {"worker": worker},
            "networks": {"mesh": {"driver": "overlay"}},
            **top,
        }
        self._file.write_text(yaml.safe_dump(content))
        self._cluster.manager.docker(*self.command)
        if wait:
            self.await_running(replicas)

    @property
    def command(self) -> Sequence[str]:
        """The docker command that deploys the file as it is."""
        options = ("--resolve-image=never", f"--compose-file={self._file}")
        return ("stack", "deploy", *options, self.name)

    def tasks(self) -> list[Task]:
        """Return the tasks of the service, including those that have ended."""
        form = (
            '--format=["{{.ID}}","{{.Name}}","{{.Node}}","{{.DesiredState}}","{{.CurrentState}}"]'
        )
        lines = self._cluster.manager.docker(
            "service", "ps", "--no-trunc", form, self.service
        ).splitlines()
        rows = [json.loads(line) for line in lines]
        return [
            Task(id_, name.rpartition(".")[2], node, desired, state.split()[0])
            for id_, name, node, desired, state in rows
        ]

    def running(self) -> dict[str, str]:
        """Return the ids of the running tasks, each with its node."""
        return {task.id: task.node for task in self.tasks() if task.running}

    def await_running(self, replicas: int) -> None:
        """Wait until the service asks for this number of replicas and as many tasks run."""
        until(
            lambda: len(self.running()) == self.replicas() == replicas,
            f"{replicas} tasks of {self.service}",
        )

    def replicas(self) -> int:
        """Return the number of replicas in the specification of the service."""
        text = self._cluster.manager.docker("service", "inspect", self.service)
        return int(json.loads(text)[0]["Spec"]["Mode"]["Replicated"]["Replicas"])

    def scale(self, replicas: int) -> None:
        """Ask for this number of replicas by hand, and wait until they run."""
        self._cluster.manager.docker("service", "scale", "--detach", f"{self.service}={replicas}")
        self.await_running(replicas)

    def update_state(self) -> str:
        """Return the state of the last rollout, or an empty text where there was none."""
        text = self._cluster.manager.docker("service", "inspect", self.service)
        return str((json.loads(text)[0].get("UpdateStatus") or {}).get("State", ""))

    def starts(self) -> Counter[str]:
        """Return how many tasks each slot has had: more than one means that a task was replaced."""
        return Counter(task.slot for task in self.tasks() if task.desired != "Remove")

    def versions(self) -> list[str]:
        """Return the VERSION of every running task."""
        ids = list(self.running())
        form = "--format={{json .Spec.ContainerSpec.Env}}"
        lines = self._cluster.manager.docker("inspect", "--type=task", form, *ids).splitlines()
        return [entry.removeprefix("VERSION=") for line in lines for entry in json.loads(line)]

    def resolve(self, name: str, *, on: str) -> str:
        """Look a name up in the overlay network, from a container on this node.

        The nodes learn of new tasks with a delay, so a name may not be known yet.
        """
        node = self._cluster.nodes[on]
        filter_ = f"--filter=label=com.docker.swarm.service.name={self.service}"
        container = node.docker("ps", "--quiet", filter_).split()[0]
        return node.attempt("exec", container, "nslookup", name, "127.0.0.11").stdout

    def close(self) -> None:
        """Remove the stack from every node."""
        manager = self._cluster.manager
        # A network cannot be removed while a task that was just given up still uses it.
        until(lambda: not manager.attempt("stack", "rm", self.name).returncode, "no stack")
        filter_ = f"--filter=label=com.docker.stack.namespace={self.name}"
        until(lambda: not manager.docker("network", "ls", "--quiet", filter_), "no network")


@contextmanager
def three_nodes(version: str, *options: str, beat: str = "1s") -> Iterator[Cluster]:
    """Make a Swarm of three engines of this version, one of them the manager.

    Their containers get these `options` of `docker run`. A short `beat` lets tests wait less for a
    node that is lost; a long one survives a machine that stalls.
    """
    network = f"tda-nodes-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        outer().docker("network", "create", network)
        stack.callback(outer().docker, "network", "rm", network)
        nodes = []
        for _ in range(3):
            nodes.append(NestedEngine(version, f"--network={network}", *options))
            stack.callback(nodes[-1].close)
        yield Cluster(network, *nodes, beat=beat)


@contextmanager
def closed(cluster: Cluster, nodes: Collection[str]) -> Iterator[None]:
    """Let these nodes take no new tasks. Those that they have stay."""
    for node in nodes:
        cluster.make(node, "pause")
    try:
        yield
    finally:
        for node in nodes:
            cluster.make(node, "active")
