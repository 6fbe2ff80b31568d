"""A Swarm of three managers loses its leader, a node, and its network."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import labels
from tests.faults.conftest import ENGINE, Run, Watch
from tests.interop.engines import NestedEngine, outer
from tests.matrix.cluster import Cluster, Stack
from tests.real.daemon import DaemonProcess
from tests.real.temporal import TemporalServer
from tests.real.waiting import until, until_async


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes, all managers, so that one may be lost."""
    network = f"tda-nodes-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        outer().docker("network", "create", network)
        stack.callback(outer().docker, "network", "rm", network)
        nodes = []
        for _ in range(3):
            nodes.append(NestedEngine(ENGINE, f"--network={network}"))
            stack.callback(nodes[-1].close)
        cluster = Cluster(network, *nodes)
        cluster.manager.docker("node", "promote", *(node.name for node in nodes[1:]))
        # Tests and daemon use a manager that is not the leader.
        cluster.manager = nodes[1]
        until(lambda: leader(cluster) == nodes[0].name, "three managers")
        yield cluster


def leader(cluster: Cluster) -> str | None:
    """Return the leader, or None while there is none."""
    form = "--format={{.Hostname}} {{.ManagerStatus}}"
    rows = cluster.manager.attempt("node", "ls", form).stdout.splitlines()
    return next((row.split()[0] for row in rows if row.endswith(" Leader")), None)


@pytest.fixture
def stack(cluster: Cluster, tmp_path: Path, queue: str) -> Iterator[Stack]:
    """A stack of one service with one replica, which is no worker."""
    stack = Stack(cluster, tmp_path)
    stack.deploy(1, labels_of_deploy=labels(queue))
    yield stack
    cluster.heal()
    cluster.await_ready()
    stack.close()


@pytest.fixture
def daemon(cluster: Cluster, stack: Stack, run: Run) -> DaemonProcess:
    """A daemon that uses a manager which is not the leader at first."""
    started = run(stack.name, DOCKER_HOST=cluster.manager.environment["DOCKER_HOST"])
    started.wait_for("tick", failed=False)
    return started


async def replicas(stack: Stack, number: int) -> None:
    """Wait until the service asks for this number of tasks and all of them run."""
    await until_async(lambda: stack.replicas() == len(stack.running()) == number, f"{number} tasks")


async def test_leader_lost(
    cluster: Cluster, stack: Stack, daemon: DaemonProcess, temporal: TemporalServer, queue: str
) -> None:
    watch = Watch(daemon)
    before = leader(cluster)
    assert before is not None
    cluster.lose(before)

    tasks = await temporal.enqueue(queue, 30)
    await until_async(lambda: leader(cluster) not in {None, before}, "another leader")
    await replicas(stack, 3)
    await temporal.drain(queue, tasks)
    await replicas(stack, 1)
    await watch.recovered()


async def test_node_lost(
    cluster: Cluster, stack: Stack, daemon: DaemonProcess, temporal: TemporalServer, queue: str
) -> None:
    tasks = await temporal.enqueue(queue, 40)
    await replicas(stack, 4)
    watch = Watch(daemon)
    other = next(node for node in cluster.nodes if node not in {leader(cluster), manager(cluster)})

    cluster.lose(other)
    await until_async(lambda: cluster.states().get(other, "").startswith("Down"), "the loss")
    await until_async(
        lambda: len(set(stack.running()) - on(stack, other)) == 4, "4 tasks elsewhere"
    )
    assert stack.replicas() == 4

    cluster.heal()
    await replicas(stack, 4)
    await temporal.drain(queue, tasks)
    await replicas(stack, 1)
    await watch.recovered()


async def test_network_cut_between_the_nodes(
    cluster: Cluster, stack: Stack, daemon: DaemonProcess, temporal: TemporalServer, queue: str
) -> None:
    """The daemon's manager has no majority, so the Swarm can be neither read nor changed there."""
    first = await temporal.enqueue(queue, 20)
    await replicas(stack, 2)
    watch = Watch(daemon)

    cluster.cut_off(manager(cluster))
    daemon.wait_for("cannot scale")
    second = await temporal.enqueue(queue, 20)
    assert daemon.alive()

    cluster.heal()
    daemon.wait_for("recovered")
    await replicas(stack, 4)
    await temporal.drain(queue, [*first, *second])
    await replicas(stack, 1)
    await watch.recovered()


def manager(cluster: Cluster) -> str:
    """Return the manager that the daemon uses."""
    return cluster.manager.name


def on(stack: Stack, node: str) -> set[str]:
    """Return the tasks that run on a node, or ran there when the Swarm last heard of it."""
    return {task for task, where in stack.running().items() if where == node}
