"""Situations for `decide`: each decision is explained, bounded, and careful with what is unknown.

Hypothesis draws a situation, and each of VARIANTS is tried in it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.advice import advise
from autoscaler.core.backlog import Backlog, UnknownBacklog
from autoscaler.core.decide import decide, wants_in_flight
from autoscaler.core.in_flight import InFlight, Standing, UnknownInFlight, standings
from autoscaler.core.label_values import Busy
from autoscaler.core.situation import Decision, Situation
from tests.faults.fuzz_inputs import Outcomes, Test
from tests.unit.builders import UNKNOWN, backlog, codes, highest, is_left_alone, lowest
from tests.unit.core.strategies import in_flight_situations, situations

BACKLOGS: list[Backlog | UnknownBacklog] = [UNKNOWN, *map(backlog, (0, 1, 3, 10, 30, 1_000, 10**6))]
VARIANTS = list(product(BACKLOGS, (0, 1, 2, 5, 8, 60)))
"""Backlogs and numbers of replicas."""
USUAL = timedelta(seconds=5)
"""The time between two looks."""
GAPS = st.sampled_from([-86_400, -6, 61, 181, 86_400]).map(lambda gap: timedelta(seconds=gap))
"""Time beyond the usual in which nobody looked, or by which the clock was set back."""


def of_decisions(outcomes: Outcomes, _: Path) -> Test:
    """Try situations, with each of VARIANTS in them."""

    @given(situations() | in_flight_situations(), GAPS)
    def test(drawn: Situation, gap: timedelta) -> None:
        for waiting, replicas in VARIANTS:
            check(replace(drawn, backlog=waiting, replicas=replicas))
            outcomes["decisions"] += 1
        check_gap(drawn, gap)

    return test


def check(situation: Situation) -> None:
    """Decide twice, and check what holds of every decision."""
    decision = decide(situation)
    assert decide(situation) == decision, "another decision on the same situation"
    assert len(set(codes(decision))) == len(decision.reasons), "a reason is given twice"
    texts = [*map(str, decision.reasons), *advise(situation, decision.history)]
    assert all(text and len(text.splitlines()) == 1 for text in texts), texts
    if is_left_alone(situation):
        assert decision.desired == situation.replicas, "a service that may not be scaled"
        assert not wants_in_flight(situation)
        return
    check_bounds(situation, decision)
    check_unknown_backlog(situation, decision)
    check_protection(situation, decision)


def check_gap(situation: Situation, gap: timedelta) -> None:
    """Check that time in which nobody looked changes no decision."""
    # Heartbeats go by clocks of their own: a report that was fresh is not, an hour later.
    blind = replace(situation, in_flight=None, history=decide(situation).history)
    usual, late = blind.now + USUAL, blind.now + USUAL + gap
    decision = decide(replace(blind, now=usual))
    ending = blind.ending
    if ending is not None and ending.retry_at is not None:
        # The pause after a crash is measured by the orchestrator, and passes while nobody looks.
        ending = replace(ending, retry_at=ending.retry_at + gap)
    history = blind.history.resumed(late, USUAL)
    resumed = decide(replace(blind, history=history, ending=ending, now=late))
    assert resumed.desired == decision.desired, "a gap between two looks changed the decision"
    assert resumed.reasons == decision.reasons, "a gap between two looks changed the reasons"


def check_bounds(situation: Situation, decision: Decision) -> None:
    """Check min, max and ceiling. Only busy replicas may exceed max and ceiling."""
    most = highest(situation)
    if situation.in_flight is not None and situation.spec.busy is not Busy.IGNORE:
        most = max(most, situation.replicas)
    assert lowest(situation) <= decision.desired <= most, "outside the bounds"


def check_unknown_backlog(situation: Situation, decision: Decision) -> None:
    """Check that an unknown backlog is not taken for an empty one."""
    fallback = situation.spec.fallback
    may_shrink = fallback.replicas is not None and not fallback.at_least
    if isinstance(situation.backlog, UnknownBacklog) and not may_shrink:
        least = min(situation.replicas, highest(situation))
        assert decision.desired >= least, "an unknown backlog made a service shrink"


def check_protection(situation: Situation, decision: Decision) -> None:
    """Check that no more replicas go than are known to be idle or leaving."""
    in_flight, gone = situation.in_flight, situation.replicas - decision.desired
    if gone <= 0 or situation.spec.busy is Busy.IGNORE or in_flight is None:
        return
    assert not isinstance(in_flight, UnknownInFlight), "unknown was taken for idle"
    assert isinstance(in_flight, InFlight)
    if in_flight.workers:
        known = standings(in_flight, situation.now).values()
        free = sum(each in (Standing.IDLE, Standing.LEAVING) for each in known)
        assert gone <= free, "a replica goes that is not known to be idle"
