"""One Temporal client for each integration, which gets credentials that have changed.

The clients are `ServiceClient`s: `temporalio.client.Client` also loads what workflows need, which
takes a quarter of a second at the start.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.service import ConnectConfig, GrpcCompression, RPCError, ServiceClient

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport
from autoscaler.ports import IntegrationStore
from autoscaler.sources.connections.credentials import Credentials
from autoscaler.sources.connections.explanation import Attempt, explain, explain_missing

CONNECT_TIMEOUT = timedelta(seconds=5)
_IN_CONTAINER = Path("/.dockerenv")
"""Docker puts this file into every container."""
VERSION_TIMEOUT = timedelta(seconds=5)
"""For the answer to the question for the server's version."""


@dataclass(slots=True)
class _Connection:
    """A client, and what it uses."""

    client: ServiceClient
    integration: Integration
    credentials: Credentials
    trouble: str | None = None
    """Why changed credentials cannot be used; None where none have changed, or they are in use."""
    checked: bool = True
    """Whether the credentials have been read again since the latest `keep`."""


class Connections:
    """Makes a client when an integration is first used, and closes it once nothing uses it."""

    def __init__(
        self,
        integrations: IntegrationStore,
        *,
        redactor: Redactor | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        in_container: bool | None = None,
    ) -> None:
        """Make clients for these integrations; `redactor` learns every secret that is used.

        `in_container` says whether this process runs in a container; None: look.
        """
        self._integrations = integrations
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._in_container = _IN_CONTAINER.exists() if in_container is None else in_container
        self._open: dict[str, _Connection] = {}
        # Of several users at the same time, the first makes the client and the others wait for it.
        self._lock = asyncio.Lock()
        self._versions: dict[str, str] = {}
        """The version of each server whose client was asked for it."""
        self._asking = asyncio.Lock()

    def keep(self, names: Collection[str]) -> None:
        """Close the clients of all other integrations; read the credentials of these again.

        Called once in each tick. Credentials are read when the client is next asked for.
        """
        wanted = {canonical(name) for name in names}
        unused = self._open.keys() - wanted
        for name in unused:
            del self._open[name]
            self._versions.pop(name, None)
        if unused:
            _close_unreferenced()
        for connection in self._open.values():
            connection.checked = False

    async def client(self, name: str) -> ServiceClient:
        """Return the client of an integration. It connects with its first call.

        The present client gets a changed API key or changed headers. A changed endpoint or
        certificate makes a new client. Changed files that cannot be used, such as a certificate
        whose key is still the old one, leave the client as it is, and `reports` says so.
        Raises IntegrationError where there is no client yet and none can be made: the integration
        is not known, or its credentials cannot be used.
        """
        key = canonical(name)
        async with self._lock:
            connection = self._open.get(key)
            if connection is None:
                connection = self._open[key] = await self._connect(name)
            elif not connection.checked:
                await self._update(name, connection)
            return connection.client

    async def server_version(self, name: str) -> str:
        """Return the version of an integration's server, such as 1.32.0; empty where it hides it.

        Each client asks once. Raises IntegrationError as `client` does.
        """
        client, key = await self.client(name), canonical(name)
        async with self._asking:
            if key not in self._versions:
                self._versions[key] = await _ask_version(client)
            return self._versions[key]

    def integration(self, name: str) -> Integration:
        """Return the settings of an integration. Raises IntegrationError."""
        return self._integrations.get(name)

    def endpoint(self, name: str) -> str:
        """Return the host and port that an integration uses.

        An integration that has been removed is known as long as its client is kept.
        """
        return self._used(name).endpoint

    def explain(
        self,
        error: RPCError | RuntimeError,
        name: str,
        namespace: str,
        tried: str,
        *,
        answered: bool = False,
    ) -> str:
        """Return one line about a failed call: what was tried, what came back, what to do.

        `tried` names the call and its endpoint. `answered` says that the server has just answered
        another call. The line shows no secret, even where the server repeats one.
        """
        connection = self._open.get(canonical(name))
        expires_at = None if connection is None else connection.credentials.expires_at
        expired = expires_at is not None and expires_at <= self._clock()
        attempt = Attempt(
            tried,
            name,
            namespace,
            self._used(name),
            expires_at if expired else None,
            answered=answered,
            in_container=self._in_container,
        )
        return self._redactor.hide(explain(error, attempt))

    async def explain_missing(self, what: str, since: str, name: str, tried: str) -> str:
        """Return one line about an answer that left something out: which server, and what to do.

        `what` is missing, and Temporal Server has it `since` a version. `tried` is as in `explain`.
        Raises IntegrationError as `client` does.
        """
        version = await self.server_version(name)
        attempt = Attempt(tried, name, "", self._used(name))
        return self._redactor.hide(explain_missing(what, since, version, attempt))

    def reports(
        self, outcomes: Mapping[str, Sequence[str | None]]
    ) -> tuple[IntegrationReport, ...]:
        """Return the state of each integration, including those that nothing uses.

        `outcomes` maps the canonical name of each integration in use to the outcomes of its
        namespaces: the error, or None where the namespace answered.
        """
        try:
            names = set(self._integrations.names())
        except IntegrationError:
            # The services that use one of these integrations report the error.
            names = set()
        reports = (
            self._report(name, outcomes.get(name, ())) for name in sorted({*names, *outcomes})
        )
        return tuple(report for report in reports if report is not None)

    def _report(self, name: str, outcomes: Sequence[str | None]) -> IntegrationReport | None:
        try:
            integration = self.integration(name)
        except IntegrationError:
            return None
        connection = self._open.get(name)
        errors = [outcome for outcome in outcomes if outcome is not None]
        if connection is not None and connection.trouble is not None:
            errors.append(connection.trouble)
        return IntegrationReport(
            name=name,
            endpoint=integration.endpoint,
            namespace=integration.namespace,
            origin=self._integrations.origin(name),
            up=None in outcomes if outcomes else None,
            error="; ".join(dict.fromkeys(errors)) or None,
            expires_at=None if connection is None else connection.credentials.expires_at,
        )

    def _used(self, name: str) -> Integration:
        connection = self._open.get(canonical(name))
        return self.integration(name) if connection is None else connection.integration

    async def _connect(self, name: str) -> _Connection:
        integration, credentials = self._read(name)
        client = await _lazy_client(name, integration, credentials)
        return _Connection(client, integration, credentials)

    async def _update(self, name: str, connection: _Connection) -> None:
        """Use what has changed, as far as it can be used."""
        connection.checked = True
        try:
            integration, credentials = self._read(name)
            if not _fits(connection, integration, credentials):
                connection.client = await _lazy_client(name, integration, credentials)
                self._versions.pop(canonical(name), None)
                _close_unreferenced()
            else:
                _renew(connection.client, connection.credentials, credentials)
        except IntegrationError as error:
            connection.trouble = f"{error}; until then the previous credentials are used"
        else:
            connection.integration, connection.credentials = integration, credentials
            connection.trouble = None

    def _read(self, name: str) -> tuple[Integration, Credentials]:
        integration = self._integrations.get(name)
        credentials = Credentials.read(name, integration)
        self._redactor.learn(credentials.api_key, credentials.key, *credentials.metadata.values())
        return integration, credentials


