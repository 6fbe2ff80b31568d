"""Which projects a daemon looks after: its own, all, or those that were named."""

from __future__ import annotations

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.core.territory import Surroundings, Territory, misnamed

SHOP, MAIL, EVERY = Territory(frozenset({"shop"})), Territory(frozenset({"mail"})), Territory(None)
BOTH = Territory(frozenset({"shop", "mail"}))


@pytest.mark.parametrize(
    ("wanted", "own", "words"),
    [
        (["auto"], "shop", "project shop"),
        (["auto"], None, "all projects"),
        (["*"], "shop", "all projects"),
        (["mail"], "shop", "project mail"),
        (["shop", "mail"], None, "projects mail, shop"),
    ],
)
def test_what_the_setting_means(wanted: list[str], own: str | None, words: str) -> None:
    found = Territory.of(wanted, own, "it belongs to none")
    assert str(found) == words
    assert (found.because == "it belongs to none") is (wanted == ["auto"] and own is None)


@pytest.mark.parametrize(
    ("territory", "project", "included"),
    [(SHOP, "shop", True), (SHOP, "mail", False), (SHOP, None, False), (EVERY, None, True)],
)
def test_what_it_includes(territory: Territory, project: str | None, included: bool) -> None:  # noqa: FBT001 - a column of the table
    assert territory.includes(project) is included


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (SHOP, MAIL, None),
        (SHOP, BOTH, "project shop"),
        (SHOP, EVERY, "project shop"),
        (EVERY, EVERY, "all projects"),
    ],
)
def test_what_two_share(one: Territory, other: Territory, both: str | None) -> None:
    for shared in (one.shared(other), other.shared(one)):
        assert (None if shared is None else str(shared)) == both


class TestNames:
    def test_one_that_matches_nothing_names_what_there_is(self) -> None:
        territory = Territory.of(["shpo", "mail"], None, "")
        (warning,) = misnamed(territory, {"shop", "mail"})
        assert "names 'shpo'" in warning
        assert "the nearest is shop; there are: mail, shop" in warning

    def test_where_nothing_is_there_that_is_said(self) -> None:
        (warning,) = misnamed(Territory.of(["shop"], None, ""), ())
        assert "there are: none" in warning

    @pytest.mark.parametrize("wanted", ["auto", "*"])
    def test_a_project_that_nobody_named_cannot_be_misnamed(self, wanted: str) -> None:
        assert list(misnamed(Territory.of([wanted], "shop", ""), ())) == []


def test_what_two_orchestrators_saw_is_joined() -> None:
    worker, mailer = ServiceId("compose", "shop/worker"), ServiceId("swarm", "mail_worker")
    joined = Surroundings.joined(
        [
            Surroundings(frozenset({"shop"}), (worker,)),
            Surroundings(frozenset({"mail"}), (mailer,)),
        ]
    )
    assert joined == Surroundings(frozenset({"shop", "mail"}), (worker, mailer))
