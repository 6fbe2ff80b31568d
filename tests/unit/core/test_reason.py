"""Why a number of replicas was chosen, and what that means for the service."""

from __future__ import annotations

import pytest

from autoscaler.core.reason import Bearing, Reason, ReasonCode, in_words, kept

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


def test_a_reason_says_what_was_seen_and_what_follows() -> None:
    reason = Reason(ReasonCode.BACKLOG, "142 waiting tasks at target 10", "15")
    assert str(reason) == "142 waiting tasks at target 10 → 15"


def test_each_half_of_a_reason_can_stand_alone() -> None:
    assert str(Reason(ReasonCode.SHARED, "wants 6, gets 2: group gpu")) == (
        "wants 6, gets 2: group gpu"
    )
    assert str(Reason(ReasonCode.MIN, "", "keeps 1 (min)")) == "keeps 1 (min)"


class TestInWords:
    NOTHING = Reason(ReasonCode.BACKLOG, "0 waiting tasks at target 10", "0")

    def test_a_bound_stands_in_the_place_of_the_number_that_it_changes(self) -> None:
        told = in_words((self.NOTHING, Reason(ReasonCode.MIN, "", "keeps 1 (min)")))
        assert told == ("0 waiting tasks at target 10 → keeps 1 (min)",)

    def test_every_other_step_is_a_line_of_its_own(self) -> None:
        window = Reason(ReasonCode.SCALE_IN_WINDOW, "some of the last 1m called for 8", "keeps 8")
        assert in_words((self.NOTHING, window)) == (str(self.NOTHING), str(window))

    def test_a_bound_that_comes_first_stands_alone(self) -> None:
        assert in_words((Reason(ReasonCode.MIN, "", "5 (min)"),)) == ("5 (min)",)

    def test_nothing_was_decided(self) -> None:
        assert in_words(()) == ()


def test_the_present_number_is_kept_and_another_one_only_named() -> None:
    assert [kept(number, 1200) for number in (1200, 5)] == ["keeps 1,200", "5"]
