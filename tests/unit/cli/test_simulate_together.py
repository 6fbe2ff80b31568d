"""autoscaler simulate --with: services that share limits in, a table, limits and charts out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_simulate import cells, problems, run

FILE = """\
services:
  orders: {trace: t.csv, priority: 10}
  mails: {trace: t.csv}
  "*": {group: gpu, service-time: 10s, slots: 1}
limits:
  groups: {gpu: 4}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the file of two services with 60 tasks each."""
    (tmp_path / "t.csv").write_text("time,arrivals\n0,60\n1,0\n")
    (tmp_path / "shares.yaml").write_text(FILE)
    return str(tmp_path / "shares.yaml")


def told(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


class TestTable:
    def test_each_service_is_a_column(self, file: str) -> None:
        rows = cells(run("--with", file))
        assert rows["trace"] == ["t.csv", "t.csv"]
        assert rows["tasks done"] == ["60", "60"]
        assert rows["peak replicas"] == ["3", "3"], "each keeps its min"

    def test_it_says_how_long_each_was_held_by_a_share(self, file: str) -> None:
        orders, mails = cells(run("--with", file))["held by a share"]
        assert orders == "1m35s"
        assert mails > orders

    def test_below_it_are_the_limits(self, file: str) -> None:
        assert "group gpu: at most 4 of 4 replicas in use" in run("--with", file).stdout

    def test_a_recorded_backlog_says_what_it_cannot_tell(self, file: str) -> None:
        (Path(file).parent / "t.csv").write_text("time,backlog\n0,60\n60,0\n")
        result = run("--with", file)
        assert cells(result)["longest wait"] == ["unknown"] * 2
        assert "The trace of mails has backlogs, which no decision changes." in result.stdout


class TestCharts:
    def test_each_service_has_its_charts_one_below_the_other(self, file: str) -> None:
        out = run("--with", file).stdout
        titles = [
            line.strip() for line in out.splitlines() if ": waiting" in line or ": rep" in line
        ]
        assert [title for title in titles if "group" not in title] == [
            "orders: waiting tasks",
            "orders: replicas",
            "mails: waiting tasks",
            "mails: replicas",
        ]

    def test_the_wish_stands_beside_the_replicas(self, file: str) -> None:
        chart = run("--with", file).stdout.partition("mails: replicas")[2]
        assert "wished" in chart
        assert "\x1b" not in chart, "colours are for terminals"


class TestJson:
    def test_it_has_every_decision_with_the_wish(self, file: str) -> None:
        orders, mails = told("--with", file)["services"]
        assert (orders["name"], orders["trace"], orders["measure"]) == (
            "orders",
            "t.csv",
            "arrivals",
        )
        assert mails["looks"][0] == {
            "at": 0.0,
            "backlog": 59,
            "replicas": 1,
            "desired": 1,
            "reasons": [
                "59 waiting tasks at target 10 → 6",
                "wants 6, gets 1: group gpu; orders has priority 10",
            ],
            "wished": 6,
        }
        assert orders["figures"]["tasks_done"] == 60

    def test_it_has_how_long_each_was_held(self, file: str) -> None:
        orders, mails = told("--with", file)["services"]
        assert 0 < orders["held_by_share"] < mails["held_by_share"]

    def test_it_has_the_limits(self, file: str) -> None:
        assert told("--with", file)["limits"] == [{"name": "group gpu", "most": 4, "peak": 4}]


class TestOptions:
    def test_what_workers_are_like_counts_for_all(self, file: str) -> None:
        for each in told("--with", file, "--service-time", "1s")["services"]:
            assert each["figures"]["longest_wait"] < 60

    def test_poll_is_the_time_between_two_decisions(self, file: str) -> None:
        for each in told("--with", file, "--poll", "20s")["services"]:
            assert [look["at"] for look in each["looks"][:3]] == [0, 20, 40]

    def test_stats_only_acts_on_the_figures_of_the_server(self, file: str) -> None:
        for each in told("--with", file, "--stats-only")["services"]:
            assert "counted now" not in str(each["looks"])

    def test_a_trace_or_a_file_is_needed(self) -> None:
        (problem,) = problems()
        assert problem.startswith("TRACE is missing: name a file, or one of burst,")

    def test_what_does_not_go_together_is_named_at_once(self, file: str) -> None:
        both, others = problems("burst", "--with", file, "--label", "temporal.max=3")
        assert both == f"'burst' and --with={file!r} are both given: keep one of them"
        assert others == "--label and --compare do not go with --with: write labels into its file"

    def test_wrong_options_of_workers_are_named(self, file: str) -> None:
        (problem,) = problems("--with", file, "--slots", "no")
        assert problem == "--slots='no': a whole number such as 4 is needed"

    def test_what_is_wrong_with_the_file_is_named(self, file: str) -> None:
        Path(file).write_text(FILE.replace("gpu: 4", "gpu: four"))
        (problem,) = problems("--with", file)
        assert problem == "shares.yaml:6: gpu='four' must be a whole number from 0 to 1000000"
