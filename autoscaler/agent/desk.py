"""What an agent answers: it checks each request, and asks the node's own engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

from pydantic import BaseModel, ValidationError

from autoscaler.agent.door import Call, Reply
from autoscaler.agent.refusals import Refusals
from autoscaler.core.agent_messages import (
    DrainBody,
    Freshness,
    Header,
    NotServed,
    Refusal,
    Request,
    Signer,
    StateAnswer,
    StateBody,
    Verb,
    same,
)
from autoscaler.core.errors import AutoscalerError


class Node(Protocol):
    """The node that the agent is on. Its methods raise OrchestratorError where its engine fails."""

    async def id(self) -> str:
        """Return the Swarm's id of this node."""
        ...

    async def state(self, service: str, containers: Collection[str]) -> Mapping[str, bool]:
        """Return whether each of these containers of a service runs. Raises NotServed."""
        ...

    async def drain(self, service: str, container: str, grace: timedelta) -> None:
        """Give the order to stop a container of a service. Raises NotServed."""
        ...


class Desk:
    """Answers calls: `/healthz` to everybody, and the verbs to who knows the secret."""

    def __init__(
        self, node: Node, signer: Signer, refusals: Refusals, clock: Callable[[], datetime]
    ) -> None:
        self._node = node
        self._signer = signer
        self._refusals = refusals
        self._clock = clock
        self._freshness = Freshness(clock())

    async def answer(self, call: Call) -> Reply:
        """Answer one call. What is refused is logged."""
        if call.path == "/healthz":
            return Reply(HTTPStatus.OK, b'{"status":"ok"}')
        verb = call.path.removeprefix("/")
        if verb not in set(Verb):
            return self._unsigned(call, HTTPStatus.NOT_FOUND, "an unknown verb")
        if call.method != "POST":
            return self._unsigned(call, HTTPStatus.METHOD_NOT_ALLOWED, "a method other than POST")
        request = Request(
            verb,
            call.headers.get(Header.NODE, ""),
            call.headers.get(Header.TIME, ""),
            call.headers.get(Header.NONCE, ""),
            call.body,
        )
        given = call.headers.get(Header.SIGNATURE, "")
        if not same(given, self._signer.of_request(request)):
            return self._unsigned(
                call,
                HTTPStatus.UNAUTHORIZED,
                "a signature that is missing or false: it was made with another"
                " AUTOSCALER_AGENT_SECRET",
            )
        status, body = await self._checked(request, call)
        content = body.model_dump_json().encode()
        signature = self._signer.of_answer(request.nonce, status, content)
        return Reply(status, content, {Header.SIGNATURE: signature})

    async def _checked(self, request: Request, call: Call) -> tuple[HTTPStatus, BaseModel]:
        """Answer a request that whoever knows the secret has signed."""
        try:
            if request.node != await self._node.id():
                return self._refused(call, HTTPStatus.MISDIRECTED_REQUEST, "it is for another node")
            problem = self._freshness.problem(request, self._clock())
            if problem is not None:
                self._refusals.note("a request that is old, early or was sent before", call.address)
                return HTTPStatus.UNAUTHORIZED, Refusal(error=problem)
            return HTTPStatus.OK, await self._followed(request)
        except ValidationError:
            return self._refused(call, HTTPStatus.BAD_REQUEST, "a body that is not understood")
        except NotServed as error:
            self._refusals.note("containers that are not the daemon's to ask for", call.address)
            return HTTPStatus.FORBIDDEN, Refusal(error=str(error))
        except AutoscalerError as error:
            self._refusals.note(f"the engine failed: {error}", call.address)
            return HTTPStatus.BAD_GATEWAY, Refusal(error=str(error))

    async def _followed(self, request: Request) -> BaseModel:
        if request.verb == Verb.STATE:
            asked = StateBody.model_validate_json(request.body)
            return StateAnswer(running=await self._running(asked))
        order = DrainBody.model_validate_json(request.body)
        await self._node.drain(order.service, order.container, timedelta(seconds=order.grace))
        return StateAnswer(running={})

    async def _running(self, asked: StateBody) -> dict[str, bool]:
        if not asked.containers:
            return {}
        return dict(await self._node.state(asked.service, asked.containers))

    def _refused(self, call: Call, status: HTTPStatus, reason: str) -> tuple[HTTPStatus, BaseModel]:
        self._refusals.note(reason, call.address)
        return status, Refusal(error=reason)

    def _unsigned(self, call: Call, status: HTTPStatus, reason: str) -> Reply:
        self._refusals.note(reason, call.address)
        return Reply(status, Refusal(error=reason).model_dump_json().encode())
