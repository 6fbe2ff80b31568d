"""One client for each integration, kept while it is used, with the present credentials."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr
from temporalio.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient, TLSConfig

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration
from autoscaler.core.redaction import Redactor
from autoscaler.sources.connections.clients import Connections
from tests.fakes.clock import START, Clock
from tests.fakes.temporal import FakeIntegrations, FakeTemporal
from tests.real.certificates import Authority, Pair

AUTHORITY = Authority()
PAIR = AUTHORITY.client()


def protected(key: bytes) -> bytes:
    """Encrypt a private key with a passphrase."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"s3cret")
    )


class FakeClient:
    """A client that keeps what it would send with each call."""

    def __init__(self, config: ConnectConfig) -> None:
        self.update_api_key(config.api_key)
        self.update_rpc_metadata(config.rpc_metadata)

    def update_api_key(self, api_key: str | None) -> None:
        self.api_key = api_key

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        self.rpc_metadata = metadata


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[ConnectConfig]:
    """The configuration of each client that was made."""
    calls: list[ConnectConfig] = []

    async def connect(config: ConnectConfig) -> FakeClient:
        calls.append(config)
        return FakeClient(config)

    monkeypatch.setattr(ServiceClient, "connect", connect)
    return calls


def connections(**integrations: Integration) -> Connections:
    """Make connections for the given integrations."""
    return Connections(FakeIntegrations(integrations))


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return AUTHORITY.write(tmp_path)


async def options(connected: list[ConnectConfig], **settings: Any) -> ConnectConfig:
    """Return the configuration of the client of an integration with these settings."""
    await connections(prod=Integration(**settings)).client("prod")
    (made,) = connected
    return made


class TestOneClient:
    async def test_a_client_is_made_once_and_kept(self, connected: list[ConnectConfig]) -> None:
        all_of_them = connections(prod=Integration())
        assert await all_of_them.client("prod") is await all_of_them.client("prod")
        assert len(connected) == 1

    async def test_spellings_of_a_name_share_a_client(self, connected: list[ConnectConfig]) -> None:
        all_of_them = connections(prod_eu=Integration())
        assert await all_of_them.client("Prod-EU") is await all_of_them.client("prod_eu")
        assert len(connected) == 1

    async def test_users_at_the_same_time_share_a_client(
        self, connected: list[ConnectConfig]
    ) -> None:
        all_of_them = connections(prod=Integration())
        clients = await asyncio.gather(*(all_of_them.client("prod") for _ in range(16)))
        assert len({id(client) for client in clients}) == 1
        assert len(connected) == 1

    async def test_a_client_connects_with_its_first_call(
        self, connected: list[ConnectConfig]
    ) -> None:
        assert (await options(connected)).lazy

    async def test_an_unknown_integration_has_no_client(self) -> None:
        with pytest.raises(IntegrationError, match="pord"):
            await connections(prod=Integration()).client("pord")


class TestTheServersVersion:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> FakeTemporal:
        """The server that every client leads to."""
        made = FakeTemporal()

        async def connect(_config: ConnectConfig) -> FakeTemporal:
            return made

        monkeypatch.setattr(ServiceClient, "connect", connect)
        return made

    async def test_each_client_asks_once(self, server: FakeTemporal) -> None:
        all_of_them = connections(prod=Integration())
        asked = [all_of_them.server_version(name) for name in ("prod", "Prod", "prod")]
        assert await asyncio.gather(*asked) == ["1.32.0"] * 3
        assert server.asked_for_version == 1

    async def test_another_client_asks_again(self, server: FakeTemporal) -> None:
        settings = {"prod": Integration()}
        all_of_them = Connections(FakeIntegrations(settings))
        await all_of_them.server_version("prod")
        settings["prod"] = Integration(endpoint="elsewhere:7233")
        server.version = "1.27.2"
        all_of_them.keep({"prod"})
        assert await all_of_them.server_version("prod") == "1.27.2"
        all_of_them.keep(set())
        await all_of_them.server_version("prod")
        assert server.asked_for_version == 3

    async def test_a_server_that_hides_it_has_none(self, server: FakeTemporal) -> None:
        server.hides_version = RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")
        assert await connections(prod=Integration()).server_version("prod") == ""