def _fits(connection: _Connection, integration: Integration, credentials: Credentials) -> bool:
    """Whether the present client can stay, perhaps with another API key or other headers."""
    before = connection.integration.endpoint, connection.credentials.tls()
    return before == (integration.endpoint, credentials.tls())


def _renew(client: ServiceClient, before: Credentials, after: Credentials) -> None:
    """Give a client another API key and other headers; calls under way are not disturbed."""
    if before.api_key != after.api_key:
        client.update_api_key(_plain(after.api_key))
    if before.metadata != after.metadata:
        client.update_rpc_metadata(after.headers())


def _close_unreferenced() -> None:
    """Close the connections of clients that are no longer referenced.

    A client has no `close`: its connection ends when Python frees the client. Client and services
    refer to each other, so only the garbage collector frees them.
    """
    gc.collect()


async def _lazy_client(
    name: str, integration: Integration, credentials: Credentials
) -> ServiceClient:
    try:
        return await ServiceClient.connect(
            ConnectConfig(
                target_host=integration.endpoint,
                api_key=_plain(credentials.api_key),
                tls=credentials.tls(),
                rpc_metadata=credentials.headers(),
                connect_timeout=CONNECT_TIMEOUT,
                # Requests are short, and compressing them costs a tenth of the CPU of a call.
                grpc_compression=GrpcCompression.NONE,
                lazy=True,
            )
        )
    except (RuntimeError, ValueError) as error:
        raise IntegrationError(
            f"integration {name}: Temporal's client does not take these settings ({error})"
        ) from None


async def _ask_version(client: ServiceClient) -> str:
    """Return the server's version; empty where it does not answer or does not say."""
    try:
        async with asyncio.timeout(VERSION_TIMEOUT.total_seconds()):
            answer = await client.workflow_service.get_system_info(
                GetSystemInfoRequest(), retry=False, timeout=VERSION_TIMEOUT
            )
    except (RPCError, RuntimeError, TimeoutError):
        return ""
    return answer.server_version


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
