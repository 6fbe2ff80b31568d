"""What the daemon and the agents say to each other, and how it is signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError

from autoscaler.core import agent_messages
from autoscaler.core.agent_messages import (
    CLOCKS_MAY_DIFFER,
    DrainBody,
    Freshness,
    Request,
    Signer,
    StateBody,
    Verb,
    same,
)

NONCE, OTHER_NONCE = "0123" * 4, "4567" * 4
NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1)
SIGNER = Signer(SecretStr("a secret that is long enough for us"))
REQUEST = Request.at(NOW, Verb.DRAIN, "node1", NONCE, b"{}")
SECOND = timedelta(seconds=1)


def request(at: datetime = NOW, nonce: str = NONCE) -> Request:
    return Request.at(at, Verb.STATE, "node1", nonce, b"{}")


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, verb="state"),
        replace(REQUEST, node="node2"),
        replace(REQUEST, time=str(int(REQUEST.time) + 1)),
        replace(REQUEST, nonce=OTHER_NONCE),
        replace(REQUEST, body=b"{ }"),
        replace(REQUEST, verb='drain", "node1', node=""),
    ],
    ids=["verb", "node", "time", "nonce", "body", "moved"],
)
def test_a_signature_covers_every_part_of_a_request(changed: Request) -> None:
    assert not same(SIGNER.of_request(changed), SIGNER.of_request(REQUEST))


def test_another_secret_signs_otherwise() -> None:
    other = Signer(SecretStr("another secret, long enough as well"))

    assert not same(other.of_request(REQUEST), SIGNER.of_request(REQUEST))


def test_an_answer_belongs_to_one_request_and_says_one_thing() -> None:
    signature = SIGNER.of_answer(NONCE, 200, b"{}")

    assert same(signature, SIGNER.of_answer(NONCE, 200, b"{}"))
    assert not same(signature, SIGNER.of_answer(OTHER_NONCE, 200, b"{}"))
    assert not same(signature, SIGNER.of_answer(NONCE, 403, b"{}"))
    assert not same(signature, SIGNER.of_answer(NONCE, 200, b"{ }"))


def test_a_signature_that_is_no_ascii_is_only_wrong() -> None:
    assert not same("é", SIGNER.of_request(REQUEST))


def test_a_request_is_accepted_once() -> None:
    freshness = Freshness(LONG_AGO)

    assert freshness.problem(request(), NOW) is None
    assert freshness.problem(request(), NOW) == "the request was sent before"
    assert freshness.problem(request(), NOW + CLOCKS_MAY_DIFFER) == "the request was sent before"
    assert freshness.problem(request(nonce=OTHER_NONCE), NOW) is None


@pytest.mark.parametrize("apart", [-CLOCKS_MAY_DIFFER, CLOCKS_MAY_DIFFER])
def test_clocks_may_differ_by_30_s_and_no_more(apart: timedelta) -> None:
    further = apart + SECOND * (1 if apart > timedelta() else -1)

    assert Freshness(LONG_AGO).problem(request(NOW + apart), NOW) is None
    problem = Freshness(LONG_AGO).problem(request(NOW + further), NOW)
    assert problem is not None
    assert "31 s" in problem
    assert ("behind" if apart < timedelta() else "ahead of") in problem


def test_what_was_signed_before_the_agent_began_may_have_been_followed_already() -> None:
    freshness = Freshness(NOW)

    assert "start of this agent" in str(freshness.problem(request(NOW - SECOND), NOW + SECOND))
    assert freshness.problem(request(NOW + SECOND), NOW + SECOND) is None


def test_nothing_can_be_replayed_where_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_messages, "MOST_NONCES", 2)
    freshness = Freshness(LONG_AGO)
    assert freshness.problem(request(), NOW) is None
    later = NOW + timedelta(minutes=5)
    # With the third one, the first one is forgotten.
    for nonce in (OTHER_NONCE, "89ab" * 4):
        assert freshness.problem(request(later, nonce), later) is None

    assert freshness.problem(request(), NOW) is not None


def test_a_memory_that_is_full_accepts_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_messages, "MOST_NONCES", 2)
    freshness = Freshness(LONG_AGO)
    for nonce in ("1" * 16, "2" * 16):
        assert freshness.problem(request(nonce=nonce), NOW) is None

    assert "too many" in str(freshness.problem(request(nonce="3" * 16), NOW))
    assert "sent before" in str(freshness.problem(request(nonce="1" * 16), NOW))
    later = NOW + 3 * CLOCKS_MAY_DIFFER
    assert freshness.problem(request(later, "3" * 16), later) is None


@pytest.mark.parametrize("time", ["", "now", "-1", "1e9", "1" * 17, "9" * 16, "²"])
def test_a_time_that_is_no_time_is_refused(time: str) -> None:
    wrong = replace(request(), time=time)

    assert Freshness(LONG_AGO).problem(wrong, NOW) == "its time is no time"


@pytest.mark.parametrize("grace", [-1, 86401, "inf", "nan"])
def test_a_grace_is_from_0_to_24_hours(grace: object) -> None:
    given = {"service": "s1", "container": "a" * 64, "grace": grace}

    with pytest.raises(ValidationError):
        DrainBody.model_validate(given)
    assert DrainBody.model_validate({**given, "grace": 86400}).grace == 86400


@pytest.mark.parametrize("container", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "../" + "a" * 61])
def test_a_container_is_named_by_its_whole_id(container: str) -> None:
    with pytest.raises(ValidationError):
        StateBody(service="s1", containers=(container,))


@pytest.mark.parametrize("nonce", ["", "a" * 15, "a" * 65])
def test_a_nonce_is_neither_guessable_nor_endless(nonce: str) -> None:
    assert "nonce" in str(Freshness(LONG_AGO).problem(request(nonce=nonce), NOW))