class TestCredentials:
    async def test_without_credentials_the_connection_is_plain(
        self, connected: list[ConnectConfig]
    ) -> None:
        made = await options(connected, endpoint="temporal:7233")
        assert made.target_host == "temporal:7233"
        assert (made.api_key, made.tls) == (None, False)

    async def test_an_api_key_is_passed_on_over_tls(self, connected: list[ConnectConfig]) -> None:
        made = await options(connected, api_key="s3cret")
        assert (made.api_key, made.tls) == ("s3cret", True)

    async def test_an_api_key_can_come_from_a_file(
        self, connected: list[ConnectConfig], tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        file.write_text("s3cret\n")
        made = await options(connected, api_key_file=file)
        assert (made.api_key, made.tls) == ("s3cret", True)

    async def test_an_api_key_without_tls_is_possible(self, connected: list[ConnectConfig]) -> None:
        made = await options(connected, api_key="s3cret", tls="off")
        assert (made.api_key, made.tls) == ("s3cret", False)

    async def test_certificate_key_authority_and_server_name_are_read_from_files(
        self, connected: list[ConnectConfig], tmp_path: Path
    ) -> None:
        made = await options(
            connected,
            tls_ca_file=AUTHORITY.write(tmp_path),
            **PAIR.write(tmp_path),
            tls_server_name="temporal.internal",
        )
        assert made.tls == TLSConfig(
            server_root_ca_cert=AUTHORITY.certificate,
            client_cert=PAIR.certificate,
            client_private_key=PAIR.key,
            domain="temporal.internal",
        )

    async def test_certificates_can_be_given_as_text(self, connected: list[ConnectConfig]) -> None:
        made = await options(
            connected, tls_cert=PAIR.certificate.decode().strip(), tls_key=PAIR.key.decode().strip()
        )
        assert made.tls == TLSConfig(
            client_cert=PAIR.certificate.strip(), client_private_key=PAIR.key.strip()
        )

    async def test_an_api_key_and_a_certificate_go_together(
        self, connected: list[ConnectConfig], pem: Path
    ) -> None:
        made = await options(connected, api_key="s3cret", tls_ca_file=pem)
        assert made.api_key == "s3cret"
        assert made.tls == TLSConfig(server_root_ca_cert=AUTHORITY.certificate)

    async def test_headers_are_passed_on(self, connected: list[ConnectConfig]) -> None:
        made = await options(connected, metadata={"x-tenant": SecretStr("s3cret")})
        assert made.rpc_metadata == {"x-tenant": "s3cret"}

    @pytest.mark.parametrize("field", ["api_key_file", "tls_ca_file"])
    async def test_the_error_of_a_missing_file_names_it_and_says_what_to_do(
        self, tmp_path: Path, field: str
    ) -> None:
        missing = tmp_path / "missing"
        with pytest.raises(IntegrationError) as caught:
            await connections(prod=Integration(**{field: missing})).client("prod")
        assert str(caught.value).startswith("integration prod: a credential file cannot be read")
        assert str(missing) in str(caught.value)
        assert "check the path" in str(caught.value)

    async def test_an_api_key_that_is_not_text_is_an_integration_error(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(IntegrationError, match="integration prod"):
            await connections(prod=Integration(api_key_file=file)).client("prod")

    async def test_after_a_failure_the_file_is_read_again(
        self, connected: list[ConnectConfig], tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        all_of_them = connections(prod=Integration(api_key_file=file))
        with pytest.raises(IntegrationError):
            await all_of_them.client("prod")
        file.write_text("s3cret")
        await all_of_them.client("prod")
        assert connected[0].api_key == "s3cret"

    async def test_settings_that_temporals_client_refuses_are_an_integration_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def connect(_config: ConnectConfig) -> FakeClient:
            raise ValueError("invalid domain")

        monkeypatch.setattr(ServiceClient, "connect", connect)
        with pytest.raises(IntegrationError, match="does not take these settings"):
            await connections(prod=Integration()).client("prod")

    async def test_the_real_client_is_made_without_a_server(self) -> None:
        client = await connections(prod=Integration(api_key="s3cret")).client("prod")
        assert client.config.target_host == "localhost:7233"

    @pytest.mark.parametrize(
        ("parts", "words"),
        [
            pytest.param({"api_key_file": b" \n"}, "is empty", id="empty-key"),
            pytest.param({"api_key_file": b"two\nlines"}, "characters", id="key-of-two-lines"),
            pytest.param({"tls_ca_file": b"rubbish"}, "TLS_CA_FILE holds no certificate", id="ca"),
            pytest.param(
                {"tls_cert_file": b"rubbish", "tls_key_file": PAIR.key},
                "TLS_CERT_FILE holds no certificate",
                id="certificate",
            ),
            pytest.param(
                {"tls_cert_file": PAIR.certificate, "tls_key_file": b"s3cret-rubbish"},
                "TLS_KEY_FILE holds no private key",
                id="key",
            ),
            pytest.param(
                {"tls_cert_file": PAIR.certificate, "tls_key_file": protected(PAIR.key)},
                "protected by a passphrase",
                id="protected-key",
            ),
            pytest.param(
                {"tls_cert_file": PAIR.certificate, "tls_key_file": AUTHORITY.client().key},
                "do not belong together",
                id="key-of-another",
            ),
        ],
    )
    async def test_the_error_of_a_wrong_file_names_its_setting_and_what_is_wrong(
        self, tmp_path: Path, parts: dict[str, bytes], words: str
    ) -> None:
        for name, content in parts.items():
            (tmp_path / name).write_bytes(content)
        broken = Integration(**{name: tmp_path / name for name in parts})
        with pytest.raises(IntegrationError) as caught:
            await connections(prod=broken).client("prod")
        assert str(caught.value).startswith("integration prod: ")
        assert words in str(caught.value)
        assert "s3cret" not in str(caught.value)


def rotate(file: Path) -> None:
    """Put another API key into a file."""
    file.write_text("second-key\n")


class TestRotation:
    """Credentials that change between two ticks."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "key"
        file.write_text("first-key")
        return file

    async def test_the_present_client_gets_a_changed_api_key(
        self, connected: list[ConnectConfig], file: Path
    ) -> None:
        all_of_them = connections(prod=Integration(api_key_file=file))
        client = await all_of_them.client("prod")
        rotate(file)
        all_of_them.keep(["prod"])
        assert await all_of_them.client("prod") is client
        assert client.api_key == "second-key"
        assert len(connected) == 1

    async def test_within_one_tick_credentials_are_read_once(
        self, connected: list[ConnectConfig], file: Path
    ) -> None:
        all_of_them = connections(prod=Integration(api_key_file=file))
        await all_of_them.client("prod")
        rotate(file)
        assert (await all_of_them.client("prod")).api_key == "first-key"
        assert len(connected) == 1

    async def test_the_present_client_gets_changed_headers(
        self, connected: list[ConnectConfig]
    ) -> None:
        known = {"prod": Integration(metadata={"x-tenant": "first"})}
        all_of_them = Connections(FakeIntegrations(known))
        client = await all_of_them.client("prod")
        known["prod"] = Integration(metadata={"x-tenant": "second"})
        all_of_them.keep(["prod"])
        assert (await all_of_them.client("prod")) is client
        assert client.rpc_metadata == {"x-tenant": "second"}
        assert len(connected) == 1

    async def test_a_changed_certificate_makes_a_new_client(
        self, connected: list[ConnectConfig], tmp_path: Path
    ) -> None:
        all_of_them = connections(prod=Integration(**PAIR.write(tmp_path)))
        before = await all_of_them.client("prod")
        other = AUTHORITY.client()
        other.write(tmp_path)
        all_of_them.keep(["prod"])
        assert await all_of_them.client("prod") is not before
        tls = connected[1].tls
        assert isinstance(tls, TLSConfig)
        assert tls.client_cert == other.certificate

    async def test_a_changed_endpoint_makes_a_new_client(
        self, connected: list[ConnectConfig]
    ) -> None:
        known = {"prod": Integration()}
        all_of_them = Connections(FakeIntegrations(known))
        await all_of_them.client("prod")
        known["prod"] = Integration(endpoint="elsewhere:7233")
        all_of_them.keep(["prod"])
        await all_of_them.client("prod")
        assert [made.target_host for made in connected] == ["localhost:7233", "elsewhere:7233"]

    @pytest.mark.parametrize("broken", ["half", "missing", "unmatched"])
    async def test_in_the_middle_of_a_rotation_the_present_client_stays(
        self, connected: list[ConnectConfig], tmp_path: Path, broken: str
    ) -> None:
        all_of_them = connections(prod=Integration(**PAIR.write(tmp_path)))
        client = await all_of_them.client("prod")
        other = AUTHORITY.client()
        if broken == "half":
            (tmp_path / "client.pem").write_bytes(other.certificate[:200])
        elif broken == "missing":
            (tmp_path / "client.pem").unlink()
        else:
            (tmp_path / "client.pem").write_bytes(other.certificate)
        all_of_them.keep(["prod"])
        assert await all_of_them.client("prod") is client
        (report,) = all_of_them.reports({"prod": [None]})
        assert report.up
        assert report.error is not None
        assert report.error.endswith("until then the previous credentials are used")

        other.write(tmp_path)
        all_of_them.keep(["prod"])
        assert await all_of_them.client("prod") is not client
        (report,) = all_of_them.reports({"prod": [None]})
        assert report.error is None
        assert len(connected) == 2

    async def test_a_client_that_no_service_uses_any_more_is_closed(
        self, connected: list[ConnectConfig]
    ) -> None:
        all_of_them = connections(prod=Integration(), test=Integration())
        await all_of_them.client("prod")
        await all_of_them.client("test")
        all_of_them.keep(["test"])
        await all_of_them.client("prod")
        await all_of_them.client("test")
        assert len(connected) == 3


def token(expires: datetime) -> str:
    """Make a JSON Web Token with an expiry."""
    payload = json.dumps({"exp": expires.timestamp()}).encode()
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.c2ln"


class TestReports:
    async def test_an_integration_that_nothing_uses_is_neither_up_nor_down(
        self, connected: list[ConnectConfig]
    ) -> None:
        (report,) = connections(prod=Integration(endpoint="prod:7233", namespace="shop")).reports(
            {}
        )
        assert (report.name, report.endpoint, report.namespace) == ("prod", "prod:7233", "shop")
        assert (report.origin, report.up, report.error) == ("a test", None, None)
        assert connected == []

    async def test_an_integration_is_up_when_one_of_its_namespaces_answers(self) -> None:
        used = connections(prod=Integration())
        assert [
            (report.up, report.error)
            for outcome in ([None], [None, "no shop"], ["down", "down"])
            for report in used.reports({"prod": outcome})
        ] == [(True, None), (True, "no shop"), (False, "down")]

    async def test_an_unknown_integration_has_no_report(self) -> None:
        assert connections().reports({"prod": ["not known"]}) == ()

    @pytest.mark.parametrize(
        ("parts", "days"),
        [
            pytest.param({"api_key": token(START + timedelta(days=9))}, 9, id="token"),
            pytest.param({"api_key": "no-token"}, None, id="any-other-key"),
            pytest.param({"api_key": "a.b.c"}, None, id="three-parts-that-are-no-token"),
            pytest.param({}, None, id="nothing"),
        ],
    )
    async def test_the_expiry_of_an_api_key_is_read_where_it_is_a_token(
        self, connected: list[ConnectConfig], parts: dict[str, str], days: int | None
    ) -> None:
        used = connections(prod=Integration(**parts))
        await used.client("prod")
        (report,) = used.reports({"prod": [None]})
        assert report.expires_at == (None if days is None else START + timedelta(days=days))
        assert len(connected) == 1

    async def test_the_earliest_expiry_counts(
        self, connected: list[ConnectConfig], tmp_path: Path
    ) -> None:
        soon: Pair = AUTHORITY.client(valid_for=timedelta(days=3))
        late = datetime.now(UTC) + timedelta(days=400)
        used = connections(prod=Integration(api_key=token(late), **soon.write(tmp_path)))
        await used.client("prod")
        (report,) = used.reports({"prod": [None]})
        assert report.expires_at is not None
        assert report.expires_at < datetime.now(UTC) + timedelta(days=4)
        assert len(connected) == 1


class TestExplain:
    async def test_the_advice_depends_on_the_settings_of_the_integration(self) -> None:
        error = RPCError("so it is", RPCStatusCode.UNAUTHENTICATED, b"")
        line = connections(prod=Integration()).explain(error, "prod", "shop", "reading")
        assert line == (
            "integration prod: reading failed (UNAUTHENTICATED: so it is);"
            " integration prod has no API key: set API_KEY_FILE"
        )

    async def test_an_integration_that_was_just_removed_is_explained(
        self, connected: list[ConnectConfig]
    ) -> None:
        known = {"prod": Integration(endpoint="prod:7233", api_key="s3cret-key")}
        used = Connections(FakeIntegrations(known))
        await used.client("prod")
        known.clear()
        error = RPCError("no", RPCStatusCode.UNAUTHENTICATED, b"")
        assert "check the API key" in used.explain(error, "prod", "shop", "reading")
        assert used.endpoint("Prod") == "prod:7233"
        assert len(connected) == 1

    async def test_an_expired_key_is_named_as_the_cause(
        self, connected: list[ConnectConfig]
    ) -> None:
        known = FakeIntegrations({"prod": Integration(api_key=token(START - timedelta(days=1)))})
        used = Connections(known, clock=Clock())
        await used.client("prod")
        error = RPCError("no", RPCStatusCode.UNAUTHENTICATED, b"")
        line = used.explain(error, "prod", "shop", "reading")
        assert line.endswith("; its credential expired on 2025-12-31: replace it")
        assert len(connected) == 1

    async def test_a_secret_that_the_server_repeats_is_hidden(
        self, connected: list[ConnectConfig]
    ) -> None:
        known = FakeIntegrations({"prod": Integration(api_key="s3cret-key")})
        used = Connections(known, redactor=Redactor())
        await used.client("prod")
        error = RPCError("no such key: s3cret-key", RPCStatusCode.UNAUTHENTICATED, b"")
        line = used.explain(error, "prod", "shop", "reading")
        assert "UNAUTHENTICATED: no such key: [hidden]" in line
        assert len(connected) == 1
