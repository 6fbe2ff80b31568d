"""Integrations: where a connection leads, and which settings contradict each other."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from autoscaler.core.integration import Integration, canonical


@pytest.mark.parametrize("name", ["prod-eu", "PROD_EU", " Prod-Eu ", "prod_eu"])
def test_case_and_dashes_do_not_matter_in_a_name(name: str) -> None:
    assert canonical(name) == "prod_eu"


def test_an_integration_without_settings_leads_to_the_local_server() -> None:
    integration = Integration()
    assert (integration.endpoint, integration.namespace) == ("localhost:7233", "default")
    assert not integration.uses_tls


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param("localhost:7233", id="host-and-port"),
        pytest.param("my-ns.a1b2c.tmprl.cloud:7233", id="cloud"),
        pytest.param("[::1]:7233", id="ipv6"),
        pytest.param("h:65535", id="last-port"),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(endpoint: str) -> None:
    assert Integration(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param("localhost", id="no-port"),
        pytest.param("http://localhost:7233", id="a-url"),
        pytest.param(":7233", id="no-host"),
        pytest.param("localhost:grpc", id="port-by-name"),
        pytest.param("localhost:0", id="port-0"),
        pytest.param("localhost:65536", id="port-beyond-the-last"),
        pytest.param("localhost:72 33", id="space-inside"),
    ],
)
def test_any_other_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="endpoint"):
        Integration(endpoint=endpoint)


@pytest.mark.parametrize(
    ("settings", "encrypted"),
    [
        pytest.param({}, False, id="nothing-speaks-of-tls"),
        pytest.param({"api_key": "k"}, True, id="an-api-key-turns-it-on"),
        pytest.param({"api_key_file": "/k"}, True, id="an-api-key-file-turns-it-on"),
        pytest.param({"tls_ca_file": "/ca"}, True, id="an-authority-turns-it-on"),
        pytest.param({"tls_ca": "pem"}, True, id="an-authority-as-text-turns-it-on"),
        pytest.param({"tls_server_name": "s"}, True, id="a-server-name-turns-it-on"),
        pytest.param(
            {"tls_cert_file": "/c", "tls_key_file": "/k"}, True, id="a-certificate-turns-it-on"
        ),
        pytest.param({"tls": "on"}, True, id="on"),
        pytest.param({"tls": " ON "}, True, id="on-in-capitals"),
        pytest.param({"tls": "off"}, False, id="off"),
        pytest.param({"tls": "off", "api_key": "k"}, False, id="a-key-over-plain-text"),
    ],
)
def test_tls_is_on_where_the_mode_or_the_credentials_say_so(
    settings: dict[str, Any], *, encrypted: bool
) -> None:
    assert Integration(**settings).uses_tls is encrypted


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"api_key": "k", "api_key_file": "/k"}, "both set", id="two-api-keys"),
        pytest.param({"tls_cert_file": "/c"}, "belong together", id="certificate-without-key"),
        pytest.param({"tls_key_file": "/k"}, "belong together", id="key-without-certificate"),
        pytest.param({"tls": "off", "tls_ca_file": "/ca"}, "TLS is off", id="off-with-authority"),
        pytest.param({"tls": "maybe"}, "tls", id="unknown-mode"),
        pytest.param({"apikey": "k"}, "apikey", id="unknown-setting"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Integration(**settings)


def test_secrets_are_masked_wherever_an_integration_is_shown() -> None:
    integration = Integration(
        api_key="s3cret",
        tls_ca="s3cret",
        tls_cert="s3cret",
        tls_key="s3cret",
        metadata={"authorization": "s3cret"},
    )
    assert "s3cret" not in f"{integration!r} {integration} {integration.model_dump_json()}"


def test_an_empty_value_counts_as_missing() -> None:
    # What `${API_KEY:-}` in a Compose file becomes where the variable is not set.
    assert Integration.model_validate(
        {"endpoint": "", "namespace": "", "api_key": "", "api_key_file": "/key"}
    ) == Integration.model_validate({"api_key_file": "/key"})


def test_a_problem_with_a_secret_does_not_show_the_secret() -> None:
    for wrong in ({"api_key": ["planted-secret"]}, {"namespace": {"x": "planted-secret"}}):
        with pytest.raises(ValidationError) as caught:
            Integration.model_validate(wrong)
        assert "planted-secret" not in str(caught.value)
