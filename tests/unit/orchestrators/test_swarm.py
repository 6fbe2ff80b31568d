"""Swarm services: what a row of the manager's list says, and how a count is written back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import requests

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import Ceiling, ScalingAction, ServiceId
from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.swarm import RECENT, SwarmOrchestrator, stuck
from tests.fakes.clock import START, Clock

T = TypeVar("T")
WORKER = ServiceId("swarm", "shop_worker")
LABELS = {"temporal.queue": "orders", "com.docker.stack.namespace": "shop"}


class Manager:
    """An engine that is a Swarm manager with one service, and that others write to as well."""

    base_url, api_version, timeout = "http+docker://localhost", "1.41", 60

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = rows
        self.written: list[tuple[int, dict[str, Any]]] = []
        """Version and spec of every write, also of those that were refused."""
        self.asked_for_tasks_of: list[list[str]] = []
        self.all_tasks: list[dict[str, Any]] = []
        self.unavailable: EngineError | None = None
        self.before_write: Callable[[], None] = lambda: None

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        if self.unavailable is not None:
            raise self.unavailable
        return work(self)

    def services(self, *, status: bool | None) -> list[dict[str, Any]]:
        assert status or self.api_version != "1.41"
        return list(self.rows)

    def tasks(self, *, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        self.asked_for_tasks_of.append(filters["service"])
        return self.all_tasks

    def info(self) -> dict[str, Any]:
        return {"Swarm": {"NodeID": "here"}}

    def inspect_service(self, name: str) -> dict[str, Any]:
        for found in self.rows:
            if found["Spec"]["Name"] == name:
                return copy.deepcopy(found)
        raise EngineError(f"service {name} not found", 404)

    def post(
        self, url: str, *, params: dict[str, int], json: dict[str, Any], timeout: int
    ) -> requests.Response:
        assert url == "http+docker://localhost/v1.41/services/id1/update"
        assert timeout == self.timeout
        self.before_write()
        self.written.append((params["version"], json))
        if params["version"] != self.rows[0]["Version"]["Index"]:
            raise EngineError("rpc error: update out of sequence", 500)
        answer = requests.Response()
        answer.status_code = 200
        return answer


def row(**changes: Any) -> dict[str, Any]:
    """Return a row of the manager's list of services."""
    return {
        "ID": "id1",
        "Version": {"Index": 41},
        "Spec": {
            "Name": WORKER.name,
            "Labels": LABELS,
            "Mode": {"Replicated": {"Replicas": 3}},
            "TaskTemplate": {"ContainerSpec": {"Image": "shop/worker"}},
        }
        | changes.pop("spec", {}),
    } | changes


def swarm(*rows: dict[str, Any], **options: Any) -> tuple[SwarmOrchestrator, Manager]:
    """Make an orchestrator of a Swarm with these services."""
    manager = Manager(*rows)
    return SwarmOrchestrator(manager, clock=Clock(), **options), manager  # type: ignore[arg-type]


