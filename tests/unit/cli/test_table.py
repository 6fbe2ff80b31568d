"""Tables and sentences for terminals say all that matters of what a tick saw."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from autoscaler import present
from autoscaler.cli.table import services_table, set_live
from autoscaler.core.origin import Given
from autoscaler.core.override import Override
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import ServiceReport
from autoscaler.present import Remembered
from tests.fakes.clock import START
from tests.fakes.reports import EVENING, LATE, PAUSE, service, shared

NO_SECRETS = Redactor()


class TestTable:
    @staticmethod
    def draw(*services: ServiceReport, **more: Any) -> str:
        """Draw services two seconds after a tick."""
        rows = [present.service(each, NO_SECRETS, **more) for each in services]
        written = io.StringIO()
        console = Console(file=written, width=300, markup=False)
        console.print(services_table(rows, START + timedelta(seconds=2)))
        return written.getvalue()

    def test_each_service_is_a_row(self) -> None:
        text = self.draw(
            service(waiting=1040, replicas=2, desired=20, busy=2, draining=3), service("shop/scans")
        )
        lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
        assert [line for line in lines if line] == [
            ["shop/worker", "orders", "1,040", "2 -> 20", "1,040 waiting tasks at target 10 → 104"],
            ["", "", "oldest 22s", "1-20, 2 busy, 3 draining", ""],
            ["shop/scans", "orders", "0", "1", "0 waiting tasks at target 10 → 0"],
            ["", "", "", "1-20", ""],
        ]

    def test_it_says_what_becomes_of_replicas_that_are_told_to_stop(self) -> None:
        text = self.draw(service(drains=(LATE,)))
        assert "shop-worker-3: draining, 1 task running, 4m beyond its grace" in text

    def test_an_age_that_the_server_leaves_out_is_said_to_be_unknown(self) -> None:
        text = self.draw(replace(service(waiting=5), age=None))
        assert "age unknown" in text
        assert "oldest" not in text

    def test_a_portion_of_a_shared_backlog_stands_beside_the_whole(self) -> None:
        shown = self.draw(shared(service(waiting=14), 34, "shop/b"))
        assert "14 of 34" in shown
        assert "oldest 3s" in shown

    def test_trouble_is_said_in_the_column_of_reasons(self) -> None:
        text = self.draw(
            service(waiting=None, errors=("no answer",), warnings=("take care",), dry_run=True),
            remembered=Remembered(
                unseen=True,
                changes=[{"at": START.timestamp(), "current": 1, "desired": 2, "reasons": []}],
            ),
        )
        said = [line.split("│")[-2].strip() for line in text.splitlines() if "│" in line]
        assert said == [
            "backlog unknown → keeps 1",
            "dry run: nothing is changed",
            "not seen at the latest look",
            "warning: take care",
            "error: no answer",
            "2s ago: 1 -> 2",
        ]

    def test_the_next_change_of_the_bounds_stands_below_the_reasons(self) -> None:
        text = self.draw(service(min=5, max=40, next_bounds=EVENING))
        said = [line.split("│")[-2].strip() for line in text.splitlines() if "│" in line]
        assert said == [
            "0 waiting tasks at target 10 → 0",
            "min 5, max 40 until Fri 19:00 CET; then min 1, max 1,000",
        ]

    def test_it_names_values_that_are_no_labels(self) -> None:
        text = self.draw(
            service(
                given={
                    "temporal.queue": Given("orders", "label"),
                    "temporal.max": Given("20", "shop.yaml:3"),
                }
            )
        )
        assert "temporal.max=20 from shop.yaml:3" in text
        assert "from label" not in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (PAUSE, "paused until 01:00 UTC (1h left) by anna: deploy"),
        (replace(PAUSE, until=None, reason=""), "paused until it is removed by anna"),
        (
            replace(PAUSE, name="max", value="6", until=START + timedelta(days=2)),
            "max=6 until 2026-01-03 00:00 UTC (48h left) by anna: deploy",
        ),
    ],
)
def test_overrides_in_words_have_the_time_left(given: Override, words: str) -> None:
    assert set_live(present.override(given, NO_SECRETS), START) == words
