"""autoscaler simulate: a trace in, figures and a plot out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from autoscaler.cli.simulate import simulate
from autoscaler.core.errors import ConfigurationError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(simulate)


def run(*arguments: str) -> Result:
    """Run `autoscaler simulate` on a wide terminal."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "140"})


def cells(result: Result) -> dict[str, list[str]]:
    """Return the rows of the table by their first cell."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    return {row[0]: row[1:] for row in rows if len(row) > 1}


def told(*arguments: str) -> list[dict[str, Any]]:
    """Return the runs of the JSON output."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    runs: list[dict[str, Any]] = json.loads(result.stdout)["runs"]
    return runs


def problems(*arguments: str) -> tuple[str, ...]:
    """Return what the command line is told to be wrong; there is no traceback for it."""
    result = run(*arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert result.stdout == ""
    return result.exception.problems


class TestTrace:
    def test_a_trace_of_the_package_is_named(self) -> None:
        assert cells(run("burst"))["tasks done"] == ["2,000"]

    def test_a_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "orders.csv").write_text("time,arrivals\n0,7\n1,0\n")
        assert cells(run(str(tmp_path / "orders.csv")))["tasks done"] == ["7"]

    def test_a_recorded_backlog_says_what_it_cannot_tell(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("time,backlog\n0,95\n60,0\n")
        result = run(str(tmp_path / "t.csv"))
        assert cells(result)["longest wait"] == ["unknown"]
        assert cells(result)["peak replicas"] == ["10"]
        assert "The trace has backlogs, which no decision changes." in result.stdout

    def test_wrong_rows_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("time,backlog\n0,many\n5,-1\n")
        assert [problem.split(":")[0] for problem in problems(str(tmp_path / "t.csv"))] == [
            "t.csv, row 2, column backlog",
            "t.csv, row 3, column backlog",
        ]


class TestOptions:
    def test_labels_are_those_of_a_service(self) -> None:
        (alone,) = told("burst", "--label", "temporal.max=3", "--label", "temporal.min=2")
        assert {step["desired"] for step in alone["looks"]} == {2, 3}

    def test_the_task_queue_is_named_like_the_trace(self) -> None:
        assert told("burst")[0]["name"] == "default labels"

    @pytest.mark.parametrize(
        ("options", "longest_wait"),
        [
            # 9 wait behind 1: all else is set to the least there is.
            pytest.param(("--service-time", "20s"), 180, id="a-task-takes-longer"),
            pytest.param(("--slots", "5"), 10, id="a-replica-runs-more-at-once"),
            pytest.param(("--label", "temporal.max=2"), 50, id="a-second-replica"),
            pytest.param(("--label", "temporal.max=2", "--startup", "24h"), 90, id="too-late"),
        ],
    )
    def test_the_workers_are_what_is_said_of_them(
        self, tmp_path: Path, options: tuple[str, ...], longest_wait: float
    ) -> None:
        (tmp_path / "t.csv").write_text("time,arrivals\n0,10\n1,0\n")
        one = ("--label", "temporal.max=1", "--label", "temporal.target=1")
        base = ("--service-time", "10s", "--slots", "1", "--startup", "0s")
        (alone,) = told(str(tmp_path / "t.csv"), *one, *base, *options)
        assert alone["figures"]["longest_wait"] == pytest.approx(longest_wait, abs=10)

    def test_a_trace_says_what_its_workers_are_like(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text(
            "# service-time: 20s\n# slots: 1\ntime,arrivals\n0,3\n1,0\n"
        )
        one = (str(tmp_path / "t.csv"), "--label", "temporal.max=1")
        (as_said,), (changed,) = told(*one), told(*one, "--service-time", "5s")
        assert as_said["figures"]["longest_wait"] == 40
        assert changed["figures"]["longest_wait"] == 10

    def test_stats_only_acts_on_figures_that_are_up_to_5_s_old(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("time,arrivals\n0,0\n6,95\n7,0\n")
        common = (str(tmp_path / "t.csv"), "--poll", "1s")
        for options, second in ((common, 6), ((*common, "--stats-only"), 10)):
            (alone,) = told(*options)
            grew = next(step for step in alone["looks"] if step["desired"] > step["replicas"])
            assert grew["at"] == second

    def test_poll_is_the_time_between_two_decisions(self) -> None:
        (alone,) = told("burst", "--poll", "20s")
        assert [step["at"] for step in alone["looks"][:3]] == [0, 20, 40]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            pytest.param(
                ("--label", "temporal.tagret=2", "--label", "temporal.max=no"),
                ["temporal.tagret='2' is not a label", "temporal.max='no' must be"],
                id="labels-are-all-named",
            ),
            pytest.param(
                ("--label", "target=20", "--label", "temporal.max"),
                ["--label='target=20' must be a label", "--label='temporal.max' must be a label"],
                id="no-label-at-all",
            ),
            pytest.param(("--compare", "kda"), ["--compare='kda' must be a label"], id="compare"),
            pytest.param(
                ("--compare", " "), ["--compare=' ' must be keda, oracle, or labels"], id="blank"
            ),
            pytest.param(("--compare", "'"), ["no closing quotation"], id="open-quote"),
            pytest.param(
                ("--compare", "keda", "--compare", "KEDA"), ["names KEDA twice"], id="twice"
            ),
            pytest.param(
                ("--compare", "temporal.min=x"), ["temporal.min='x' must"], id="its-labels"
            ),
            pytest.param(("--poll", "often"), ["--poll='often': a duration such as"], id="poll"),
            pytest.param(("--poll", "0s"), ["--poll='0s' must be from 1s to 1h"], id="poll-0"),
            pytest.param(("--startup", "5"), ["--startup='5': a duration such as"], id="no-unit"),
            pytest.param(("--service-time", "0s"), ["the service time must be"], id="no-time"),
            pytest.param(("--slots", "x"), ["--slots='x': a whole number"], id="no-number"),
            pytest.param(("--unseen", "1"), ["--unseen='1': a share such as"], id="no-percent"),
            pytest.param(("--heartbeat", "2m"), ["heartbeats must be from 1s to"], id="seldom"),
            pytest.param(("--slots", "0"), ["the slots of a replica must be"], id="no-slots"),
        ],
    )
    def test_what_is_wrong_is_said_in_a_line_each(
        self, arguments: tuple[str, ...], said: list[str]
    ) -> None:
        found = problems("burst", *arguments)
        assert len(found) == len(said)
        for part in said:
            assert any(part in problem for problem in found), found


class TestSchedules:
    """A week of backlogs with dates, in which the clocks of Berlin change."""

    OFFICE = (
        "--label",
        "temporal.schedule=mon-fri 07:30-19:00 min=5 max=40; sun 02:30-04:00 min=3",
    )
    BERLIN = ("--label", "temporal.timezone=Europe/Berlin")

    @pytest.fixture
    def week(self, tmp_path: Path) -> str:
        rows = ("2027-03-26T12:00:00Z,900", "2027-03-26T19:00:00Z,0", "2027-03-28T03:00:00Z,0")
        (tmp_path / "week.csv").write_text("\n".join(("time,backlog", *rows)))
        return str(tmp_path / "week.csv")

    def bounds(self, run: dict[str, Any], begins: str) -> list[tuple[str, int]]:
        """Return the replicas at each change of their number, with its moment."""
        begin, changes = datetime.fromisoformat(begins), []
        for step in run["looks"]:
            if not changes or changes[-1][1] != step["desired"]:
                at = begin + timedelta(seconds=step["at"])
                changes.append((f"{at:%a %H:%M}", step["desired"]))
        return changes

    def test_a_trace_with_dates_follows_them(self, week: str) -> None:
        told_of = json.loads(run(week, "--poll", "1m", *self.OFFICE, *self.BERLIN, "--json").stdout)
        assert told_of["begins"] == "2027-03-26T12:00:00+00:00"
        (ours,) = told_of["runs"]
        assert self.bounds(ours, told_of["begins"]) == [
            ("Fri 12:00", 40),
            ("Fri 18:00", 10),
            ("Fri 19:00", 1),
            ("Sun 01:00", 3),
            ("Sun 02:00", 1),
            ("Mon 05:30", 5),
        ]

    def test_the_daemons_zone_counts_where_no_label_names_one(
        self, week: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AUTOSCALER_TIMEZONE", "Europe/Berlin")
        assert told(week, "--poll", "1m", *self.OFFICE) == told(
            week, "--poll", "1m", *self.OFFICE, *self.BERLIN
        )

    def test_the_charts_have_the_times_of_the_day(self, week: str) -> None:
        axis = run(week, "--poll", "1m", *self.OFFICE, *self.BERLIN).stdout.splitlines()[-2]
        assert axis.split()[:2] == ["Fri", "13:00"]


class TestCompare:
    def test_keda_has_the_bounds_target_and_activation_of_the_labels(self) -> None:
        labels = ("temporal.min=0", "temporal.max=7", "temporal.activation=5000")
        options = [word for label in labels for word in ("--label", label)]
        ours, keda = told("burst", *options, "--compare", "keda")
        assert (ours["name"], keda["name"]) == ("these labels", "KEDA")
        for one in (ours, keda):
            assert {step["desired"] for step in one["looks"]} == {0}
        _, awake = told("burst", *options[:4], "--compare", "keda")
        assert max(step["desired"] for step in awake["looks"]) == 7

    def test_the_oracle_has_the_bounds_of_the_labels_and_the_workers_of_the_options(self) -> None:
        options = ("--label", "temporal.min=2", "--label", "temporal.max=500", "--slots", "5")
        _, oracle = told("burst", *options, "--compare", "Oracle")
        assert oracle["name"] == "oracle"
        desired = {step["desired"] for step in oracle["looks"]}
        assert (min(desired), max(desired)) == (2, 400), "2,000 tasks at once, 5 in a replica"
        assert oracle["figures"]["longest_wait"] == 0

    def test_the_oracle_needs_arrivals(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("time,backlog\n0,95\n60,0\n")
        (problem,) = problems(str(tmp_path / "t.csv"), "--compare", "oracle")
        assert problem == "t.csv has backlogs, and the oracle needs a trace of arrivals"

    def test_other_labels_change_those_given(self) -> None:
        first, second = told(
            "burst",
            *("--label", "temporal.min=2", "--label", "temporal.max=4"),
            *("--compare", "temporal.max=30 temporal.target=20"),
        )
        assert second["name"] == "max=30 target=20"
        assert {step["desired"] for step in first["looks"]} == {2, 4}
        desired = {step["desired"] for step in second["looks"]}
        assert (min(desired), max(desired)) == (2, 30)

    def test_a_value_with_a_space_is_quoted(self) -> None:
        _, other = told("burst", "--compare", "temporal.fallback='at-least 3'")
        assert other["name"] == "fallback=at-least 3"

    def test_each_is_a_column(self) -> None:
        result = run("burst", "--compare", "keda", "--compare", "temporal.max=50")
        assert cells(result)["peak replicas"] == ["10", "10", "50"]
        assert cells(result)["tasks done"] == ["2,000"] * 3
        assert all(name in result.stdout for name in ("default labels", "KEDA", "max=50"))


class TestOutput:
    def test_the_table_has_every_figure(self) -> None:
        assert list(cells(run("burst"))) == [
            "time to drain",
            "mean wait",
            "p95 wait",
            "longest wait",
            "replica-seconds",
            "changes of direction",
            "peak replicas",
            "tasks done",
            "still waiting",
        ]

    def test_the_plots_show_backlog_and_replicas(self) -> None:
        plots = run("burst", "--label", "temporal.max=20").stdout.partition("waiting tasks")[2]
        waiting, _, replicas = plots.partition("  replicas")
        assert "1,9" in waiting
        assert "20┤" in replicas
        assert "\x1b" not in plots, "colours are for terminals"

    @pytest.mark.parametrize("width", ["20", "60", "500"])
    def test_any_width_of_terminal_will_do(self, width: str) -> None:
        result = CliRunner().invoke(app, ["burst", "--compare", "keda"], env={"COLUMNS": width})
        assert result.exit_code == 0

    def test_a_trace_in_which_nothing_happens_can_be_drawn(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("time,backlog\n0,0\n")
        result = run(str(tmp_path / "t.csv"), "--label", "temporal.min=0")
        assert result.exit_code == 0
        assert cells(result)["time to drain"] == ["0s"]

    def test_a_backlog_that_never_drains_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("time,arrivals\n0,3\n")
        labels = ("--label", "temporal.min=0", "--label", "temporal.activation=3")
        result = run(str(tmp_path / "t.csv"), *labels, "--poll", "1m")
        assert cells(result)["time to drain"] == ["never"]
        assert cells(result)["still waiting"] == ["3"]

    def test_json_is_an_object_with_every_decision(self) -> None:
        result = run("burst", "--json")
        document = json.loads(result.stdout)
        assert (document["trace"], document["measure"]) == ("burst", "arrivals")
        step = next(step for step in document["runs"][0]["looks"] if step["backlog"])
        assert step == {
            "at": 67.0,
            "backlog": 1998,
            "replicas": 1,
            "desired": 10,
            "reasons": [
                "1,998 waiting tasks (counted now) at target 10 → 200 needed, at most 10 (max)"
            ],
        }
        assert document["runs"][0]["figures"]["tasks_done"] == 2000