class TestDiscover:
    async def test_a_labelled_service_is_found_as_it_stands(self) -> None:
        orchestrator, _ = swarm(row())
        (found,) = await orchestrator.discover()
        assert found.id == WORKER
        assert found.labels == LABELS
        assert (found.replicas, found.refusal, found.ceiling) == (3, None, None)

    @pytest.mark.parametrize(
        ("replicated", "replicas"),
        [
            pytest.param({"Replicas": 0}, 0, id="none"),
            pytest.param({}, 1, id="never-set-is-one"),
        ],
    )
    async def test_replicas_are_those_of_the_spec(
        self, replicated: dict[str, int], replicas: int
    ) -> None:
        orchestrator, _ = swarm(row(spec={"Mode": {"Replicated": replicated}}))
        assert (await orchestrator.discover())[0].replicas == replicas

    @pytest.mark.parametrize("labels", [None, {}, {"own": "label"}, {"temporal": "x"}])
    async def test_a_service_without_a_label_of_ours_is_not(
        self, labels: dict[str, str] | None
    ) -> None:
        orchestrator, _ = swarm(row(spec={"Labels": labels}))
        assert await orchestrator.discover() == []

    async def test_another_prefix_is_looked_for(self) -> None:
        orchestrator, _ = swarm(row(), row(spec={"Labels": {"acme.queue": "x"}}), prefix="acme")
        assert [found.labels for found in await orchestrator.discover()] == [{"acme.queue": "x"}]

    @pytest.mark.parametrize(
        ("projects", "found"), [([], 1), (["shop"], 1), (["mail", "shop"], 1), (["mail"], 0)]
    )
    async def test_only_stacks_that_are_asked_for_count(
        self, projects: list[str], found: int
    ) -> None:
        orchestrator, _ = swarm(row(), projects=projects)
        assert len(await orchestrator.discover()) == found

    @pytest.mark.parametrize(
        ("mode", "name"),
        [
            ("Global", "global"),
            ("ReplicatedJob", "replicated-job"),
            ("GlobalJob", "global-job"),
            ("Novel", "unknown"),
        ],
    )
    async def test_a_mode_without_a_number_of_replicas_is_refused(
        self, mode: str, name: str
    ) -> None:
        orchestrator, _ = swarm(row(spec={"Mode": {mode: {}}}))
        (found,) = await orchestrator.discover()
        assert found.replicas == 0
        assert found.refusal is not None
        assert found.refusal.startswith(f"its mode is {name}, ")

    @pytest.mark.parametrize(
        ("state", "refused"),
        [
            ("updating", True),
            ("paused", True),
            ("rollback_started", True),
            ("rollback_paused", True),
            ("completed", False),
            ("rollback_completed", False),
        ],
    )
    async def test_a_service_is_left_alone_while_it_is_rolled_out(
        self, state: str, *, refused: bool
    ) -> None:
        orchestrator, _ = swarm(row(UpdateStatus={"State": state}))
        (found,) = await orchestrator.discover()
        assert (found.refusal is not None) is refused
        assert not refused or f"({state})" in str(found.refusal)

    @pytest.mark.parametrize("status", [406, 503])
    async def test_an_engine_that_is_no_manager_has_no_services(self, status: int) -> None:
        orchestrator, manager = swarm()
        manager.unavailable = EngineError("This node is not a swarm manager", status)
        assert await orchestrator.discover() == []

    async def test_where_swarm_was_asked_for_it_is_an_error_that_says_what_to_do(self) -> None:
        orchestrator, manager = swarm(required=True)
        manager.unavailable = EngineError("This node is not a swarm manager", 503)
        with pytest.raises(OrchestratorError, match="docker swarm init"):
            await orchestrator.discover()

    async def test_any_other_error_is_not_taken_for_an_empty_swarm(self) -> None:
        orchestrator, manager = swarm()
        manager.unavailable = EngineError("no engine")
        with pytest.raises(OrchestratorError, match="no engine"):
            await orchestrator.discover()

    async def test_a_locked_swarm_is_not_taken_for_an_empty_one(self) -> None:
        orchestrator, manager = swarm()
        manager.unavailable = EngineError(
            "Swarm is encrypted and needs to be unlocked before it can be used", 503
        )
        with pytest.raises(OrchestratorError):
            await orchestrator.discover()

    async def test_labels_that_stand_on_the_containers_only_are_refused_with_what_to_do(
        self,
    ) -> None:
        template = {"ContainerSpec": {"Labels": {"temporal.queue": "orders"}}}
        orchestrator, _ = swarm(row(spec={"Labels": {}, "TaskTemplate": template}))
        (found,) = await orchestrator.discover()
        assert found.labels == {}
        assert "move them under deploy.labels" in str(found.refusal)

    async def test_tasks_are_listed_only_for_services_that_lag(self) -> None:
        complete = row(ID="id1", ServiceStatus={"RunningTasks": 3, "DesiredTasks": 3})
        lagging = row(ID="id2", ServiceStatus={"RunningTasks": 2, "DesiredTasks": 3})
        orchestrator, manager = swarm(complete, lagging)
        await orchestrator.discover()
        assert manager.asked_for_tasks_of == [["id2"]]

    async def test_a_service_whose_tasks_are_stuck_does_not_grow(self) -> None:
        lagging = row(ServiceStatus={"RunningTasks": 2, "DesiredTasks": 3})
        orchestrator, manager = swarm(lagging)
        manager.all_tasks = [task("pending", Err="no suitable node"), task("running")]
        (found,) = await orchestrator.discover()
        assert found.ceiling == Ceiling(3, "a task cannot be placed (no suitable node)")


def task(
    state: str, *, desired: str = "running", age: timedelta = timedelta(), **status: Any
) -> Any:
    """Return a task of the service as the manager lists it."""
    return {
        "ServiceID": "id1",
        "DesiredState": desired,
        "Status": {"State": state, "Timestamp": (START - age).isoformat(), **status},
    }


