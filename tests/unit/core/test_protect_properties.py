"""Properties of every decision that depends on what is in flight."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import hypothesis.strategies as st
from hypothesis import assume, given

from autoscaler.core.decide import decide, wants_in_flight
from autoscaler.core.in_flight import InFlight, Standing, UnknownInFlight, Worker, standings
from autoscaler.core.label_values import Busy
from autoscaler.core.model import Replica
from autoscaler.core.protect import REPORT_WITHIN
from autoscaler.core.situation import Situation
from tests.fakes.clock import START as NOW
from tests.unit.builders import HOUR, INSTANT, fleet, highest, lowest
from tests.unit.core.strategies import (
    in_flight_situations,
    relabelled,
    reports,
    scale_ins,
    situations,
    some,
)


def replicas_of(drawn: Situation) -> tuple[Replica, ...]:
    """Return the replicas that were found by the look at what is in flight."""
    assert isinstance(drawn.in_flight, InFlight)
    return drawn.in_flight.replicas


def count(drawn: Situation, *which: Standing) -> int:
    """Count the replicas with one of these standings."""
    assert isinstance(drawn.in_flight, InFlight)
    known = standings(drawn.in_flight, drawn.now)
    return sum(standing in which for standing in known.values())


def unprotected(drawn: Situation) -> int:
    """Return how many replicas there would be if nothing protected the busy ones."""
    return decide(relabelled(drawn, busy=Busy.IGNORE)).desired


@some
@given(scale_ins())
def test_no_more_replicas_go_than_are_idle_or_leaving(drawn: Situation) -> None:
    assert unprotected(drawn) < drawn.replicas
    assert decide(drawn).desired >= count(drawn, Standing.BUSY, Standing.SILENT)


@some
@given(scale_ins())
def test_protection_only_holds_back_a_scale_in(drawn: Situation) -> None:
    assert unprotected(drawn) <= decide(drawn).desired <= drawn.replicas


@some
@given(scale_ins())
def test_where_all_replicas_are_idle_and_choosable_none_is_protected(drawn: Situation) -> None:
    found = tuple(replace(each, host=each.id, choosable=True) for each in replicas_of(drawn))
    workers = tuple(
        Worker(each.id, each.id, NOW, timedelta(), leaving=False, slots={}) for each in found
    )
    idle = replace(drawn, in_flight=InFlight(found, workers))
    assert decide(idle).desired == unprotected(idle)


@some
@given(scale_ins())
def test_no_replica_goes_where_it_is_unknown_what_is_in_flight(drawn: Situation) -> None:
    unread = replace(drawn, in_flight=UnknownInFlight("no answer"))
    assert decide(unread).desired == drawn.replicas


def without_reports(drawn: Situation, silent: timedelta | None) -> Situation:
    """Take away the reports: nobody has reported for this long; None: this is the first look."""
    since = None if silent is None else NOW - silent
    history = replace(drawn.history, unreported_since=since)
    return replace(drawn, in_flight=InFlight(replicas_of(drawn), ()), history=history)


@some
@given(scale_ins(), st.sampled_from([None, timedelta(), REPORT_WITHIN - INSTANT]))
def test_no_replica_goes_before_it_is_sure_that_no_worker_reports(
    drawn: Situation, silent: timedelta | None
) -> None:
    assert decide(without_reports(drawn, silent)).desired == drawn.replicas


@some
@given(scale_ins(), st.sampled_from([REPORT_WITHIN, HOUR]))
def test_once_it_is_sure_only_strict_protects_and_the_scheduler_stops_one_at_a_time(
    drawn: Situation, silent: timedelta
) -> None:
    mute = without_reports(drawn, silent)
    desired = decide(mute).desired
    if mute.spec.busy is Busy.STRICT:
        assert desired == mute.replicas
    elif all(replica.choosable for replica in replicas_of(mute)):
        assert desired == unprotected(mute)
    else:
        one_less = mute.replicas - (0 if mute.draining else 1)
        assert desired == max(unprotected(mute), one_less)


@some
@given(in_flight_situations())
def test_the_bounds_hold_but_for_replicas_that_may_not_be_stopped(drawn: Situation) -> None:
    desired = decide(drawn).desired
    assert lowest(drawn) <= desired <= max(highest(drawn), drawn.replicas)
    assert desired <= highest(drawn) or drawn.spec.busy is not Busy.IGNORE


@some
@given(in_flight_situations())
def test_the_same_situation_leads_to_the_same_decision(drawn: Situation) -> None:
    before = replace(drawn)
    assert decide(drawn) == decide(drawn)
    assert drawn == before


@some
@given(scale_ins())
def test_what_is_in_flight_is_wanted_for_every_scale_in(drawn: Situation) -> None:
    assert wants_in_flight(replace(drawn, in_flight=None))


@some
@given(situations(), st.sampled_from([UnknownInFlight("no answer"), fleet("bbb")]) | reports())
def test_where_it_is_not_wanted_it_would_not_change_the_decision(
    drawn: Situation, in_flight: InFlight | UnknownInFlight
) -> None:
    assume(not wants_in_flight(drawn))
    blind = decide(drawn)
    looked = decide(replace(drawn, in_flight=in_flight))
    assert looked.desired == blind.desired
