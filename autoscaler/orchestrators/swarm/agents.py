"""The agents on the nodes of a Swarm: each speaks to the engine of its own node."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol

from pydantic import BaseModel, SecretStr, ValidationError

from autoscaler.core.agent_messages import (
    LABEL,
    LONGEST_BODY,
    PORT,
    DrainBody,
    Header,
    Refusal,
    Request,
    Signer,
    StateAnswer,
    StateBody,
    Verb,
    same,
)
from autoscaler.core.errors import OrchestratorError, printable
from autoscaler.orchestrators.engine import Engine, EngineError, Json
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.swarm.posting import Answer, NoAnswer, post

AT_ONCE = 8
"""Requests to one agent at a time. It refuses more than 16 of one sender."""
_LONGEST_WORDS = 300
"""Characters of an agent's words that are shown."""


class AgentUnavailable(OrchestratorError):
    """An agent is missing, silent, or refuses; the message names the node and the remedy."""


class Agents(Protocol):
    """The agents on the nodes of the Swarm.

    `node` is the Swarm's NodeID and `service` the Swarm's id of a service.
    """

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        """Return for each container of a service whether it runs, by the node's own engine.

        A container that is gone does not run. Raises AgentUnavailable.
        """
        ...

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:
        """Have a container stopped behind this grace; return when the node has taken the order.

        Raises AgentUnavailable.
        """
        ...

    async def silent(self) -> Sequence[str]:
        """Return a sentence for each node whose agent does not answer: its name, why, the remedy.

        Empty where all answer. Raises OrchestratorError where the manager does not say which nodes
        there are.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Whereabouts:
    """Where the agents are, as the manager says."""

    services: tuple[str, ...]
    """Names of the services that have the agents' label."""
    addresses: Mapping[str, str]
    """IP addresses of the agents by the ids of their nodes."""


