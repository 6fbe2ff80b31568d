"""The integration that Temporal's own environment configuration describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.integration import Integration, TlsMode
from autoscaler.sources.connections.environment import temporal_environment

Env = pytest.MonkeyPatch


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Env:
    return monkeypatch


@pytest.fixture
def toml(env: Env, tmp_path: Path) -> Path:
    """The configuration file that TEMPORAL_CONFIG_FILE names."""
    file = tmp_path / "temporal.toml"
    env.setenv("TEMPORAL_CONFIG_FILE", str(file))
    return file


def secret(integration: Integration, field: str) -> str | None:
    """Return a secret in plain text."""
    value = getattr(integration, field)
    return None if value is None else str(value.get_secret_value())


def test_without_configuration_it_is_the_local_server() -> None:
    assert temporal_environment() == Integration()


def test_address_namespace_and_api_key_are_read(env: Env) -> None:
    env.setenv("TEMPORAL_ADDRESS", "temporal:7233")
    env.setenv("TEMPORAL_NAMESPACE", "shop")
    env.setenv("TEMPORAL_API_KEY", "s3cret")
    integration = temporal_environment()
    assert (integration.endpoint, integration.namespace) == ("temporal:7233", "shop")
    assert secret(integration, "api_key") == "s3cret"
    assert integration.uses_tls


def test_certificates_can_be_files(env: Env) -> None:
    env.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "/ca.pem")
    env.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", "/cert.pem")
    env.setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", "/key.pem")
    env.setenv("TEMPORAL_TLS_SERVER_NAME", "temporal.internal")
    integration = temporal_environment()
    assert integration.tls is TlsMode.ON
    assert integration.tls_ca_file == Path("/ca.pem")
    assert integration.tls_cert_file == Path("/cert.pem")
    assert integration.tls_key_file == Path("/key.pem")
    assert integration.tls_server_name == "temporal.internal"


def test_certificates_can_be_data(env: Env) -> None:
    env.setenv("TEMPORAL_TLS_SERVER_CA_CERT_DATA", "PEM of ca")
    env.setenv("TEMPORAL_TLS_CLIENT_CERT_DATA", "PEM of cert")
    env.setenv("TEMPORAL_TLS_CLIENT_KEY_DATA", "PEM of key")
    integration = temporal_environment()
    assert secret(integration, "tls_ca") == "PEM of ca"
    assert secret(integration, "tls_cert") == "PEM of cert"
    assert secret(integration, "tls_key") == "PEM of key"


def test_tls_can_be_off_with_an_api_key(env: Env) -> None:
    env.setenv("TEMPORAL_API_KEY", "s3cret")
    env.setenv("TEMPORAL_TLS", "false")
    integration = temporal_environment()
    assert integration.tls is TlsMode.OFF
    assert not integration.uses_tls


def test_headers_are_read_and_masked(env: Env) -> None:
    env.setenv("TEMPORAL_GRPC_META_X_TENANT", "s3cret")
    integration = temporal_environment()
    assert integration.metadata["x-tenant"].get_secret_value() == "s3cret"
    assert "s3cret" not in repr(integration)


def test_the_file_is_read_and_the_profile_chosen(env: Env, toml: Path) -> None:
    toml.write_text(
        '[profile.default]\naddress = "one:7233"\n\n'
        '[profile.prod]\naddress = "two:7233"\nnamespace = "live"\n'
    )
    assert temporal_environment().endpoint == "one:7233"
    env.setenv("TEMPORAL_PROFILE", "prod")
    assert temporal_environment().endpoint == "two:7233"


def test_a_variable_wins_over_the_file(env: Env, toml: Path) -> None:
    toml.write_text('[profile.default]\naddress = "one:7233"\nnamespace = "shop"\n')
    env.setenv("TEMPORAL_ADDRESS", "two:7233")
    integration = temporal_environment()
    assert (integration.endpoint, integration.namespace) == ("two:7233", "shop")


def test_a_missing_file_is_the_same_as_no_file(toml: Path) -> None:
    assert not toml.exists()
    assert temporal_environment() == Integration()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"[profile.default", "TOML", id="no-toml"),
        pytest.param(b"\xff\xfe", "utf-8", id="no-text"),
        pytest.param(b'[profile.default]\naddress = "temporal"\n', "endpoint", id="no-port"),
        pytest.param(
            b'[profile.default.tls]\nclient_cert_data = "s3cret"\n',
            "belong together",
            id="certificate-without-key",
        ),
    ],
)
def test_a_wrong_file_is_a_configuration_error(toml: Path, content: bytes, words: str) -> None:
    toml.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as caught:
        temporal_environment()
    assert str(caught.value).startswith("Temporal's environment configuration")
    assert "s3cret" not in str(caught.value)


def test_a_profile_that_does_not_exist_is_a_configuration_error(env: Env, toml: Path) -> None:
    toml.write_text("")
    env.setenv("TEMPORAL_PROFILE", "prod")
    with pytest.raises(ConfigurationError, match="prod"):
        temporal_environment()


def test_the_error_of_a_broken_file_is_one_line_and_does_not_quote_it(toml: Path) -> None:
    toml.write_text("[profile.default]\napi_key = s3cret\n")
    with pytest.raises(ConfigurationError) as caught:
        temporal_environment()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
