"""Secrets are removed from texts, wherever they occur."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from autoscaler.core.redaction import Redactor

LINES = ("MIGHAgEAMBMGByqGSM49", "AgEGCCqGSM49AwEHBG0w")
PEM = "\n".join(("-----BEGIN PRIVATE KEY-----", *LINES, "-----END PRIVATE KEY-----"))
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjE3OTU1NzIzNzB9.MEUCIQDk0f"


@pytest.fixture
def redactor() -> Redactor:
    """Return a redactor that knows two secrets, of which one is the beginning of the other."""
    made = Redactor()
    made.learn(SecretStr("planted"), None, SecretStr("planted-secret"))
    return made


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing in here", "nothing in here"),
        ("key planted-secret, again planted-secret", "key [hidden], again [hidden]"),
        ("planted-secrets and planted ones", "[hidden]s and [hidden] ones"),
    ],
)
def test_known_secrets_are_hidden_the_longest_first(
    redactor: Redactor, text: str, shown: str
) -> None:
    assert redactor.hide(text) == shown


def test_every_line_of_a_key_is_hidden() -> None:
    redactor = Redactor()
    redactor.learn(SecretStr(PEM))
    assert redactor.hide("no key: MIGHAgEAMBMGByqGSM49 ...") == "no key: [hidden] ..."
    assert redactor.hide("-----BEGIN") == "-----BEGIN"


def test_each_of_several_keys_is_hidden() -> None:
    redactor = Redactor()
    redactor.learn(SecretStr("new-secret, old-secret"))
    assert redactor.hide("old-secret or new-secret") == "[hidden] or [hidden]"


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(TOKEN, id="token"),
        pytest.param(PEM, id="private-key"),
        pytest.param(PEM.replace("\n", " "), id="private-key-in-one-line"),
        pytest.param(PEM[:60], id="first-half-of-a-private-key"),
    ],
)
def test_text_that_looks_like_a_secret_is_hidden(secret: str) -> None:
    assert Redactor().hide(f"refused: {secret}").startswith("refused: [hidden]")
    assert "MIGH" not in Redactor().hide(f"refused: {secret}")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgres://app:hunter2@db:5432/shop", "postgres://[hidden]@db:5432/shop"),
        ("redis://:hunter2@cache", "redis://[hidden]@cache"),
        ("http://proxy:3128/a@b", "http://proxy:3128/a@b"),
        ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
    ],
)
def test_a_password_in_a_url_is_hidden(text: str, hidden: str) -> None:
    assert Redactor().hide(f"no answer from {text}") == f"no answer from {hidden}"


def test_a_very_short_secret_is_not_searched_for() -> None:
    redactor = Redactor()
    redactor.learn(SecretStr("on"), SecretStr("  \n"))
    assert redactor.hide("one moment") == "one moment"
