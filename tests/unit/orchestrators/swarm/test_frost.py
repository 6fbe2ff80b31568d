"""A service is frozen by its placement alone, and what others change meanwhile stays."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.orchestrators.swarm.frost import (
    MARK,
    NOWHERE,
    can_freeze,
    freeze,
    frozen_since,
    is_frozen,
    thaw,
)
from tests.fakes.clock import START

AMD64 = {"Architecture": "amd64", "OS": "linux"}


def spec(placement: Any = None, labels: Any = None) -> dict[str, Any]:
    return {
        "Name": "shop_worker",
        "Labels": {"temporal.queue": "orders"} if labels is None else labels,
        "TaskTemplate": {"Placement": {} if placement is None else placement},
        "Mode": {"Replicated": {"Replicas": 3}},
    }


class TestFreezing:
    def test_only_the_platforms_and_the_mark_change(self) -> None:
        before = spec({"Constraints": ["node.role==worker"], "MaxReplicas": 2})
        frozen = freeze(before, START)
        assert frozen["TaskTemplate"]["Placement"].pop("Platforms") == NOWHERE
        mark = json.loads(frozen["Labels"].pop(MARK))
        assert mark == {"platforms": None, "at": START.isoformat()}
        assert frozen == before

    def test_the_spec_that_was_given_stays_as_it_is(self) -> None:
        before = spec({"Platforms": [AMD64]})
        kept = copy.deepcopy(before)
        thaw(freeze(before, START))
        assert before == kept

    @pytest.mark.parametrize("labels", [None, {}])
    def test_a_service_without_labels_can_be_frozen(self, labels: Any) -> None:
        before = spec() | {"Labels": labels}
        assert thaw(freeze(before, START))["Labels"] == {}

    @pytest.mark.parametrize(
        ("template", "can"), [({"Placement": {}}, True), ({"Placement": None}, False), ({}, False)]
    )
    def test_one_without_a_placement_cannot_be_frozen(
        self, template: dict[str, Any], *, can: bool
    ) -> None:
        assert can_freeze({"TaskTemplate": template}) is can
        assert can_freeze(template) is can

    def test_the_mark_says_since_when(self) -> None:
        assert frozen_since(freeze(spec(), START)) == START

    @pytest.mark.parametrize(
        "mark", [None, "", "{", "[]", "{}", '{"at": 1}', '{"at": "2026"}', '{"at": "2026-01-01"}']
    )
    def test_without_a_mark_that_can_be_read_nobody_knows_since_when(
        self, mark: str | None
    ) -> None:
        labels = {} if mark is None else {MARK: mark}
        assert frozen_since(spec({"Platforms": NOWHERE}, labels)) is None


class TestThawing:
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "Constraints": st.just(["node.role==worker"]),
                "Platforms": st.just([AMD64]),
                "MaxReplicas": st.integers(1, 3),
            },
        )
    )
    def test_it_gives_back_exactly_what_was_there(self, placement: dict[str, Any]) -> None:
        before = spec(placement)
        frozen = freeze(before, START)
        assert is_frozen(frozen)
        assert not is_frozen(before)
        assert thaw(frozen) == before

    def test_platforms_that_somebody_else_has_set_meanwhile_stay(self) -> None:
        frozen = freeze(spec(), START)
        frozen["TaskTemplate"]["Placement"] = {"Platforms": [AMD64]}
        assert is_frozen(frozen)
        assert thaw(frozen) == spec({"Platforms": [AMD64]})

    def test_constraints_that_somebody_else_has_set_meanwhile_stay(self) -> None:
        frozen = freeze(spec(), START)
        frozen["TaskTemplate"]["Placement"]["Constraints"] = ["node.labels.ssd==true"]
        assert thaw(frozen) == spec({"Constraints": ["node.labels.ssd==true"]})

    def test_a_placement_that_somebody_else_has_removed_is_not_made(self) -> None:
        frozen = freeze(spec(), START)
        del frozen["TaskTemplate"]["Placement"]
        assert "Placement" not in thaw(frozen)["TaskTemplate"]

    @pytest.mark.parametrize("mark", [None, "", "{", "[]", "{}", '{"platforms": "amd64"}'])
    def test_without_a_mark_that_can_be_read_no_platform_is_asked_for(
        self, mark: str | None
    ) -> None:
        labels = {} if mark is None else {MARK: mark}
        frozen = spec({"Platforms": NOWHERE}, labels)
        assert is_frozen(frozen)
        assert thaw(frozen) == spec({}, {})

    def test_the_mark_is_of_the_moment(self) -> None:
        """Nobody takes what another daemon has frozen for its own."""
        later = START + timedelta(microseconds=1)
        assert freeze(spec(), START) != freeze(spec(), later)
