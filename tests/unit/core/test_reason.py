"""Why a number of replicas was chosen, and what that means for the service."""

from __future__ import annotations

import pytest

from autoscaler.core.reason import Bearing, Reason, ReasonCode

HELD = {
    ReasonCode.STOPPED_BY_HAND,
    ReasonCode.FALLBACK,
    ReasonCode.RATE_LIMITED,
    ReasonCode.PHANTOM,
    ReasonCode.SHARED,
    ReasonCode.BUSY,
}
IN_TROUBLE = {
    ReasonCode.CRASHED,
    ReasonCode.REFUSED,
    ReasonCode.CEILING,
    ReasonCode.IGNORES_STOP,
}


@pytest.mark.parametrize("code", ReasonCode)
def test_every_code_has_a_bearing(code: ReasonCode) -> None:
    expected = (
        Bearing.HELD if code in HELD else Bearing.TROUBLE if code in IN_TROUBLE else Bearing.NORMAL
    )
    assert code.bearing is expected


def test_no_two_codes_have_the_same_word() -> None:
    """A second member with the same word would silently become an alias of the first."""
    assert list(ReasonCode.__members__.values()) == list(ReasonCode)


@pytest.mark.parametrize("code", ReasonCode)
def test_a_code_is_written_as_its_name_in_kebab_case(code: ReasonCode) -> None:
    assert str(code) == code.value == code.name.lower().replace("_", "-")


def test_a_code_is_found_by_its_word() -> None:
    assert ReasonCode("busy") is ReasonCode.BUSY


def test_a_reason_reads_as_its_text() -> None:
    assert str(Reason(ReasonCode.MAX, "max: 10")) == "max: 10"
