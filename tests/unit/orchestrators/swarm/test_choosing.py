"""Chosen tasks stop on whichever node, while their service is frozen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import requests

from autoscaler.change import Changes, Order
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.spec import ScalingSpec
from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.swarm.agents import AgentUnavailable
from autoscaler.orchestrators.swarm.frost import NOWHERE, freeze, is_frozen
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import START, Clock, run_in_virtual_time

T = TypeVar("T")
WORKER = ServiceId("swarm", "shop_worker")
NODES = ("n1", "n2", "n3")


class Killed(BaseException):
    """What a daemon that is killed sees."""


class Swarm:
    """A manager with one service on three nodes, and the agents of these nodes.

    A task that ends is replaced: on the emptiest node, or nowhere while the service is frozen. Of
    fewer replicas, those without a node go first, and then the last of the fullest node.
    """

    base_url, api_version, timeout = "http+docker://localhost", "1.41", 60

    def __init__(self, *layout: int, **policy: Any) -> None:
        self.row: dict[str, Any] = {
            "ID": "id1",
            "Version": {"Index": 1},
            "Spec": {
                "Name": WORKER.name,
                "Labels": {"temporal.queue": "orders"},
                "Mode": {"Replicated": {"Replicas": sum(layout)}},
                "TaskTemplate": {
                    "ContainerSpec": {"StopGracePeriod": 30_000_000_000},
                    "Placement": {},
                    "RestartPolicy": {"Condition": "any"} | policy,
                },
            },
        }
        self.all_tasks: list[dict[str, Any]] = []
        for node, tasks in zip(NODES, layout, strict=True):
            for _ in range(tasks):
                self._start(len(self.all_tasks) + 1, node)
        self.mute: set[str] = set()
        """Nodes whose agent does not answer."""
        self.stubborn: set[str] = set()
        """Tasks that go on behind their grace."""
        self.told: list[tuple[str, timedelta]] = []
        """Every task that was told to stop, with its grace."""
        self.writes: list[dict[str, Any]] = []
        self.calls_left = 10**6
        """Calls to the engine until the daemon is killed."""
        self.meanwhile: Callable[[], None] = lambda: None
        """Is called when a task is told to stop."""
        self.before_write: Callable[[], None] = lambda: None
        self.managers = 1

    # ---------------------------------------------------------------- the engine

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Killed
        return work(self)

    def services(self, **_: Any) -> list[dict[str, Any]]:
        return [copy.deepcopy(self.row)]

    def inspect_service(self, _name: str) -> dict[str, Any]:
        return copy.deepcopy(self.row)

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "ID": id_,
                "Spec": {"Role": "manager" if number < self.managers else "worker"},
                "Description": {"Hostname": id_},
            }
            for number, id_ in enumerate(NODES)
        ]

    def info(self) -> dict[str, Any]:
        return {"Swarm": {"NodeID": "n1", "Nodes": 3}}

    def tasks(self, **_: Any) -> list[dict[str, Any]]:
        return copy.deepcopy(self.all_tasks)

    def post(
        self, _url: str, *, params: dict[str, int], json: dict[str, Any], timeout: int
    ) -> requests.Response:
        assert timeout == self.timeout
        self.before_write()
        if params["version"] != self.row["Version"]["Index"]:
            raise EngineError("rpc error: update out of sequence", 500)
        self.writes.append(json)
        self.write(json)
        answer = requests.Response()
        answer.status_code = 200
        return answer

    def write(self, spec: dict[str, Any]) -> None:
        """Take a spec in, as from anybody."""
        self.row["PreviousSpec"] = self.row["Spec"]
        self.row["Spec"] = copy.deepcopy(spec)
        self.row["Version"]["Index"] += 1
        surplus = len(self.wanted) - self.replicas
        for task in sorted(self.wanted, key=self._stays)[: max(0, surplus)]:
            task["DesiredState"] = "shutdown"
        if not is_frozen(spec):
            for task in self.wanted:
                task["NodeID"] = task["NodeID"] or self._emptiest()

    # ---------------------------------------------------------------- the agents

    async def silent(self) -> Sequence[str]:
        return [f"no agent answers on {node}" for node in sorted(self.mute)]

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        assert service == "id1"
        self._answers(node)
        return dict.fromkeys(containers, True)

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:
        assert service == "id1"
        self._answers(node)
        id_ = container.removeprefix("on-")
        self.told.append((id_, grace))
        if id_ not in self.stubborn:
            self.end(id_)
        self.meanwhile()

    def _answers(self, node: str) -> None:
        if node in self.mute:
            raise AgentUnavailable(f"no agent answers on {node}")

    # ---------------------------------------------------------------- its tasks

    @property
    def wanted(self) -> list[dict[str, Any]]:
        return [task for task in self.all_tasks if task["DesiredState"] != "shutdown"]

    @property
    def running(self) -> set[str]:
        return {task["ID"] for task in self.wanted if task["Status"]["State"] == "running"}

    @property
    def replicas(self) -> int:
        return int(self.row["Spec"]["Mode"]["Replicated"]["Replicas"])

    def end(self, id_: str) -> None:
        """Let a task end, and be replaced."""
        (task,) = [each for each in self.all_tasks if each["ID"] == id_]
        task["DesiredState"], task["Status"]["State"] = "shutdown", "complete"
        node = "" if is_frozen(self.row["Spec"]) else self._emptiest()
        self._start(task["Slot"], node, f"new{task['Slot']}", "ready")

    def _start(self, slot: int, node: str, id_: str = "", state: str = "running") -> None:
        id_ = id_ or f"t{slot}"
        self.all_tasks.append(
            {
                "ID": id_,
                "ServiceID": "id1",
                "Slot": slot,
                "NodeID": node,
                "DesiredState": state,
                "Status": {"State": state, "ContainerStatus": {"ContainerID": f"on-{id_}"}},
                "Spec": self.row["Spec"]["TaskTemplate"],
            }
        )

    def _emptiest(self) -> str:
        return min(NODES, key=lambda node: sum(task["NodeID"] == node for task in self.wanted))

    def _stays(self, task: dict[str, Any]) -> tuple[bool, int, int]:
        copies = sum(each["NodeID"] == task["NodeID"] for each in self.wanted)
        return bool(task["NodeID"]), -copies, -task["Slot"]


def orchestrator(swarm: Swarm) -> SwarmOrchestrator:
    return SwarmOrchestrator(swarm, clock=Clock(), agents=swarm)  # type: ignore[arg-type]


async def stop(swarm: Swarm, *chosen: str, on: SwarmOrchestrator | None = None) -> Stopped:
    """Stop tasks by name."""
    hands = on or orchestrator(swarm)
    found = await hands.replicas(WORKER, SwarmChoice.ANY)
    by_name = tuple(each for each in found if each.id in chosen and each.choosable)
    action = ScalingAction(WORKER, len(found), len(found) - len(chosen))
    return await hands.stop(action, Choice(tuple(found), by_name=by_name))


async def test_exactly_the_chosen_tasks_go_at_once_each_behind_its_grace() -> None:
    swarm = Swarm(3, 1, 1)
    before = copy.deepcopy(swarm.row["Spec"])
    stopped = await stop(swarm, "t1", "t4", "t5")
    assert set(stopped.replicas) == {"t1", "t4", "t5"}
    assert swarm.running == {"t2", "t3"}
    assert set(swarm.told) == {(each, timedelta(seconds=30)) for each in ("t1", "t4", "t5")}
    before["Mode"]["Replicated"]["Replicas"] = 2
    assert swarm.row["Spec"] == before


async def test_a_rollback_then_returns_to_a_spec_that_is_not_frozen() -> None:
    swarm = Swarm(2, 2, 2)
    await stop(swarm, "t1")
    assert swarm.row["PreviousSpec"] == swarm.row["Spec"]


def test_idle_tasks_go_wherever_they_are_and_busy_ones_stay() -> None:
    swarm, workers = Swarm(4, 4, 2), FakeBacklogSource()
    busy = {"t4", "t8", "t10"}
    workers.running = {f"on-{id_}": 1 for id_ in busy}
    hands = orchestrator(swarm)

    async def shrink() -> None:
        changes = Changes({"swarm": hands}, workers, Clock())
        spec = ScalingSpec(queues=("orders",), swarm_choice=SwarmChoice.ANY)
        while swarm.replicas > 3:
            action = ScalingAction(WORKER, swarm.replicas, 0)
            await changes.make(Order(action, spec, reported=True, unstarted=False))

    run_in_virtual_time(shrink())
    assert swarm.running == busy


class TestWithinReach:
    """Only where its end is certain to be given up is a task chosen."""

    async def test_by_default_no_task_is_chosen_on_several_nodes(self) -> None:
        found = await orchestrator(Swarm(2, 2, 2)).replicas(WORKER)
        assert not any(each.choosable for each in found)

    async def test_with_any_all_are_and_at_once(self) -> None:
        found = await orchestrator(Swarm(2, 2, 2)).replicas(WORKER, SwarmChoice.ANY)
        assert all(each.choosable and not each.vacates for each in found)

    @pytest.mark.parametrize(
        "policy", [{"Condition": "none"}, {"Condition": "on-failure"}, {"MaxAttempts": 3}]
    )
    async def test_none_is_that_might_not_be_replaced(self, policy: dict[str, Any]) -> None:
        """A slot without a replacement is the last to go on its node."""
        found = await orchestrator(Swarm(2, 2, 2, **policy)).replicas(WORKER, SwarmChoice.ANY)
        assert not any(each.choosable for each in found)

    async def test_none_is_while_a_task_has_no_node(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.all_tasks[0] |= {"NodeID": "", "Status": {"State": "pending", "Err": "no node"}}
        found = await orchestrator(swarm).replicas(WORKER, SwarmChoice.ANY)
        assert not any(each.choosable for each in found)

    async def test_none_is_without_a_placement(self) -> None:
        swarm = Swarm(2, 2, 2)
        del swarm.row["Spec"]["TaskTemplate"]["Placement"]
        found = await orchestrator(swarm).replicas(WORKER, SwarmChoice.ANY)
        assert not any(each.choosable for each in found)

    async def test_none_is_where_several_managers_could_change_the_lead(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.managers = 2
        found = await orchestrator(swarm).replicas(WORKER, SwarmChoice.ANY)
        assert not any(each.choosable for each in found)

    async def test_those_on_a_node_without_an_agent_are_not(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.mute = {"n2"}
        hands = orchestrator(swarm)
        found = await hands.replicas(WORKER, SwarmChoice.ANY)
        assert {each.id for each in found if each.choosable} == {"t1", "t2", "t5", "t6"}
        (service,) = await hands.discover()
        assert service.order_only == "no agent answers on n2"


class TestNotFrozen:
    """Where the service may not be frozen, nothing is stopped."""

    @pytest.mark.parametrize("state", ["updating", "paused", "rollback_started"])
    async def test_a_rollout_comes_first(self, state: str) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.row["UpdateStatus"] = {"State": state}
        assert await stop(swarm, "t1") == Stopped()
        assert (swarm.told, swarm.writes) == ([], [])

    async def test_what_another_daemon_has_frozen_is_left(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.row["Spec"] = freeze(swarm.row["Spec"], START)
        assert await stop(swarm, "t1") == Stopped()
        assert (swarm.told, swarm.writes) == ([], [])

    async def test_a_number_that_was_changed_since_the_decision_comes_first(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.row["Spec"]["Mode"]["Replicated"]["Replicas"] = 7
        assert await stop(swarm, "t1") == Stopped()
        assert (swarm.told, swarm.writes) == ([], [])

    async def test_a_placement_that_was_taken_away_since_is_never_frozen(self) -> None:
        swarm = Swarm(2, 2, 2)
        del swarm.row["Spec"]["TaskTemplate"]["Placement"]
        swarm.all_tasks = [{**task, "Spec": {"Placement": {}}} for task in swarm.all_tasks]
        assert await stop(swarm, "t1") == Stopped()
        assert (swarm.told, swarm.writes) == ([], [])

    async def test_where_somebody_else_writes_first_the_next_tick_looks_again(self) -> None:
        swarm = Swarm(2, 2, 2)

        def faster() -> None:
            swarm.row["Version"]["Index"] += 1

        swarm.before_write = faster
        with pytest.raises(OrchestratorError, match="out of sequence"):
            await stop(swarm, "t1")
        assert (swarm.told, is_frozen(swarm.row["Spec"])) == ([], False)

    async def test_a_container_that_its_node_knows_nothing_of_is_not_stopped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        swarm = Swarm(2, 2, 2)

        async def unknown(*_: Any) -> Mapping[str, bool]:
            return {}

        monkeypatch.setattr(swarm, "state", unknown)
        assert await stop(swarm, "t1") == Stopped()
        assert (swarm.told, swarm.writes) == ([], [])


class TestMeanwhile:
    """What happens between the freezing and the last write."""

    def test_a_task_that_goes_on_behind_its_grace_keeps_its_place(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.stubborn = {"t2"}
        stopped = run_in_virtual_time(stop(swarm, "t1", "t2"))
        assert stopped == Stopped(("t1",))
        assert (swarm.replicas, is_frozen(swarm.row["Spec"])) == (5, False)
        assert swarm.running == {"t2", "t3", "t4", "t5", "t6"}

    async def test_an_agent_that_falls_silent_costs_only_its_own_tasks(self) -> None:
        swarm = Swarm(2, 2, 2)

        def falls_silent() -> None:
            swarm.mute = {"n3"}

        swarm.meanwhile = falls_silent
        stopped = await stop(swarm, "t1", "t5")
        assert stopped == Stopped(("t1",))
        assert (swarm.replicas, is_frozen(swarm.row["Spec"])) == (5, False)

    async def test_a_task_that_crashes_meanwhile_is_made_up_for(self) -> None:
        swarm = Swarm(2, 2, 2)

        def crash() -> None:
            swarm.meanwhile = lambda: None
            swarm.end("t6")

        swarm.meanwhile = crash
        await stop(swarm, "t1")
        assert swarm.running == {"t2", "t3", "t4", "t5"}
        assert (len(swarm.wanted), swarm.replicas) == (5, 5)

    async def test_a_number_that_somebody_else_sets_meanwhile_stays(self) -> None:
        swarm = Swarm(2, 2, 2)

        def by_hand() -> None:
            spec = copy.deepcopy(swarm.row["Spec"])
            spec["Mode"]["Replicated"]["Replicas"] = 9
            swarm.write(spec)

        swarm.meanwhile = by_hand
        assert await stop(swarm, "t1") == Stopped()
        assert (swarm.replicas, is_frozen(swarm.row["Spec"])) == (9, False)

    async def test_a_placement_that_somebody_else_sets_meanwhile_stays(self) -> None:
        swarm = Swarm(2, 2, 2)
        theirs = {"Constraints": ["node.role==worker"]}

        def deploy() -> None:
            spec = copy.deepcopy(swarm.row["Spec"])
            spec["TaskTemplate"]["Placement"] = theirs
            spec["Labels"] = {"temporal.queue": "orders"}
            swarm.write(spec)

        swarm.meanwhile = deploy
        assert await stop(swarm, "t1") == Stopped()
        assert swarm.row["Spec"]["TaskTemplate"]["Placement"] == theirs
        assert swarm.replicas == 6

    async def test_a_version_that_the_manager_itself_has_raised_is_no_trouble(self) -> None:
        """It writes down how an update goes, and with that the version changes."""
        swarm = Swarm(2, 2, 2)
        raised: list[int] = []

        def once() -> None:
            if is_frozen(swarm.row["Spec"]) and not raised:
                raised.append(1)
                swarm.row["Version"]["Index"] += 1

        swarm.before_write = once
        assert await stop(swarm, "t1") == Stopped(("t1",))
        assert (swarm.replicas, is_frozen(swarm.row["Spec"])) == (5, False)


class TestKilled:
    """The daemon is killed at any call, and the next one goes on."""

    @pytest.mark.parametrize("calls", range(12))
    def test_the_next_one_restores_the_placement_and_no_other_task_goes(self, calls: int) -> None:
        swarm = Swarm(3, 2, 1)
        placement = copy.deepcopy(swarm.row["Spec"]["TaskTemplate"]["Placement"])

        async def dies() -> None:
            swarm.calls_left = calls
            with pytest.raises(Killed):
                await stop(swarm, "t1", "t4")

        async def lives() -> None:
            swarm.calls_left = 10**6
            following = orchestrator(swarm)
            (service,) = await following.discover()
            if service.frozen:
                await following.restore(WORKER)
            (service,) = await following.discover()
            assert (service.frozen, service.refusal) == (False, None)

        run_in_virtual_time(dies())
        run_in_virtual_time(lives())
        assert swarm.running >= {"t2", "t3", "t5", "t6"}
        assert swarm.row["Spec"]["TaskTemplate"]["Placement"] == placement
        assert not is_frozen(swarm.row.get("PreviousSpec") or swarm.row["Spec"])
        assert all(task["NodeID"] for task in swarm.wanted)
        assert len(swarm.wanted) == swarm.replicas

    async def test_a_frozen_service_is_not_scaled_until_it_is_restored(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.row["Spec"] = freeze(swarm.row["Spec"], START)
        with pytest.raises(OrchestratorError, match="frozen"):
            await orchestrator(swarm).grow(ScalingAction(WORKER, 6, 7))

    async def test_a_rollout_under_way_is_not_written_to_for_a_rollback_to_come(self) -> None:
        """Its own way back is the frozen spec: that is put right after it."""
        swarm = Swarm(2, 2, 2)
        swarm.row |= {
            "PreviousSpec": freeze(swarm.row["Spec"], START),
            "UpdateStatus": {"State": "updating"},
        }
        (service,) = await orchestrator(swarm).discover()
        await orchestrator(swarm).restore(WORKER)
        assert (service.frozen, swarm.writes) == (False, [])

    async def test_a_frozen_spec_is_restored_during_a_rollback_to_it(self) -> None:
        swarm = Swarm(2, 2, 2)
        swarm.row["Spec"] = freeze(swarm.row["Spec"], START)
        swarm.row["UpdateStatus"] = {"State": "rollback_started"}
        await orchestrator(swarm).restore(WORKER)
        assert swarm.row["Spec"]["TaskTemplate"]["Placement"].get("Platforms") != NOWHERE
