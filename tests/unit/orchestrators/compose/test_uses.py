"""Which containers use a replica's network, processes, memory or volumes."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.compose.uses import (
    DEPENDS_ON,
    OtherContainer,
    uses_of,
    uses_something_of,
)

WORKER = ServiceId("compose", "shop/worker")
ID = "0123456789ab" + "c" * 52


def other(mode: str = "bridge", state: str = "running", **labels: str) -> OtherContainer:
    """Read a row of the engine's list."""
    row = {"Id": "other", "Names": ["/proxy"], "State": state, "Labels": labels}
    return OtherContainer.from_row({**row, "HostConfig": {"NetworkMode": mode}})


def worker() -> Container:
    labels = {
        recipe.PROJECT: "shop",
        recipe.SERVICE: "worker",
        recipe.NUMBER: "1",
        recipe.CONFIG_HASH: "hash",
    }
    row = {
        "Id": ID,
        "Names": ["/shop-worker-1"],
        "State": "running",
        "Created": 1,
        "Labels": labels,
    }
    read = Container.from_row(row)
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("host", "used"),
    [
        pytest.param({"NetworkMode": "container:a"}, {"a"}, id="network"),
        pytest.param({"PidMode": "container:/a"}, {"a"}, id="processes"),
        pytest.param({"IpcMode": "container:a"}, {"a"}, id="memory"),
        pytest.param({"VolumesFrom": ["a:ro", "b"]}, {"a", "b"}, id="volumes"),
        pytest.param({"NetworkMode": "host", "PidMode": "", "VolumesFrom": None}, set(), id="none"),
    ],
)
def test_a_container_uses_what_its_host_config_names(host: dict[str, Any], used: set[str]) -> None:
    assert uses_something_of(host) == used


@pytest.mark.parametrize(
    ("reference", "found"),
    [(ID, True), (ID[:12], True), ("shop-worker-1", True), ("shop-worker-2", False)],
)
def test_a_replica_is_named_by_id_or_name(reference: str, *, found: bool) -> None:
    uses = uses_of([worker()], [(other(), {reference})])
    assert [(use.service, use.replica, use.words) for use in uses] == (
        [(WORKER, ID, "shop-worker-1 by proxy")] if found else []
    )


@pytest.mark.parametrize(("state", "running"), [("paused", True), ("exited", False)])
def test_it_is_known_whether_the_other_container_runs(state: str, *, running: bool) -> None:
    (use,) = uses_of([worker()], [(other(state=state), {ID})])
    assert use.running is running


class TestMayUse:
    @pytest.mark.parametrize(
        ("needed", "may"),
        [("worker:service_started:true,db:service_healthy:false", True), ("db:x:false", False)],
    )
    def test_a_container_of_compose_may_where_it_depends_on_the_service(
        self, needed: str, *, may: bool
    ) -> None:
        labels = {recipe.PROJECT: "shop", recipe.SERVICE: "proxy", DEPENDS_ON: needed}
        assert other(**labels).may_use({WORKER}) is may

    def test_one_that_was_made_by_hand_may(self) -> None:
        assert other().may_use({WORKER})

    def test_a_task_of_swarm_may_not(self) -> None:
        assert not other(**{"com.docker.swarm.task.id": "task"}).may_use({WORKER})
