"""The schema of services files and what reads them agree."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from autoscaler.core.durations import parse_duration
from autoscaler.core.label_values import LONGEST_WAIT, LONGEST_WINDOW
from autoscaler.core.labels import label_docs
from autoscaler.core.schema import services_schema
from autoscaler.wishes.services_file import read_services_file

SCHEMA = services_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
NAMES = [doc.name.removeprefix("temporal.") for doc in label_docs()]
RIGHT: Mapping[str, list[object]] = {
    "queue": ["orders", "orders,mails", ["orders", "mails"], "orders, mails", 7],
    "target": [1, 10**9],
    "min": [0, 10_000],
    "max": [1, 10_000],
    "integration": ["cloud"],
    "namespace": ["shop"],
    "queue-types": ["workflow", "workflow,activity", ["activity", "nexus"]],
    "mode": ["on", "off", True, False, "dry-run", "pause-in", "pause-out"],
    "activation": [0, 5],
    "cooldown": ["0s", "5m", "1h30m", "0.5s"],
    "scale-out.window": ["0s", "1h"],
    "scale-in.window": ["5m"],
    "scale-out.limit": ["none", "4/15s", "100%/15s", "4/15s,100%/15s", ["4/15s", "100%/15s"]],
    "scale-in.limit": ["1/1m"],
    "tolerance": [0, "10%", "12.5%"],
    "max-wait": ["none", "30s"],
    "slots-target": ["none", "80%"],
    "keep-up": ["auto", "off", False, 0.5, 3],
    "busy": ["protect", "strict", "ignore"],
    "fallback": ["hold", 3, "3", "at-least 2"],
    "fallback.after": ["3m"],
    "deployment": ["orders", "none"],
    "build-id": ["v1"],
    "schedule": [
        "none",
        "mon-fri 07:30-19:00 min=5 max=40",
        "daily 22:00-06:00 max=2; sat,sun 00:00-24:00 min=0",
    ],
    "timezone": ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"],
}
"""What people write for each label, and what both sides have to take."""
WRONG = ["", " ", ",", "a,,b", -1, 0, 1.5, "many", "5", "1e9", [], [""], [[1]], None, {}, "10d",
         "4/15", "0/15s", "200%", "0%", "at-least", "Hold", 10**10, "yes", [True]]  # fmt: skip


def accepts(values: Mapping[str, object]) -> bool:
    """Whether the schema accepts these values of a service."""
    return bool(VALIDATOR.is_valid({"services": {"shop/worker": values}}))


def problems(values: Mapping[str, object]) -> tuple[str, ...]:
    """Return what the reader finds wrong with these values: JSON is YAML."""
    text = json.dumps({"services": {"shop/worker": values}})
    return read_services_file("shop.yaml", text.encode()).problems


def test_it_is_a_right_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_it_has_every_label_with_what_the_reference_says() -> None:
    properties = SCHEMA["$defs"]["values"]["properties"]
    assert list(properties) == NAMES
    for doc, schema in zip(label_docs(), properties.values(), strict=True):
        assert doc.meaning in schema["description"]
        assert doc.allowed in schema["description"]
        assert {"type", "enum", "anyOf"} & schema.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_what_people_write_is_accepted_on_both_sides(name: str) -> None:
    for value in RIGHT[name]:
        assert accepts({name: value}), value
        assert problems({name: value}) == (), value


@pytest.mark.parametrize(
    "values", [{"maxi": 3}, {"temporal.max": 3}, {"max": "many"}, {"max": None}, {"mode": "maybe"}]
)
def test_what_is_wrong_is_refused_on_both_sides(values: Mapping[str, object]) -> None:
    assert not accepts(values)
    assert problems(values)


@pytest.mark.parametrize(
    "document", [{}, [], None, {"services": None}, {"services": {"": {}}}, {"services": {"a": 1}},
                 {"services": {}, "version": 3}]
)  # fmt: skip
def test_so_is_a_file_of_another_form(document: object) -> None:
    assert not VALIDATOR.is_valid(document)
    assert read_services_file("shop.yaml", json.dumps(document).encode()).problems


def too_long(name: str, value: str | list[object]) -> bool:
    """Whether a value has a duration out of range: no schema can tell how long one is."""
    if not re.search("cooldown|window|limit|wait|after", name):
        return False
    parts = re.split("[,/]", value if isinstance(value, str) else ",".join(map(str, value)))
    durations = [part for part in map(str.strip, parts) if re.fullmatch("[0-9hms.]+[hms]", part)]
    longest = LONGEST_WINDOW if "window" in name or "limit" in name else LONGEST_WAIT
    above_zero = "limit" in name or name == "max-wait"
    return any(
        parse_duration(each) > longest or (above_zero and not parse_duration(each))
        for each in durations
    )


DIGITS = st.integers(0, 99999).map(str)
PIECE = st.sampled_from(["%", "/", ",", "h", "m", "s", ".", " ", "none", "hold", "at-least "])
LETTER = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
"""Beyond these, JSON writes two escapes for one letter, and YAML reads them as two."""
ANY_TEXT = st.lists(DIGITS | PIECE, max_size=6).map("".join) | st.text(LETTER, max_size=6)
BROKEN = st.floats(0.0001, 10**6).filter(lambda number: not number.is_integer())
"""To a schema, 5.0 is a whole number; the reader takes it for one only where that is natural."""
SCALAR = ANY_TEXT | st.integers() | st.booleans() | BROKEN
ANY: st.SearchStrategy[Any] = (
    st.sampled_from([each for values in RIGHT.values() for each in values] + WRONG)
    | SCALAR
    | st.lists(SCALAR, max_size=3)
)


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(NAMES), ANY)
def test_the_reader_accepts_what_the_schema_accepts(name: str, value: object) -> None:
    if name == "timezone":
        return  # Which zones there are, the system knows.
    if accepts({name: value}) and not (isinstance(value, str | list) and too_long(name, value)):
        assert problems({name: value}) == ()
