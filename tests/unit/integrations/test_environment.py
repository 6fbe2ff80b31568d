"""Integrations by name, from the process's own configuration."""

from __future__ import annotations

import pytest

from autoscaler.core.errors import ConfigurationError, IntegrationError
from autoscaler.core.integration import Integration
from autoscaler.integrations.environment import EnvironmentIntegrations

PROD = Integration(endpoint="prod:7233")
FALLBACK = Integration(endpoint="fallback:7233")


@pytest.mark.parametrize("name", ["prod_eu", "PROD-EU", "Prod-Eu"])
def test_case_and_dashes_of_a_name_do_not_matter(name: str) -> None:
    assert EnvironmentIntegrations({"prod_eu": PROD}, Integration).get(name) is PROD


@pytest.mark.parametrize("name", ["default", "DEFAULT"])
def test_default_falls_back_to_temporals_own_configuration(name: str) -> None:
    assert EnvironmentIntegrations({"prod": PROD}, lambda: FALLBACK).get(name) is FALLBACK


def test_a_default_of_our_own_comes_first() -> None:
    assert EnvironmentIntegrations({"default": PROD}, lambda: FALLBACK).get("default") is PROD


def test_the_fallback_is_looked_up_when_it_is_needed_and_once() -> None:
    looks = []

    def fallback() -> Integration:
        looks.append(1)
        return FALLBACK

    integrations = EnvironmentIntegrations({"prod": PROD}, fallback)
    integrations.get("prod")
    assert looks == []
    integrations.get("default")
    integrations.get("default")
    assert looks == [1]


def test_a_fallback_that_cannot_be_used_is_an_error_of_the_integration() -> None:
    def fallback() -> Integration:
        raise ConfigurationError(["temporal.toml is broken"])

    with pytest.raises(IntegrationError) as caught:
        EnvironmentIntegrations({}, fallback).get("default")
    assert str(caught.value) == "integration default: temporal.toml is broken"


def test_an_unknown_name_comes_with_the_known_ones_and_what_to_set() -> None:
    with pytest.raises(IntegrationError) as caught:
        EnvironmentIntegrations({"prod": PROD}, Integration).get("Pord-EU")
    assert str(caught.value) == (
        "integration Pord-EU is not known (known: default, prod);"
        " set AUTOSCALER_INTEGRATIONS__PORD_EU__ENDPOINT and __NAMESPACE, or correct the label"
    )
