"""What the daemon and the agents of a Swarm say to each other, and how it is signed. Pure.

A request is `POST /state` or `POST /drain` with a JSON body. Its signature covers the verb, the id
of the node, the time, a number used once (nonce) and the body. The signature of an answer covers
the nonce of its request, the status and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from autoscaler.core.errors import OrchestratorError

PORT = 8081
"""TCP port of every agent."""
LABEL = "autoscaler.agent"
"""Label of the Swarm service of the agents, by which the daemon finds it."""
CLOCKS_MAY_DIFFER = timedelta(seconds=30)
"""How far the time of a request may be from the agent's clock."""
LONGEST_GRACE = timedelta(hours=24)
"""The longest stop grace that an agent accepts."""
LONGEST_BODY = 256 * 1024
"""Bytes of a request or an answer. The ids of 3,900 containers fit."""
SHORTEST_SECRET = 32
"""Characters of the secret."""
MOST_NONCES = 100_000
"""Nonces that are remembered. The daemon sends a few each second."""

_LONGEST_TIME = 16
"""Digits of a time in milliseconds."""
_NONCE_LENGTHS = range(16, 65)
"""Characters of a nonce."""


class NotServed(OrchestratorError):
    """An agent is asked for a container that is none of the service, or that it does not serve."""


class Header(StrEnum):
    """Names of HTTP headers."""

    NODE = "autoscaler-node"
    TIME = "autoscaler-time"
    NONCE = "autoscaler-nonce"
    SIGNATURE = "autoscaler-signature"


class Verb(StrEnum):
    """What an agent can be asked to do."""

    STATE = "state"
    DRAIN = "drain"


Container = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StateBody(_Body):
    """Asks which of these containers of a Swarm service run. Without any, nothing is looked up."""

    service: Annotated[str, Field(pattern=r"^[0-9a-z]{0,64}$")]
    containers: tuple[Container, ...]


class DrainBody(_Body):
    """Asks for the stop of one container of a Swarm service."""

    service: Annotated[str, Field(pattern=r"^[0-9a-z]{1,64}$")]
    container: Container
    grace: Annotated[float, Field(ge=0, le=LONGEST_GRACE.total_seconds(), allow_inf_nan=False)]
    """Seconds between the stop signal and the kill."""


class StateAnswer(_Body):
    """Says of each container whether it runs."""

    running: dict[Container, bool]


class Refusal(_Body):
    """Says why nothing was done, in words for the person who runs the daemon."""

    error: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its signature."""

    verb: str
    node: str
    """The Swarm's id of the node whose agent is meant."""
    time: str
    """When it was signed, in milliseconds since 1970."""
    nonce: str
    body: bytes

    @classmethod
    def at(cls, now: datetime, verb: Verb, node: str, nonce: str, body: bytes) -> Request:
        """Make a request that is signed now."""
        return cls(verb, node, str(round(now.timestamp() * 1000)), nonce, body)

    @property
    def signed_at(self) -> datetime | None:
        """When it was signed; None where the time is no time."""
        if not (self.time.isascii() and self.time.isdecimal() and len(self.time) <= _LONGEST_TIME):
            return None
        try:
            return datetime.fromtimestamp(int(self.time) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None


class Signer:
    """Signs requests and answers with the secret that the daemon and the agents share."""

    def __init__(self, secret: SecretStr) -> None:
        self._key = secret.get_secret_value().encode()

    def of_request(self, request: Request) -> str:
        """Return the signature of a request."""
        return self._sign(
            "request", request.verb, request.node, request.time, request.nonce, request.body
        )

    def of_answer(self, nonce: str, status: int, body: bytes) -> str:
        """Return the signature of the answer to the request with this nonce."""
        return self._sign("answer", nonce, str(status), body)

    def _sign(self, *parts: str | bytes) -> str:
        # As JSON, no text can move from one part into another one.
        texts = [hashlib.sha256(p).hexdigest() if isinstance(p, bytes) else p for p in parts]
        return hmac.new(self._key, json.dumps(texts).encode(), hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Whether two signatures are the same. The time that takes does not say where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


class Freshness:
    """Accepts each request once, and only while it is new.

    A request from before `began` is refused, since the nonces of that time are not known. Likewise,
    the time before which nonces are forgotten never goes back, even where the clock does.
    """

    def __init__(self, began: datetime) -> None:
        """`began` is when the agent began to remember nonces."""
        self._known_since = began
        self._used: dict[str, datetime] = {}
        """The time of each request by its nonce."""

    def problem(self, request: Request, now: datetime) -> str | None:
        """Return why a request must not be followed; None: it may be, this once.

        The signature of the request has to be checked before, so that nobody else fills the memory.
        """
        signed_at = request.signed_at
        if signed_at is None:
            return "its time is no time"
        if abs(signed_at - now) > CLOCKS_MAY_DIFFER:
            return _apart(signed_at - now)
        return self._used_before(request, signed_at, now)

    def _used_before(self, request: Request, signed_at: datetime, now: datetime) -> str | None:
        """Return why a request may have been followed before; None: it was not, and now it is."""
        if len(request.nonce) not in _NONCE_LENGTHS:
            return f"its nonce has not {_NONCE_LENGTHS[0]} to {_NONCE_LENGTHS[-1]} characters"
        self._known_since = max(self._known_since, now - CLOCKS_MAY_DIFFER)
        if signed_at < self._known_since:
            return "the request is from before the start of this agent: it has to be sent anew"
        if request.nonce in self._used:
            return "the request was sent before"
        if len(self._used) >= MOST_NONCES:
            self._used = {n: at for n, at in self._used.items() if at >= self._known_since}
            if len(self._used) >= MOST_NONCES:
                return "there were too many requests in the last minute"
        self._used[request.nonce] = signed_at
        return None


def _apart(apart: timedelta) -> str:
    way = "ahead of" if apart > timedelta() else "behind"
    return (
        f"the request is {abs(apart).total_seconds():.0f} s {way} this node's clock, and"
        f" {CLOCKS_MAY_DIFFER.total_seconds():.0f} s are allowed: set the clocks of the nodes"
    )