class SwarmAgents:
    """Asks the agents, which it finds among the tasks of the Swarm."""

    def __init__(
        self,
        engine: Engine,
        secret: SecretStr,
        clock: Callable[[], datetime],
        place: Place | None = None,
        port: int = PORT,
    ) -> None:
        """Ask the agents on the networks of this `place`; of all networks outside a container."""
        self._engine = engine
        self._signer = Signer(secret)
        self._clock = clock
        self._place = place or Place()
        self._port = port
        self._turns: defaultdict[str, asyncio.Semaphore]
        self._turns = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def state(
        self, node: str, service: str, containers: Collection[str]
    ) -> Mapping[str, bool]:
        """Return for each container of a service whether it runs. Raises AgentUnavailable."""
        if not containers:
            return {}
        body = _checked(StateBody, service=service, containers=tuple(containers))
        answer = await self._ask(node, Verb.STATE, body)
        if answer.running.keys() != set(containers):
            raise AgentUnavailable(
                f"the agent on {await self._named(node)} leaves out containers that it was asked"
                " for: let the daemon and the agents run the same version"
            )
        return answer.running

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:
        """Have a container stopped behind this grace. Raises AgentUnavailable."""
        seconds = grace.total_seconds()
        body = _checked(DrainBody, service=service, container=container, grace=seconds)
        await self._ask(node, Verb.DRAIN, body)

    async def silent(self) -> Sequence[str]:
        """Return a sentence for each node whose agent does not answer. Raises OrchestratorError."""
        rows: list[Json] = await self._engine.call(
            "listing the nodes of the Swarm", lambda client: client.nodes()
        )
        # The Swarm takes the agent off a node that is drained, and no task is left there.
        there = [
            row["ID"]
            for row in rows
            if row["Status"]["State"] == "ready" and row["Spec"]["Availability"] != "drain"
        ]
        nothing = StateBody(service="", containers=())
        answers = await asyncio.gather(
            *(self._ask(node, Verb.STATE, nothing) for node in there), return_exceptions=True
        )
        found = []
        for answer in answers:
            if isinstance(answer, AgentUnavailable):
                found.append(str(answer))
            elif isinstance(answer, BaseException):
                raise answer
        return sorted(found)

    async def _ask(self, node: str, verb: Verb, body: BaseModel) -> StateAnswer:
        """Send one signed request to the agent on a node, and return its answer.

        Raises AgentUnavailable.
        """
        try:
            address = await self._address(node)
        except EngineError as error:
            raise AgentUnavailable(str(error)) from error
        content = body.model_dump_json().encode()
        if len(content) > LONGEST_BODY:
            raise AgentUnavailable(
                f"{len(content)} bytes are too many for the agent on {await self._named(node)}"
            )
        async with self._turns[node]:
            return await self._exchange(address, node, verb, content)

    async def _exchange(self, address: str, node: str, verb: Verb, content: bytes) -> StateAnswer:
        request = Request.at(self._clock(), verb, node, secrets.token_hex(16), content)
        headers: dict[str, str] = {
            Header.NODE: request.node,
            Header.TIME: request.time,
            Header.NONCE: request.nonce,
            Header.SIGNATURE: self._signer.of_request(request),
        }
        try:
            answer = await post(address, self._port, f"/{verb}", headers, content)
        except NoAnswer as error:
            raise AgentUnavailable(
                f"the agent on {await self._named(node)} does not answer at"
                f" {address}:{self._port} ({error}): attach the daemon to the network of the"
                " agents, and see `docker service ps` and the agent's log"
            ) from error
        return await self._read(node, request, answer)

    async def _read(self, node: str, request: Request, answer: Answer) -> StateAnswer:
        """Return what an answer says, if the agent has signed it. Raises AgentUnavailable."""
        expected = self._signer.of_answer(request.nonce, answer.status, answer.body)
        if not same(answer.headers.get(Header.SIGNATURE, ""), expected):
            name = await self._named(node)
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise AgentUnavailable(
                    f"the agent on {name} refuses the daemon's signature: give the daemon and the"
                    " agents the same AUTOSCALER_AGENT_SECRET"
                )
            raise AgentUnavailable(
                f"what answers for the agent on {name} does not know the secret (status"
                f" {answer.status}): give the daemon and the agents the same"
                f" AUTOSCALER_AGENT_SECRET, and the label {LABEL} to the agents alone"
            )
        try:
            if answer.status == HTTPStatus.OK:
                return StateAnswer.model_validate_json(answer.body)
            words = Refusal.model_validate_json(answer.body).error
        except ValidationError as error:
            raise AgentUnavailable(
                f"the answer of the agent on {await self._named(node)} is not understood: let the"
                " daemon and the agents run the same version"
            ) from error
        raise AgentUnavailable(
            f"the agent on {await self._named(node)} refuses (status {answer.status}):"
            f" {printable(words)[:_LONGEST_WORDS]}"
        )

    async def _address(self, node: str) -> str:
        """Return the IP address of the agent on a node. Raises AgentUnavailable."""
        found = await self._whereabouts()
        if node in found.addresses:
            return found.addresses[node]
        name = await self._named(node)
        if not found.services:
            raise AgentUnavailable(
                f"there is no agent on {name}: no service of the Swarm has the label {LABEL};"
                " deploy compose/swarm/agents.yaml"
            )
        raise AgentUnavailable(
            f"no agent on a network of the daemon runs on {name}: see `docker service ps"
            f" {found.services[0]}`, let the service of the agents be global, and attach the daemon"
            " to its network"
        )

    async def _whereabouts(self) -> _Whereabouts:
        services: list[Json] = await self._engine.call(
            "looking for the agents", lambda client: client.services(filters={"label": LABEL})
        )
        if not services:
            return _Whereabouts((), {})
        networks = await self._own_networks()
        tasks: list[Json] = await self._engine.call(
            "listing the tasks of the agents",
            lambda client: client.tasks(
                filters={"service": [row["ID"] for row in services], "desired-state": "running"}
            ),
        )
        return _Whereabouts(
            tuple(row["Spec"]["Name"] for row in services),
            {
                task["NodeID"]: address
                for task in tasks
                if task.get("NodeID") and task["Status"]["State"] == "running"
                for address in _addresses(task, networks)[:1]
            },
        )

    async def _own_networks(self) -> frozenset[str] | None:
        """Return the ids of the networks of the container that this process runs in.

        None outside a container, and in one of another engine. Another daemon's agents are on other
        networks.
        """
        own = self._place.containers
        if not own:
            return None
        rows: list[Json] = await self._engine.call(
            "looking for the daemon's own networks",
            lambda client: client.containers(filters={"id": list(own)}),
        )
        joined = [each for row in rows for each in row["NetworkSettings"]["Networks"].values()]
        return frozenset(each["NetworkID"] for each in joined) if rows else None

    async def _named(self, node: str) -> str:
        """Return the words for a node: its name, and its id where the manager does not know it."""
        try:
            rows: list[Json] = await self._engine.call(
                "looking up a node", lambda client: client.nodes(filters={"id": node})
            )
        except OrchestratorError:
            rows = []
        names = [row["Description"]["Hostname"] for row in rows if row["ID"] == node]
        return f"node {names[0]}" if names else f"node {node}"


def _checked(kind: type[BaseModel], **values: object) -> BaseModel:
    """Return the body of a request. Raises AgentUnavailable where no agent would accept it."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        wrong = ", ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
        raise AgentUnavailable(f"no agent can be asked for this ({wrong})") from error


def _addresses(task: Json, networks: frozenset[str] | None) -> Sequence[str]:
    """Return the addresses of a task on these networks, or on all but that of published ports."""
    return [
        address.partition("/")[0]
        for each in task.get("NetworksAttachments") or ()
        if not (each["Network"]["Spec"].get("Ingress") or False)
        and (networks is None or each["Network"]["ID"] in networks)
        for address in each.get("Addresses") or ()
    ]
