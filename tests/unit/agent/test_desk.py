"""What an agent answers. Signatures and times are those of the messages' own tests."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from structlog import get_logger
from structlog.testing import capture_logs

from autoscaler.agent.desk import Desk
from autoscaler.agent.door import Call, Reply
from autoscaler.agent.refusals import Refusals
from autoscaler.core.agent_messages import Header, NotServed, Request, Signer, Verb, same
from autoscaler.core.errors import OrchestratorError

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SIGNER = Signer(SecretStr("0123456789abcdef" * 2))
NONCE = "a" * 32
CONTAINER = "c" * 64
STATE = json.dumps({"service": "s1", "containers": [CONTAINER]}).encode()
DRAIN = json.dumps({"service": "s1", "container": CONTAINER, "grace": 90.5}).encode()


class FakeNode:
    """A node whose engine does what it is asked."""

    def __init__(self) -> None:
        self.drained: list[tuple[str, str, timedelta]] = []
        self.error: OrchestratorError | None = None

    async def id(self) -> str:
        return "node1"

    async def state(self, service: str, containers: Collection[str]) -> Mapping[str, bool]:
        assert service == "s1"
        if self.error is not None:
            raise self.error
        return dict.fromkeys(containers, True)

    async def drain(self, service: str, container: str, grace: timedelta) -> None:
        if self.error is not None:
            raise self.error
        self.drained.append((service, container, grace))


def call(verb: str, body: bytes, *, node: str = "node1", method: str = "POST") -> Call:
    request = Request(verb, node, str(int(NOW.timestamp() * 1000)), NONCE, body)
    headers = {
        Header.NODE: node,
        Header.TIME: request.time,
        Header.NONCE: NONCE,
        Header.SIGNATURE: SIGNER.of_request(request),
    }
    return Call(method, f"/{verb}", dict(headers), body, "10.0.1.2")


def desk(node: FakeNode) -> Desk:
    began = [NOW - timedelta(hours=1)]
    return Desk(
        node, SIGNER, Refusals(get_logger(), lambda: 0.0), lambda: began.pop() if began else NOW
    )


def signed(reply: Reply) -> bool:
    return same(
        reply.headers.get(Header.SIGNATURE, ""),
        SIGNER.of_answer(NONCE, reply.status, reply.body),
    )


async def test_it_says_which_containers_run() -> None:
    reply = await desk(FakeNode()).answer(call(Verb.STATE, STATE))

    assert (reply.status, json.loads(reply.body)) == (200, {"running": {CONTAINER: True}})
    assert signed(reply)


async def test_it_passes_the_order_to_stop_on_with_its_grace() -> None:
    node = FakeNode()

    reply = await desk(node).answer(call(Verb.DRAIN, DRAIN))

    assert reply.status == 200
    assert node.drained == [("s1", CONTAINER, timedelta(seconds=90.5))]


async def test_an_order_is_followed_once() -> None:
    node = FakeNode()
    made = desk(node)
    order = call(Verb.DRAIN, DRAIN)

    assert (await made.answer(order)).status == 200
    again = await made.answer(order)

    assert again.status == 401
    assert signed(again)
    assert len(node.drained) == 1


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (call("remove", STATE), 404),
        (call(Verb.STATE, STATE, method="GET"), 405),
        (Call("POST", "/drain", {}, DRAIN, "10.0.1.2"), 401),
        (Call("POST", "/drain", call(Verb.STATE, DRAIN).headers, DRAIN, "10.0.1.2"), 401),
        (call(Verb.DRAIN, DRAIN, node="node2"), 421),
        (call(Verb.DRAIN, STATE), 400),
        (call(Verb.DRAIN, b"no JSON"), 400),
    ],
    ids=["verb", "method", "unsigned", "other-verb", "other-node", "body", "no-json"],
)
async def test_what_it_does_not_follow_reaches_no_engine_and_is_logged(
    given: Call, status: int
) -> None:
    node = FakeNode()
    with capture_logs() as lines:
        reply = await desk(node).answer(given)

    assert reply.status == status
    assert node.drained == []
    assert [line["event"] for line in lines] == ["refused"]


@pytest.mark.parametrize(
    ("error", "status"), [(NotServed("not ours"), 403), (OrchestratorError("no engine"), 502)]
)
async def test_what_is_wrong_on_the_node_comes_back_in_its_words(
    error: OrchestratorError, status: int
) -> None:
    node = FakeNode()
    node.error = error

    reply = await desk(node).answer(call(Verb.STATE, STATE))

    assert (reply.status, json.loads(reply.body)) == (status, {"error": str(error)})
    assert signed(reply)
