"""The daemon's side: where agents are, and what is said of those that are not there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from autoscaler.core.agent_messages import Header, Signer
from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.swarm import agents as room
from autoscaler.orchestrators.swarm.agents import AgentUnavailable, SwarmAgents
from autoscaler.orchestrators.swarm.posting import Answer, NoAnswer

T = TypeVar("T")
SECRET = SecretStr("0123456789abcdef" * 2)
NOW = datetime(2026, 11, 29, tzinfo=UTC)
CONTAINER = "c" * 64
OWN = "d" * 64


def node(id_: str, state: str = "ready", availability: str = "active") -> dict[str, Any]:
    return {
        "ID": id_,
        "Description": {"Hostname": f"{id_}.example"},
        "Status": {"State": state},
        "Spec": {"Availability": availability},
    }


def task(node_id: str, *addresses: str, network: str = "n1", **changes: Any) -> dict[str, Any]:
    ingress = {"Network": {"ID": "n0", "Spec": {"Ingress": True}}, "Addresses": ["10.0.0.9/24"]}
    ours = {"Network": {"ID": network, "Spec": {"Name": "agents"}}, "Addresses": list(addresses)}
    return {
        "NodeID": node_id,
        "Status": {"State": "running"},
        "NetworksAttachments": [ingress, ours],
    } | changes


class Manager:
    """A Swarm manager with nodes, and with agents on them."""

    def __init__(self) -> None:
        self.all_nodes = [node("n1"), node("n2")]
        self.all_services: list[dict[str, Any]] = [{"ID": "s1", "Spec": {"Name": "shop_agent"}}]
        self.all_tasks = [task("n1", "10.0.1.2/24"), task("n2", "10.0.1.3/24")]
        self.joined = ["n1"]
        self.unavailable: EngineError | None = None

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        if self.unavailable is not None:
            raise self.unavailable
        return work(self)

    def nodes(self, *, filters: dict[str, str] | None = None) -> list[dict[str, Any]]:
        wanted = None if filters is None else filters["id"]
        return [each for each in self.all_nodes if wanted in (None, each["ID"])]

    def services(self, *, filters: dict[str, str]) -> list[dict[str, Any]]:
        assert filters == {"label": "autoscaler.agent"}
        return self.all_services

    def tasks(self, *, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert filters == {"service": ["s1"], "desired-state": "running"}
        return self.all_tasks

    def containers(self, *, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        assert filters == {"id": [OWN]}
        networks = {each: {"NetworkID": each} for each in self.joined}
        return [{"NetworkSettings": {"Networks": networks}}]


class Post:
    """Stands for the network: keeps what is sent, and answers as a good agent until told else."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.status = 200
        self.body = b'{"running":{}}'
        self.secret = SECRET
        self.silent: set[str] = set()

    async def __call__(
        self, host: str, _port: int, path: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        self.sent.append((host, path, body))
        if host in self.silent:
            raise NoAnswer("no answer within 10 s")
        signature = Signer(self.secret).of_answer(headers[Header.NONCE], self.status, self.body)
        return Answer(self.status, {Header.SIGNATURE: signature}, self.body)


@pytest.fixture
def post(monkeypatch: pytest.MonkeyPatch) -> Post:
    made = Post()
    monkeypatch.setattr(room, "post", made)
    return made


@pytest.fixture
def manager() -> Manager:
    return Manager()


def agents(manager: Manager, place: Place | None = None) -> SwarmAgents:
    return SwarmAgents(manager, SECRET, lambda: NOW, place)  # type: ignore[arg-type]


async def test_each_node_is_asked_at_the_address_of_its_own_agent(
    manager: Manager, post: Post
) -> None:
    post.body = f'{{"running":{{"{CONTAINER}":true}}}}'.encode()

    assert await agents(manager).state("n2", "service1", [CONTAINER]) == {CONTAINER: True}

    ((host, path, _),) = post.sent
    assert (host, path) == ("10.0.1.3", "/state")


async def test_an_answer_that_leaves_a_container_out_says_nothing(
    manager: Manager, post: Post
) -> None:
    post.body = b'{"running":{}}'

    with pytest.raises(AgentUnavailable, match=r"node n1\.example leaves out"):
        await agents(manager).state("n1", "service1", [CONTAINER])


async def test_the_grace_is_sent_in_seconds(manager: Manager, post: Post) -> None:
    await agents(manager).drain("n1", "service1", CONTAINER, timedelta(minutes=2))

    ((_, path, body),) = post.sent
    assert path == "/drain"
    assert b'"grace":120.0' in body


async def test_agents_on_networks_of_others_are_those_of_other_daemons(
    manager: Manager, post: Post
) -> None:
    manager.all_tasks.append(task("n1", "10.0.7.2/24", network="n7"))

    await agents(manager, Place((OWN,))).drain("n1", "service1", CONTAINER, timedelta())

    assert [host for host, *_ in post.sent] == ["10.0.1.2"]


async def test_without_a_network_in_common_nobody_is_asked(manager: Manager, post: Post) -> None:
    manager.joined = ["n5"]

    with pytest.raises(AgentUnavailable, match="attach the daemon to its network"):
        await agents(manager, Place((OWN,))).drain("n1", "service1", CONTAINER, timedelta())

    assert post.sent == []


async def test_a_daemon_that_is_attached_to_the_network_later_finds_the_agents(
    manager: Manager, post: Post
) -> None:
    manager.joined = ["n5"]
    asked = agents(manager, Place((OWN,)))
    with pytest.raises(AgentUnavailable):
        await asked.drain("n1", "service1", CONTAINER, timedelta())

    manager.joined = ["n5", "n1"]
    await asked.drain("n1", "service1", CONTAINER, timedelta())

    assert [host for host, *_ in post.sent] == ["10.0.1.2"]


@pytest.mark.parametrize("changes", [{"NodeID": ""}, {"Status": {"State": "starting"}}])
async def test_an_agent_that_does_not_run_yet_is_missing(
    manager: Manager, post: Post, changes: dict[str, Any]
) -> None:
    manager.all_tasks = [task("n1", "10.0.1.2/24", **changes)]

    with pytest.raises(AgentUnavailable, match=r"runs on node n1\.example: .*shop_agent"):
        await agents(manager).drain("n1", "service1", CONTAINER, timedelta())

    assert post.sent == []


async def test_without_a_service_of_agents_the_remedy_is_to_deploy_it(
    manager: Manager,
    post: Post,  # noqa: ARG001
) -> None:
    manager.all_services = []

    with pytest.raises(AgentUnavailable, match=r"node n1\.example: .*deploy compose/swarm/agents"):
        await agents(manager).drain("n1", "service1", CONTAINER, timedelta())


async def test_an_answer_with_another_secret_is_no_answer(manager: Manager, post: Post) -> None:
    post.secret = SecretStr("f" * 32)

    with pytest.raises(AgentUnavailable, match="does not know the secret"):
        await agents(manager).drain("n1", "service1", CONTAINER, timedelta())


async def test_a_refusal_is_shown_in_the_agents_words(manager: Manager, post: Post) -> None:
    post.status, post.body = 403, b'{"error":"it is no task\\nof the service"}'

    with pytest.raises(AgentUnavailable, match=r"403\): it is no task\\nof the service"):
        await agents(manager).drain("n1", "service1", CONTAINER, timedelta())


async def test_a_manager_that_does_not_answer_leaves_the_agents_unavailable(
    manager: Manager, post: Post
) -> None:
    manager.unavailable = EngineError("no Docker Engine answers")

    with pytest.raises(AgentUnavailable, match="no Docker Engine answers"):
        await agents(manager).drain("n1", "service1", CONTAINER, timedelta())

    assert post.sent == []


async def test_each_silent_node_is_named_with_its_reason(manager: Manager, post: Post) -> None:
    manager.all_nodes += [node("n3"), node("n4", state="down"), node("n5", availability="drain")]
    post.silent = {"10.0.1.3"}

    silent = await agents(manager).silent()

    assert len(silent) == 2
    assert "no answer within 10 s" in next(each for each in silent if "n2.example" in each)
    assert "runs on node n3.example" in next(each for each in silent if "n3.example" in each)
