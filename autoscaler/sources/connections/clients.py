"""One Temporal client for each integration; credentials are taken up when they change.

It is the client of the bare service: to load what workflows need takes a quarter of a second.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from temporalio.service import ConnectConfig, GrpcCompression, RPCError, ServiceClient

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport
from autoscaler.ports import IntegrationStore
from autoscaler.sources.connections.credentials import Credentials
from autoscaler.sources.connections.explanation import Attempt, explain

CONNECT_TIMEOUT = timedelta(seconds=5)


@dataclass(slots=True)
class _Connection:
    """A client, and what it was made with."""

    client: ServiceClient
    integration: Integration
    credentials: Credentials
    trouble: str | None = None
    """Why credentials that have changed since cannot be used."""
    current: bool = True
    """Whether they have been looked at since `keep`."""


class Connections:
    """Makes a client when an integration is first used, and closes it when it no longer is."""

    def __init__(
        self,
        integrations: IntegrationStore,
        *,
        redactor: Redactor | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`redactor` learns every secret that is used."""
        self._integrations = integrations
        self._redactor = redactor or Redactor()
        self._clock = clock
        self._open: dict[str, _Connection] = {}
        # Many calls begin at once: the first of them makes the client for all.
        self._looking = asyncio.Lock()

    def keep(self, names: Collection[str]) -> None:
        """Close the clients of all other integrations, and look at the credentials of these anew.

        Called once for each tick.
        """
        wanted = {canonical(name) for name in names}
        unused = self._open.keys() - wanted
        for name in unused:
            del self._open[name]
        if unused:
            _end_connections()
        for connection in self._open.values():
            connection.current = False

    async def client(self, name: str) -> ServiceClient:
        """Return the client of an integration; it connects with its first call.

        An API key that has changed is given to the client at hand; other changes make a new one.
        Changed files that cannot be used, such as a certificate whose key is still the old one,
        leave the client as it is: `reports` then says so.
        Raises IntegrationError when the integration is not known or its credentials cannot be
        used, and there is no client yet.
        """
        key = canonical(name)
        async with self._looking:
            connection = self._open.get(key)
            if connection is None:
                connection = self._open[key] = await self._connect(name)
            elif not connection.current:
                await self._look_anew(name, connection)
            return connection.client

    def integration(self, name: str) -> Integration:
        """Return the settings behind a name. Raises IntegrationError."""
        return self._integrations.get(name)

    def endpoint(self, name: str) -> str:
        """Return where the client of an integration leads, even if it was removed just now."""
        return self._used(name).endpoint

    def explain(self, error: RPCError | RuntimeError, name: str, namespace: str, tried: str) -> str:
        """Put a failed call into one line: what was tried, what came back, what to do.

        `tried` names the call and its endpoint. No secret is in the line, whatever the server
        repeats.
        """
        connection = self._open.get(canonical(name))
        expires_at = None if connection is None else connection.credentials.expires_at
        expired = expires_at is not None and expires_at <= self._clock()
        attempt = Attempt(tried, name, namespace, self._used(name), expires_at if expired else None)
        return self._redactor.hide(explain(error, attempt))

    def reports(
        self, outcomes: Mapping[str, Sequence[str | None]]
    ) -> tuple[IntegrationReport, ...]:
        """Tell how each integration fares, those that nothing uses as well.

        `outcomes` maps the canonical names of those in use to what went wrong in each namespace.
        """
        try:
            names = set(self._integrations.names())
        except IntegrationError:
            # Whoever uses one of those that cannot be listed has the error in its report.
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

    async def _look_anew(self, name: str, connection: _Connection) -> None:
        """Take up what has changed, as far as it can be used."""
        connection.current = True
        try:
            integration, credentials = self._read(name)
            if not _fits(connection, integration, credentials):
                connection.client = await _lazy_client(name, integration, credentials)
                _end_connections()
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
    """Whether the client at hand can go on, perhaps with another API key or other headers."""
    before = connection.integration.endpoint, connection.credentials.tls()
    return before == (integration.endpoint, credentials.tls())


def _renew(client: ServiceClient, before: Credentials, after: Credentials) -> None:
    """Give a live client another API key and other headers; calls under way are not disturbed."""
    if before.api_key != after.api_key:
        client.update_api_key(_plain(after.api_key))
    if before.metadata != after.metadata:
        client.update_rpc_metadata(after.headers())


def _end_connections() -> None:
    """End the connections of clients that were let go.

    A client has no close of its own: its connection ends with the last reference to it, and
    client and services refer to each other.
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
                # What is asked is shorter than what it takes to compress it, a tenth of each call.
                grpc_compression=GrpcCompression.NONE,
                lazy=True,
            )
        )
    except (RuntimeError, ValueError) as error:
        raise IntegrationError(
            f"integration {name}: Temporal's client does not take these settings ({error})"
        ) from None


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