@pytest.mark.parametrize(
    ("tasks", "because"),
    [
        pytest.param([], None, id="no-tasks"),
        pytest.param([task("running"), task("starting")], None, id="coming-up"),
        pytest.param([task("pending")], None, id="waiting-for-the-scheduler"),
        pytest.param(
            [task("running"), task("pending", Err="no suitable node")],
            "a task cannot be placed (no suitable node)",
            id="no-place",
        ),
        pytest.param(
            [task("pending", desired="shutdown", Err="no suitable node")],
            None,
            id="not-wanted-any-more",
        ),
        pytest.param(
            [task("failed", desired="shutdown", age=timedelta(seconds=30), Err="exit code 1")],
            "a task failed 30s ago (exit code 1)",
            id="failed",
        ),
        pytest.param(
            [task("rejected", Message="no such image")],
            "a task failed 0s ago (no such image)",
            id="rejected",
        ),
        pytest.param([task("failed", age=RECENT)], None, id="failed-long-ago"),
        pytest.param([task("complete"), task("shutdown")], None, id="ended-as-asked"),
    ],
)
def test_tasks_that_failed_or_find_no_place_speak_against_more(
    tasks: list[Any], because: str | None
) -> None:
    assert stuck(tasks, START) == because


def test_a_task_that_failed_by_a_clock_ahead_of_ours_failed_just_now() -> None:
    ahead = task("failed", age=-timedelta(seconds=5), Err="exit code 1")
    assert stuck([ahead], START) == "a task failed 0s ago (exit code 1)"


class TestApply:
    async def test_nothing_but_the_number_is_written_back(self) -> None:
        orchestrator, manager = swarm(row())
        await orchestrator.apply(ScalingAction(WORKER, 3, 4))
        ((version, spec),) = manager.written
        assert version == 41
        expected = row()["Spec"]
        expected["Mode"]["Replicated"]["Replicas"] = 4
        assert spec == expected

    async def test_a_count_that_was_never_set_can_be_set(self) -> None:
        orchestrator, manager = swarm(row(spec={"Mode": {"Replicated": {}}}))
        await orchestrator.apply(ScalingAction(WORKER, 1, 4))
        assert manager.written[0][1]["Mode"] == {"Replicated": {"Replicas": 4}}

    async def test_a_count_that_somebody_else_changed_is_left(self) -> None:
        orchestrator, manager = swarm(row())
        await orchestrator.apply(ScalingAction(WORKER, 5, 4))
        assert manager.written == []

    async def test_a_writer_that_was_faster_is_no_trouble(self) -> None:
        orchestrator, manager = swarm(row())

        def once() -> None:
            manager.rows[0]["Version"]["Index"] = 42

        manager.before_write = once
        await orchestrator.apply(ScalingAction(WORKER, 3, 4))
        assert [version for version, _ in manager.written] == [41, 42]

    async def test_a_writer_that_is_always_faster_is_an_error(self) -> None:
        orchestrator, manager = swarm(row())

        def always() -> None:
            manager.rows[0]["Version"]["Index"] += 1

        manager.before_write = always
        with pytest.raises(OrchestratorError, match="out of sequence"):
            await orchestrator.apply(ScalingAction(WORKER, 3, 4))
        assert len(manager.written) == 2

    async def test_a_faster_writer_that_changed_the_count_has_the_last_word(self) -> None:
        orchestrator, manager = swarm(row())

        def once() -> None:
            manager.rows[0]["Version"]["Index"] = 42
            manager.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"] = 9

        manager.before_write = once
        await orchestrator.apply(ScalingAction(WORKER, 3, 4))
        assert len(manager.written) == 1

    async def test_a_service_that_is_not_there_is_an_error(self) -> None:
        orchestrator, _ = swarm(row())
        with pytest.raises(OrchestratorError, match="not found"):
            await orchestrator.apply(ScalingAction(ServiceId("swarm", "gone"), 1, 2))

    async def test_a_rollout_that_began_since_is_left_alone(self) -> None:
        orchestrator, manager = swarm(row(UpdateStatus={"State": "updating"}))
        with pytest.raises(OrchestratorError):
            await orchestrator.apply(ScalingAction(WORKER, 3, 4))
        assert manager.written == []
