"""What a decided service claims, and how full a limit is."""

from __future__ import annotations

import pytest

from autoscaler.core.claims import claim_of, in_use
from autoscaler.core.decide import decide
from autoscaler.core.label_values import Mode
from autoscaler.core.model import ServiceId
from autoscaler.core.share import Claim, Limit
from autoscaler.core.situation import Situation
from tests.unit.builders import situation

ORDERS = ServiceId("compose", "shop/orders")
MAILS = ServiceId("compose", "shop/mails")


def claim(given: Situation, draining: int = 0) -> Claim:
    return claim_of(ORDERS, given, decide(given), draining=draining, costs={"group gpu": 1})


class TestClaims:
    def test_a_service_claims_its_wish_and_what_it_has(self) -> None:
        given = situation(waiting=95, replicas=3, min=2, max=20, priority=5, weight=2.0)
        assert claim(given, draining=1) == Claim(
            ORDERS, 10, least=2, replicas=3, draining=1, priority=5, weight=2.0,
            costs={"group gpu": 1},
        )  # fmt: skip

    @pytest.mark.parametrize("mode", [Mode.OFF, Mode.DRY_RUN])
    def test_what_is_never_changed_wishes_for_what_it_has(self, mode: Mode) -> None:
        found = claim(situation(waiting=95, replicas=3, mode=mode))
        assert (found.wished, found.keeps) == (3, True)

    def test_so_does_what_cannot_be_scaled_now(self) -> None:
        found = claim(situation(waiting=95, replicas=3, refusal="it is being updated"))
        assert (found.wished, found.keeps) == (3, True)

    def test_nothing_is_taken_back_where_nobody_knows_whether_it_is_needed(self) -> None:
        assert claim(situation(waiting=None, replicas=3)).keeps
        assert not claim(situation(waiting=0, replicas=3)).keeps

    def test_nothing_is_taken_back_where_somebody_said_so(self) -> None:
        assert claim(situation(waiting=0, replicas=3, mode=Mode.PAUSE_IN)).keeps


def test_a_limit_is_used_by_what_runs_and_drains_of_its_members() -> None:
    gpu = {"group gpu": 1}
    claims = [
        Claim(ORDERS, wished=20, replicas=5, draining=2, costs=gpu),
        Claim(MAILS, wished=4, replicas=4),
    ]
    report = in_use(Limit("group gpu", 8), claims)
    assert (report.name, report.most, report.replicas, report.wished) == ("group gpu", 8, 7, 20)
