"""Integrations by name: from the settings, then the store, then Temporal's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.core.errors import ConfigurationError, IntegrationError
from autoscaler.core.integration import Integration
from autoscaler.integrations.order import Integrations
from autoscaler.integrations.store import EncryptedStore

PROD = Integration(endpoint="prod:7233")
FALLBACK = Integration(endpoint="fallback:7233")


@pytest.mark.parametrize("name", ["prod_eu", "PROD-EU", "Prod-Eu"])
def test_case_and_dashes_of_a_name_do_not_matter(name: str) -> None:
    assert Integrations({"prod_eu": PROD}, Integration).get(name) is PROD


@pytest.mark.parametrize("name", ["default", "DEFAULT"])
def test_default_falls_back_to_temporals_own_configuration(name: str) -> None:
    assert Integrations({"prod": PROD}, lambda: FALLBACK).get(name) is FALLBACK


def test_a_default_of_our_own_comes_first() -> None:
    assert Integrations({"default": PROD}, lambda: FALLBACK).get("default") is PROD


def test_the_fallback_is_looked_up_when_it_is_needed_and_once() -> None:
    looks = []

    def fallback() -> Integration:
        looks.append(1)
        return FALLBACK

    integrations = Integrations({"prod": PROD}, fallback)
    integrations.get("prod")
    assert looks == []
    integrations.get("default")
    integrations.get("default")
    assert looks == [1]


def test_a_fallback_that_cannot_be_used_is_an_error_of_the_integration() -> None:
    def fallback() -> Integration:
        raise ConfigurationError(["temporal.toml is broken"])

    with pytest.raises(IntegrationError) as caught:
        Integrations({}, fallback).get("default")
    assert str(caught.value) == "integration default: temporal.toml is broken"


def test_an_unknown_name_comes_with_the_known_ones_and_what_to_set() -> None:
    with pytest.raises(IntegrationError) as caught:
        Integrations({"prod": PROD}, Integration).get("Pord-EU")
    assert str(caught.value) == (
        "integration Pord-EU is not known (known: default, prod);"
        " set AUTOSCALER_INTEGRATIONS__PORD_EU__ENDPOINT and __NAMESPACE,"
        " run `autoscaler integrations add pord_eu`, or correct the label"
    )


@pytest.fixture
def store(tmp_path: Path) -> EncryptedStore:
    """A store with an integration of its own, and one whose name the settings have too."""
    made = EncryptedStore(tmp_path / "integrations")
    made.add("cloud", Integration(endpoint="stored:7233"))
    made.add("prod", Integration(endpoint="stored:7233"))
    return made


def test_the_store_comes_after_the_settings(store: EncryptedStore) -> None:
    known = Integrations({"prod": PROD}, Integration, origins={"prod": ".env"}, store=store)
    assert known.get("prod") is PROD
    assert known.origin("prod") == ".env"
    assert known.get("Cloud").endpoint == "stored:7233"
    assert known.origin("Cloud") == "encrypted store"
    assert known.names() == ["cloud", "prod"]


def test_the_store_comes_before_temporals_own_configuration(store: EncryptedStore) -> None:
    known = Integrations({}, lambda: FALLBACK, store=store)
    assert (known.get("default"), known.origin("default")) == (
        FALLBACK,
        "Temporal's environment configuration",
    )
    store.add("default", PROD)
    assert (known.get("default"), known.origin("default")) == (PROD, "encrypted store")


def test_one_that_is_stored_meanwhile_is_known_at_once(tmp_path: Path) -> None:
    known = Integrations({}, Integration, store=EncryptedStore(tmp_path / "integrations"))
    assert known.names() == []
    EncryptedStore(tmp_path / "integrations").add("late", PROD)
    assert known.get("late") == PROD


def test_a_store_that_cannot_be_read_hides_only_what_may_be_in_it(
    store: EncryptedStore, tmp_path: Path
) -> None:
    (tmp_path / "integrations.key").unlink()
    known = Integrations({"prod": PROD}, Integration, store=store)
    assert known.get("prod") is PROD
    for name in ("cloud", "default", "typo"):
        with pytest.raises(IntegrationError, match="the key of the store"):
            known.get(name)
    with pytest.raises(IntegrationError, match="the key of the store"):
        known.names()
