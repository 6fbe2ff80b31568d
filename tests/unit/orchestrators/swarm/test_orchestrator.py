"""Swarm services: what a row of the manager's list says, and how a count is written back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import requests

from autoscaler.change import Changes, Order
from autoscaler.core.errors import InFlightUnavailable, OrchestratorError
from autoscaler.core.label_values import Busy
from autoscaler.core.model import Ceiling, EndedBy, Ending, Replica, ScalingAction, ServiceId
from autoscaler.core.protect import Choice, Stopped, choose_in_order
from autoscaler.core.spec import ScalingSpec
from autoscaler.orchestrators.engine import Engine, EngineError, Lane
from autoscaler.orchestrators.projects import OWN_SERVICE, SWARM_SERVICE, Projects
from autoscaler.orchestrators.swarm.frost import freeze, is_frozen
from autoscaler.orchestrators.swarm.orchestrator import (
    PICK_LOOKS,
    PICK_PAUSE,
    SwarmOrchestrator,
)
from autoscaler.orchestrators.swarm.rows import LEFT_FROZEN
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import START, Clock, run_in_virtual_time
from tests.unit.orchestrators.swarm.rows import task

T = TypeVar("T")
WORKER = ServiceId("swarm", "shop_worker")
LABELS = {"temporal.queue": "orders", "com.docker.stack.namespace": "shop"}


class Inside(Projects):
    """The projects of a daemon that is part of the service with the id `id1`."""

    async def own_labels(self) -> Mapping[str, str]:
        return {SWARM_SERVICE: "id1"}


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
        return {"Swarm": {"NodeID": "here", "Nodes": 1}}

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


def left_frozen(place: str, ago: timedelta) -> dict[str, Any]:
    """Return a service without labels of ours that was frozen so long ago.

    With `place` "PreviousSpec" it is frozen no more, and a rollback would freeze it again.
    """
    stack = {"com.docker.stack.namespace": "shop"}
    plain = row(spec={"Labels": stack, "TaskTemplate": {"Placement": {}}})
    return plain | {place: freeze(plain["Spec"], START - ago)}


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
        assert found.version == "shop/worker"

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

    async def test_whoever_makes_the_orchestrator_says_which_services_count(self) -> None:
        plain = row(spec={"Labels": {"com.docker.stack.namespace": "shop"}})
        adopted: set[ServiceId] = set()
        orchestrator, _ = swarm(plain, looks_after=lambda service, _: service in adopted)
        assert await orchestrator.discover() == []
        adopted.add(WORKER)
        (found,) = await orchestrator.discover()
        assert (found.id, found.refusal, found.warnings) == (WORKER, None, ())

    @pytest.mark.parametrize("place", ["Spec", "PreviousSpec"])
    async def test_one_that_was_left_frozen_is_put_right_whatever_its_labels(
        self, place: str
    ) -> None:
        orchestrator, manager = swarm(left_frozen(place, timedelta(minutes=2)))
        (found,) = await orchestrator.discover()
        assert (found.frozen, found.refusal) == (True, LEFT_FROZEN)

        await orchestrator.restore(WORKER)

        (_, written), *_ = manager.written
        assert not is_frozen(written)

    @pytest.mark.parametrize("place", ["Spec", "PreviousSpec"])
    async def test_one_that_another_daemon_may_be_at_work_on_is_left_to_it(
        self, place: str
    ) -> None:
        orchestrator, _ = swarm(left_frozen(place, timedelta(seconds=50)))
        assert await orchestrator.discover() == []

    async def test_one_that_was_left_frozen_in_another_stack_is_left_to_others(self) -> None:
        row_ = left_frozen("Spec", timedelta(minutes=2))
        orchestrator, _ = swarm(row_, projects=Projects(Engine(), ["mail"]))
        assert await orchestrator.discover() == []
        assert orchestrator.surroundings.left_alone == ()

    async def test_labels_in_the_wrong_place_do_not_refuse_one_that_counts_without_them(
        self,
    ) -> None:
        template = {"ContainerSpec": {"Labels": {"temporal.max": "3"}}}
        astray = row(spec={"Labels": None, "TaskTemplate": template})
        orchestrator, _ = swarm(astray, looks_after=lambda *_: True)
        (found,) = await orchestrator.discover()
        assert found.refusal is None
        assert "move them under deploy.labels" in found.warnings[0]

    async def test_one_that_counts_in_another_stack_is_left_alone(self) -> None:
        plain = row(spec={"Labels": {"com.docker.stack.namespace": "shop"}})
        orchestrator, _ = swarm(
            plain, looks_after=lambda *_: True, projects=Projects(Engine(), ["mail"])
        )
        assert await orchestrator.discover() == []
        assert orchestrator.surroundings.left_alone == (WORKER,)

    @pytest.mark.parametrize(
        ("projects", "found"), [(["*"], 1), (["shop"], 1), (["mail", "shop"], 1), (["mail"], 0)]
    )
    async def test_only_stacks_that_are_asked_for_count(
        self, projects: list[str], found: int
    ) -> None:
        orchestrator, _ = swarm(row(), projects=Projects(Engine(), projects))
        assert len(await orchestrator.discover()) == found
        beside = orchestrator.surroundings
        assert beside.left_alone == (() if found else (WORKER,))
        assert beside.projects == {"shop"}

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

    @pytest.mark.parametrize("words", ["Not Found", "page not found"])
    async def test_an_engine_without_swarm_has_no_services(self, words: str) -> None:
        orchestrator, manager = swarm()
        manager.unavailable = EngineError(f"Podman answered 404 ({words})", 404)
        assert await orchestrator.discover() == []

    async def test_where_there_can_be_no_swarm_the_remedy_is_another(self) -> None:
        orchestrator, manager = swarm(required=True)
        manager.unavailable = EngineError("Podman answered 404 (Not Found)", 404)
        with pytest.raises(OrchestratorError, match="does not have: set it to compose"):
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

    @pytest.mark.parametrize(
        ("status", "draining"),
        [
            pytest.param({"RunningTasks": 5, "DesiredTasks": 3}, 2, id="more-run-than-are-wanted"),
            pytest.param({"RunningTasks": 3, "DesiredTasks": 3}, 0, id="as-many"),
            pytest.param({"RunningTasks": 1, "DesiredTasks": 3}, 0, id="fewer"),
            pytest.param(None, 0, id="an-engine-that-does-not-say"),
        ],
    )
    async def test_what_runs_and_is_not_wanted_any_more_drains(
        self, status: dict[str, int] | None, draining: int
    ) -> None:
        orchestrator, _ = swarm(row(ServiceStatus=status))
        (found,) = await orchestrator.discover()
        assert (found.replicas, found.draining) == (3, draining)

    @pytest.mark.parametrize(
        ("written", "grace"),
        [
            pytest.param({}, None, id="left-to-docker"),
            pytest.param({"StopGracePeriod": 90_000_000_000}, timedelta(seconds=90), id="chosen"),
            pytest.param({"StopGracePeriod": 500_000_000}, timedelta(seconds=0.5), id="a-part"),
            pytest.param({"StopGracePeriod": 0}, timedelta(), id="none"),
        ],
    )
    async def test_the_grace_is_what_somebody_chose(
        self, written: dict[str, int], grace: timedelta | None
    ) -> None:
        orchestrator, _ = swarm(row(spec={"TaskTemplate": {"ContainerSpec": written}}))
        assert (await orchestrator.discover())[0].grace == grace

    @pytest.mark.parametrize("mode", ["Global", "ReplicatedJob", "GlobalJob"])
    async def test_the_tasks_of_other_modes_are_not_listed(self, mode: str) -> None:
        """Those of a job are meant to end: that is no crash."""
        lagging = {"RunningTasks": 0, "DesiredTasks": 1}
        orchestrator, manager = swarm(row(spec={"Mode": {mode: {}}}, ServiceStatus=lagging))
        (found,) = await orchestrator.discover()
        assert (manager.asked_for_tasks_of, found.ending) == ([], None)

    async def test_tasks_are_listed_only_where_some_are_missing_or_drain(self) -> None:
        complete = row(ID="id1", ServiceStatus={"RunningTasks": 3, "DesiredTasks": 3})
        lagging = row(ID="id2", ServiceStatus={"RunningTasks": 2, "DesiredTasks": 3})
        draining = row(ID="id3", ServiceStatus={"RunningTasks": 4, "DesiredTasks": 3})
        orchestrator, manager = swarm(complete, lagging, draining)
        await orchestrator.discover()
        assert manager.asked_for_tasks_of == [["id2", "id3"]]

    async def test_those_that_finish_their_work_are_counted(self) -> None:
        orchestrator, manager = swarm(row(ServiceStatus={"RunningTasks": 5, "DesiredTasks": 3}))
        finishing = [task("running", id=f"t{slot}", slot=slot, desired="remove") for slot in (2, 3)]
        manager.all_tasks = [task("running"), *finishing]
        (found,) = await orchestrator.discover()
        assert (found.draining, found.finishing, found.ending) == (2, 2, None)
        assert found.least_growth == 2

    async def test_a_service_whose_tasks_are_stuck_does_not_grow(self) -> None:
        lagging = row(ServiceStatus={"RunningTasks": 2, "DesiredTasks": 3})
        orchestrator, manager = swarm(lagging)
        manager.all_tasks = [task("pending", Err="no suitable node"), task("running")]
        (found,) = await orchestrator.discover()
        assert found.ceiling == Ceiling(3, "a task cannot be placed (no suitable node)")

    async def test_a_service_whose_task_has_failed_says_so_and_counts_it_once(self) -> None:
        lagging = row(ServiceStatus={"RunningTasks": 2, "DesiredTasks": 3})
        orchestrator, manager = swarm(lagging)
        manager.all_tasks = [task("failed", desired="shutdown", Err="task: non-zero exit (3)")]
        counts: list[int] = []
        for _ in range(2):
            (found,) = await orchestrator.discover()
            assert found.ending is not None
            assert "non-zero exit (3)" in found.ending.story
            counts.append(found.crashed)
        assert counts == [1, 0]

    async def test_what_the_daemon_brought_to_zero_is_not_stopped_by_hand(self) -> None:
        orchestrator, manager = swarm(row())
        await orchestrator.discover()
        all_three = tuple(Replica(f"t{number}", None) for number in range(3))
        await orchestrator.stop(ScalingAction(WORKER, 3, 0), Choice(all_three, all_three))
        manager.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"] = 0
        (found,) = await orchestrator.discover()
        assert (found.replicas, found.ending) == (0, None)

    async def test_what_somebody_else_brought_to_zero_is_stopped_by_hand(self) -> None:
        orchestrator, manager = swarm(row())
        await orchestrator.discover()
        manager.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"] = 0
        (found,) = await orchestrator.discover()
        assert found.ending == Ending(EndedBy.HAND, seen=True)


class TestSettingTheNumber:
    async def test_nothing_but_the_number_is_written_back(self) -> None:
        orchestrator, manager = swarm(row())
        await orchestrator.grow(ScalingAction(WORKER, 3, 4))
        ((version, spec),) = manager.written
        assert version == 41
        expected = row()["Spec"]
        expected["Mode"]["Replicated"]["Replicas"] = 4
        assert spec == expected

    async def test_growth_that_would_repeat_a_stop_signal_is_not_written(self) -> None:
        orchestrator, manager = swarm(row())
        manager.all_tasks = [task("running", id="t1", slot=1)] + [
            task("running", id=f"t{slot}", slot=slot, desired="remove") for slot in (2, 3)
        ]
        await orchestrator.grow(ScalingAction(WORKER, 3, 4))
        assert manager.written == []
        await orchestrator.grow(ScalingAction(WORKER, 3, 5))
        assert len(manager.written) == 1

    async def test_a_count_that_was_never_set_can_be_set(self) -> None:
        orchestrator, manager = swarm(row(spec={"Mode": {"Replicated": {}}}))
        await orchestrator.grow(ScalingAction(WORKER, 1, 4))
        assert manager.written[0][1]["Mode"] == {"Replicated": {"Replicas": 4}}

    async def test_a_count_that_somebody_else_changed_is_left(self) -> None:
        orchestrator, manager = swarm(row())
        await orchestrator.grow(ScalingAction(WORKER, 2, 4))
        assert manager.written == []

    async def test_a_writer_that_was_faster_is_no_trouble(self) -> None:
        orchestrator, manager = swarm(row())

        def once() -> None:
            manager.rows[0]["Version"]["Index"] = 42

        manager.before_write = once
        await orchestrator.grow(ScalingAction(WORKER, 3, 4))
        assert [version for version, _ in manager.written] == [41, 42]

    async def test_a_writer_that_is_always_faster_is_an_error(self) -> None:
        orchestrator, manager = swarm(row())

        def always() -> None:
            manager.rows[0]["Version"]["Index"] += 1

        manager.before_write = always
        with pytest.raises(OrchestratorError, match="out of sequence"):
            await orchestrator.grow(ScalingAction(WORKER, 3, 4))
        assert len(manager.written) == 2

    async def test_a_faster_writer_that_changed_the_count_has_the_last_word(self) -> None:
        orchestrator, manager = swarm(row())

        def once() -> None:
            manager.rows[0]["Version"]["Index"] = 42
            manager.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"] = 9

        manager.before_write = once
        await orchestrator.grow(ScalingAction(WORKER, 3, 4))
        assert len(manager.written) == 1

    async def test_a_service_that_is_not_there_is_an_error(self) -> None:
        orchestrator, _ = swarm(row())
        with pytest.raises(OrchestratorError, match="not found"):
            await orchestrator.grow(ScalingAction(ServiceId("swarm", "gone"), 1, 2))

    async def test_a_rollout_that_began_since_is_left_alone(self) -> None:
        orchestrator, manager = swarm(row(UpdateStatus={"State": "updating"}))
        with pytest.raises(OrchestratorError):
            await orchestrator.grow(ScalingAction(WORKER, 3, 4))
        assert manager.written == []


class Cluster(Manager):
    """A manager whose service has tasks, on this node unless a test says otherwise."""

    def __init__(self, tasks: int, *, restart: str = "any", **container: Any) -> None:
        super().__init__(row(spec={"Mode": {"Replicated": {"Replicas": tasks}}}))
        self._template = {
            "ContainerSpec": container,
            "RestartPolicy": {"Condition": restart},
        }
        self.all_tasks = [self._task(slot) for slot in range(1, tasks + 1)]
        self.stopped: list[tuple[str, int]] = []
        """Every container that was stopped, with its grace in seconds."""
        self.quick = False
        """Whether a task that has ended is replaced before anybody can look."""
        self.picks_after = 0
        """Looks at the tasks until the manager has picked those that go."""
        self._to_pick = 0
        self.hears_after = 0
        """Looks at the tasks until the manager has heard that a container has ended."""
        self._ended: list[str] = []
        self.nodes = 1
        self.replaced_on = "here"
        """Node of the task that replaces one that has ended; empty while it has none."""
        self.when_stopped: Callable[[], None] = lambda: None
        """Is called when a container is stopped."""

    def info(self) -> dict[str, Any]:
        return {"Swarm": {"NodeID": "here", "Nodes": self.nodes}}

    def _task(self, slot: int, id_: str | None = None) -> dict[str, Any]:
        return {
            "ID": id_ or f"t{slot}",
            "Slot": slot,
            "NodeID": "here",
            "DesiredState": "running",
            "UpdatedAt": START.isoformat(),
            "Status": {"State": "running", "ContainerStatus": {"ContainerID": f"on-{id_ or slot}"}},
            "Spec": self._template,
        }

    @property
    def asked_for(self) -> int:
        """The number of replicas that the service asks for now."""
        return int(self.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"])

    def tasks(self, *, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert filters == {"service": WORKER.name}
        if self._to_pick and not self.picks_after:
            # On one node: what does not run, then the highest slot.
            wanted = [each for each in self.all_tasks if each["DesiredState"] != "shutdown"]
            wanted.sort(key=lambda each: (each["Status"]["State"] == "running", -each["Slot"]))
            for each in wanted[: self._to_pick]:
                each["DesiredState"] = "shutdown"
            self._to_pick = 0
        self.picks_after = max(0, self.picks_after - 1)
        if self._ended and not self.hears_after:
            self._make_up_for(self._ended.pop())
        self.hears_after -= bool(self._ended)
        return copy.deepcopy(self.all_tasks)

    def inspect_task(self, id_: str) -> dict[str, Any]:
        return next(each for each in self.all_tasks if each["ID"] == id_)

    async def stop(self, container: str, grace: int) -> None:
        self.stopped.append((container, grace))
        self._ended.append(container)
        self.when_stopped()

    def _make_up_for(self, container: str) -> None:
        (ended,) = [
            each
            for each in self.all_tasks
            if each["Status"]["ContainerStatus"].get("ContainerID") == container
        ]
        ended["DesiredState"] = "shutdown"
        ended["Status"]["State"] = "complete"
        made = self._task(ended["Slot"], f"new{ended['Slot']}") | {"NodeID": self.replaced_on}
        if not self.quick:
            made |= {"DesiredState": "ready", "Status": {"State": "ready", "ContainerStatus": {}}}
        self.all_tasks.append(made)

    def post(
        self, url: str, *, params: dict[str, int], json: dict[str, Any], timeout: int
    ) -> requests.Response:
        answer = super().post(url, params=params, json=json, timeout=timeout)
        self._to_pick += self.asked_for - int(json["Mode"]["Replicated"]["Replicas"])
        self.rows[0]["Spec"] = copy.deepcopy(json)
        return answer


class Workers(FakeBacklogSource):
    """The workers in the tasks, by the ids of the tasks; those not named report that they idle."""

    def __init__(self, *, busy: Sequence[str] = (), silent: Sequence[str] = ()) -> None:
        super().__init__()
        self.running = {_host(task): 1 for task in busy}
        self.silent = set(map(_host, silent))


def _host(task: str) -> str:
    return f"on-{task.removeprefix('t')}"


async def shrink(cluster: Cluster, desired: int, workers: Workers, **options: Any) -> None:
    """Ask for fewer tasks, as the daemon does."""
    orchestrator = SwarmOrchestrator(cluster, clock=Clock())  # type: ignore[arg-type]
    changes = Changes({"swarm": orchestrator}, workers, Clock())
    action = ScalingAction(WORKER, options.pop("current", cluster.asked_for), desired)
    spec = ScalingSpec(queues=("orders",), **options)
    await changes.make(Order(action, spec, reported=not workers.mute, unstarted=False))


def left(cluster: Cluster) -> list[str]:
    """Return the tasks that are wanted, by their ids."""
    return [each["ID"] for each in cluster.all_tasks if each["DesiredState"] != "shutdown"]


class TestStopping:
    """The Swarm picks the tasks that go: the number is lowered only as far as it hits idle ones."""

    async def test_replicas_are_the_tasks_in_the_swarms_order(self) -> None:
        orchestrator = SwarmOrchestrator(Cluster(3), clock=Clock())  # type: ignore[arg-type]
        replicas = await orchestrator.replicas(WORKER)
        assert [replica.id for replica in replicas] == ["t3", "t2", "t1"]
        assert [replica.choosable for replica in replicas] == [True] * 3

    @pytest.mark.parametrize(
        ("busy", "desired", "stay"),
        [
            pytest.param([], 1, ["t1"], id="all-are-idle"),
            pytest.param(["t1"], 1, ["t1"], id="the-last-in-turn-is-busy"),
            pytest.param(["t3"], 1, ["t1", "t2", "t3"], id="only-up-to-the-busy-one"),
            pytest.param(["t3"], 4, ["t1", "t2", "t3", "t4"], id="no-further-than-desired"),
            pytest.param(
                ["t1", "t2", "t3", "t4", "t5"],
                0,
                ["t1", "t2", "t3", "t4", "t5"],
                id="all-are-busy",
            ),
        ],
    )
    async def test_the_number_is_lowered_as_far_as_only_idle_tasks_go(
        self, busy: list[str], desired: int, stay: list[str]
    ) -> None:
        cluster = Cluster(5)
        await shrink(cluster, desired, Workers(busy=busy))
        assert (left(cluster), cluster.asked_for) == (stay, len(stay))
        assert cluster.stopped == []

    async def test_a_task_that_does_not_report_stays(self) -> None:
        cluster = Cluster(5)
        await shrink(cluster, 1, Workers(silent=["t4"]))
        assert cluster.asked_for == 4

    async def test_where_busy_tasks_are_ignored_the_swarm_has_its_way(self) -> None:
        cluster = Cluster(5)
        await shrink(cluster, 2, Workers(busy=["t5"]), busy=Busy.IGNORE)
        assert left(cluster) == ["t1", "t2"]

    async def test_where_no_worker_reports_the_swarm_has_its_way(self) -> None:
        cluster, workers = Cluster(5), Workers()
        workers.mute = True
        await shrink(cluster, 2, workers)
        assert left(cluster) == ["t1", "t2"]

    async def test_which_tasks_went_comes_back(self) -> None:
        cluster = Cluster(4)
        orchestrator = SwarmOrchestrator(cluster, clock=Clock())  # type: ignore[arg-type]
        choice = choose_in_order(await orchestrator.replicas(WORKER), 2)
        stopped = await orchestrator.stop(ScalingAction(WORKER, 4, 2), choice)
        assert stopped == Stopped(("t4", "t3"))

    async def test_while_tasks_of_an_earlier_scale_in_run_none_is_stopped(self) -> None:
        """The Swarm would send those their stop signal once more."""
        cluster = Cluster(5)
        await shrink(cluster, 4, Workers())
        await shrink(cluster, 1, Workers())
        assert left(cluster) == ["t1", "t2", "t3", "t4"]

        cluster.all_tasks[4]["Status"]["State"] = "shutdown"
        await shrink(cluster, 1, Workers())
        assert left(cluster) == ["t1"]

    async def test_growth_asks_no_worker(self) -> None:
        cluster, workers = Cluster(2), Workers()
        await shrink(cluster, 4, workers)
        assert (cluster.asked_for, workers.asked) == (4, [])

    async def test_a_number_that_somebody_else_has_changed_is_left(self) -> None:
        cluster = Cluster(5)
        await shrink(cluster, 1, Workers(), current=6)
        assert cluster.asked_for == 5

    async def test_where_workers_cannot_be_asked_none_is_stopped(self) -> None:
        cluster, workers = Cluster(3), Workers()
        workers.heartbeats_fail = "no answer"
        with pytest.raises(InFlightUnavailable):
            await shrink(cluster, 1, workers)
        assert (cluster.asked_for, cluster.stopped) == (3, [])

    def test_it_waits_until_the_swarm_has_picked_the_tasks(self) -> None:
        cluster = Cluster(3)
        cluster.picks_after = 5
        run_in_virtual_time(shrink(cluster, 1, Workers()))
        assert left(cluster) == ["t1"]

    def test_it_does_not_wait_for_ever(self) -> None:
        cluster = Cluster(3)
        cluster.picks_after = 10 * PICK_LOOKS
        run_in_virtual_time(shrink(cluster, 1, Workers()))
        assert (cluster.asked_for, len(left(cluster))) == (1, 3)
        assert PICK_LOOKS * PICK_PAUSE < 5

    async def test_while_the_swarm_has_more_tasks_than_replicas_none_is_stopped(self) -> None:
        """The task that has not gone yet would be taken for the next, and a busy one would go."""
        cluster, workers = Cluster(3), Workers(busy=["t2"])
        cluster.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"] = 2
        await shrink(cluster, 1, workers)
        assert (cluster.asked_for, cluster.stopped) == (2, [])


class TestStoppingByName:
    """Where the first in turn is busy, an idle task within reach is stopped by its container."""

    async def test_an_idle_task_is_stopped_and_its_slot_given_up(self) -> None:
        cluster = Cluster(3)
        await shrink(cluster, 1, Workers(busy=["t3"]))
        assert cluster.stopped == [("on-2", 10)]
        assert (left(cluster), cluster.asked_for) == (["t1", "t3"], 2)

    async def test_one_task_goes_in_each_change(self) -> None:
        cluster = Cluster(5)
        await shrink(cluster, 1, Workers(busy=["t5"]))
        assert len(cluster.stopped) == 1
        assert cluster.asked_for == 4

    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            ({"StopGracePeriod": 90_000_000_000}, 90),
            ({"StopGracePeriod": 500_000_000}, 1),
            ({"StopGracePeriod": 0}, 0),
            ({}, 10),
        ],
    )
    async def test_a_task_gets_its_own_grace(self, written: dict[str, int], seconds: int) -> None:
        cluster = Cluster(2, **written)
        await shrink(cluster, 1, Workers(busy=["t2"]))
        assert cluster.stopped == [("on-1", seconds)]

    async def test_a_slot_that_has_been_filled_again_is_not_given_up(self) -> None:
        cluster = Cluster(3)
        cluster.quick = True
        await shrink(cluster, 1, Workers(busy=["t3"], silent=["new2"]))
        assert cluster.stopped == [("on-2", 10)]
        assert cluster.asked_for == 3

    def test_it_waits_until_the_manager_has_heard_of_the_end(self) -> None:
        cluster = Cluster(3)
        cluster.hears_after = 5
        run_in_virtual_time(shrink(cluster, 1, Workers(busy=["t3"])))
        assert (left(cluster), cluster.asked_for) == (["t1", "t3"], 2)

    def test_where_the_manager_does_not_hear_of_it_the_number_stays(self) -> None:
        cluster = Cluster(3)
        cluster.hears_after = 10 * PICK_LOOKS
        run_in_virtual_time(shrink(cluster, 1, Workers(busy=["t3"])))
        assert cluster.asked_for == 3

    def test_it_waits_until_the_slot_is_gone(self) -> None:
        cluster = Cluster(3)
        cluster.picks_after = 8
        run_in_virtual_time(shrink(cluster, 1, Workers(busy=["t3"])))
        assert left(cluster) == ["t1", "t3"]

    async def test_a_replacement_that_has_not_started_asks_no_worker(self) -> None:
        cluster, workers = Cluster(3), Workers(busy=["t3"])
        await shrink(cluster, 1, workers)
        assert [sorted(query.hosts) for query in workers.asked] == [["on-1", "on-2", "on-3"]]
        assert cluster.asked_for == 2

    def test_while_the_replacement_has_no_node_the_number_stays(self) -> None:
        """Balance between the nodes could make the Swarm stop a busy task instead."""
        cluster = Cluster(3)
        cluster.replaced_on = ""
        run_in_virtual_time(shrink(cluster, 1, Workers(busy=["t3"])))
        assert cluster.stopped == [("on-2", 10)]
        assert (left(cluster), cluster.asked_for) == (["t1", "t3", "new2"], 3)

    def test_a_replacement_that_another_task_precedes_is_not_given_up(self) -> None:
        cluster = Cluster(3)
        cluster.replaced_on = "there"
        run_in_virtual_time(shrink(cluster, 1, Workers(busy=["t3"])))
        assert (left(cluster), cluster.asked_for) == (["t1", "t3", "new2"], 3)

    async def test_a_number_that_was_changed_meanwhile_is_left(self) -> None:
        cluster = Cluster(3)

        def raised() -> None:
            cluster.rows[0]["Spec"]["Mode"]["Replicated"]["Replicas"] = 9

        cluster.when_stopped = raised
        await shrink(cluster, 1, Workers(busy=["t3"]))
        assert cluster.asked_for == 9
        assert cluster.written == []

    @pytest.mark.parametrize("restart", ["none", "on-failure"])
    async def test_a_task_that_the_swarm_would_not_replace_is_not_stopped(
        self, restart: str
    ) -> None:
        cluster = Cluster(3, restart=restart)
        await shrink(cluster, 1, Workers(busy=["t3"]))
        assert (cluster.stopped, cluster.asked_for) == ([], 3)

    async def test_where_the_swarm_has_several_nodes_none_is_stopped_by_name(self) -> None:
        cluster = Cluster(3)
        cluster.nodes = 3
        await shrink(cluster, 1, Workers(busy=["t3"]))
        assert (cluster.stopped, cluster.asked_for) == ([], 3)

    @pytest.mark.parametrize(
        "said",
        [
            pytest.param({"NodeID": "here"}, id="no-number-of-nodes"),
            pytest.param({"NodeID": "here", "Nodes": None}, id="an-empty-number"),
            pytest.param({}, id="nothing"),
            pytest.param(None, id="no-swarm"),
        ],
    )
    async def test_where_the_number_of_nodes_is_unknown_none_is_stopped_by_name(
        self, said: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cluster = Cluster(3)
        monkeypatch.setattr(cluster, "info", lambda: {} if said is None else {"Swarm": said})
        await shrink(cluster, 1, Workers(busy=["t3"]))
        assert (cluster.stopped, cluster.asked_for) == ([], 3)

    def test_a_node_that_joins_between_look_and_write_costs_no_busy_task(self) -> None:
        """The replacement may go to the new node: then the fullest node's task would be next."""
        cluster = Cluster(3)

        def joined() -> None:
            cluster.nodes, cluster.replaced_on = 2, "there"

        cluster.when_stopped = joined
        run_in_virtual_time(shrink(cluster, 1, Workers(busy=["t3"])))
        assert (left(cluster), cluster.asked_for) == (["t1", "t3", "new2"], 3)

    @pytest.mark.parametrize(
        ("placed_on", "lowered"),
        [
            pytest.param("", False, id="not-placed-yet"),
            pytest.param("there", False, id="placed-behind-a-busy-one"),
            pytest.param("here", True, id="placed-and-first"),
        ],
    )
    async def test_a_slot_that_others_vacated_goes_only_where_it_is_certainly_next(
        self, placed_on: str, *, lowered: bool
    ) -> None:
        """Somebody killed a container: its replacement has not started, so it runs nothing."""
        cluster = Cluster(3)
        cluster.nodes, cluster.replaced_on = 3, placed_on
        await cluster.stop("on-1", 0)
        cluster.stopped.clear()
        await shrink(cluster, 1, Workers(busy=["t2", "t3"]))
        assert (cluster.stopped, cluster.asked_for) == ([], 2 if lowered else 3)

    async def test_a_task_on_another_node_is_not_stopped(self) -> None:
        cluster = Cluster(3)
        for each in cluster.all_tasks:
            each["NodeID"] = "there"
        await shrink(cluster, 1, Workers(busy=["t3"]))
        assert (cluster.stopped, cluster.asked_for) == ([], 3)


async def test_the_service_that_the_daemon_is_part_of_is_left_alone() -> None:
    manager = Manager(row(), row(ID="id2"))
    swarm = SwarmOrchestrator(manager, clock=Clock(), projects=Inside(manager))  # type: ignore[arg-type]
    assert [each.refusal for each in await swarm.discover()] == [OWN_SERVICE, None]
