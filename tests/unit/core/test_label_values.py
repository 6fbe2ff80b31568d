"""Values of labels are written the way they are read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoscaler.core.label_values import (
    Busy,
    Fallback,
    KeepUp,
    QueueType,
    StepLimit,
    format_share,
    format_value,
)


@pytest.mark.parametrize("text", ["4/15s", "100%/1m30s", "1/0.5s"])
def test_a_step_limit_is_written_as_it_is_read(text: str) -> None:
    assert str(StepLimit.parse(text)) == text


@pytest.mark.parametrize("text", ["hold", "0", "3", "at-least 3"])
def test_a_fallback_is_written_as_it_is_read(text: str) -> None:
    assert str(Fallback.parse(text)) == text


@pytest.mark.parametrize("text", ["auto", "off", "2", "1.1", "0.000001"])
def test_keep_up_is_written_as_it_is_read(text: str) -> None:
    assert str(KeepUp.parse(text)) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        pytest.param(0.1, "10%", id="whole-percent"),
        pytest.param(0.125, "12.5%", id="part-of-a-percent"),
        pytest.param(0.29, "29%", id="no-noise-of-floating-point"),
        pytest.param(1.0, "100%", id="all"),
    ],
)
def test_a_share_is_written_in_percent(share: float, text: str) -> None:
    assert format_share(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(10, "10", id="number"),
        pytest.param("orders", "orders", id="text"),
        pytest.param(timedelta(minutes=5), "5m", id="duration"),
        pytest.param(0.5, "50%", id="share"),
        pytest.param(Busy.PROTECT, "protect", id="word"),
        pytest.param((QueueType.WORKFLOW, QueueType.ACTIVITY), "workflow,activity", id="several"),
        pytest.param((StepLimit.parse("4/15s"),), "4/15s", id="limits"),
        pytest.param(Fallback(3), "3", id="fallback"),
    ],
)
def test_a_value_is_written_the_way_a_label_has_it(value: object, text: str) -> None:
    assert format_value(value) == text
