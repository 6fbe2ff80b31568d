"""Traces: what can be read, and what is said of what cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ConfigurationError
from autoscaler.simulation.trace import MOST_PROBLEMS, Measure, Row, parse_trace
from autoscaler.simulation.workers import OPTIONS, Phase, Workers


def problems(*lines: str) -> tuple[str, ...]:
    """Return what is wrong with a trace."""
    with pytest.raises(ConfigurationError) as caught:
        parse_trace("t.csv", lines)
    return caught.value.problems


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        pytest.param(["time,backlog", "0,5", "60,0"], [(0, 5), (60, 0)], id="csv"),
        pytest.param(["0.5,5\r\n", "1.25,6\r\n"], [(0, 5), (0.75, 6)], id="fractions"),
        pytest.param([" 0 , 5 ", "", "60,6"], [(0, 5), (60, 6)], id="spaces-and-empty-lines"),
        pytest.param(['"0","5"'], [(0, 5)], id="quotes"),
        pytest.param(["1700000000,5", "1700000060,6"], [(0, 5), (60, 6)], id="unix-time"),
        pytest.param(["0,5.0"], [(0, 5)], id="a-whole-number-with-a-point"),
        pytest.param(
            ["2026-01-31T12:00:00Z,5", "2026-01-31T13:01:00+01:00,6"],
            [(0, 5), (60, 6)],
            id="iso-8601-with-offsets",
        ),
        pytest.param(
            ["2026-01-31 12:00:00,5", "2026-01-31 12:00:01.5,6"], [(0, 5), (1.5, 6)], id="no-offset"
        ),
        pytest.param(
            ['{"time": 0, "backlog": 5}', '{"backlog": 6, "time": 60.5}'],
            [(0, 5), (60.5, 6)],
            id="json-lines",
        ),
        pytest.param(
            ['{"time": "2026-01-31T12:00:00Z", "backlog": "5"}'], [(0, 5)], id="json-with-text"
        ),
    ],
)
def test_rows_are_read_with_the_time_since_the_first(
    lines: list[str], rows: list[tuple[float, int]]
) -> None:
    header = [] if lines[0].startswith(("{", "time")) else ["time,backlog"]
    trace = parse_trace("t.csv", header + lines)
    assert trace.measure is Measure.BACKLOG
    assert trace.rows == tuple(Row(at, tasks) for at, tasks in rows)


@pytest.mark.parametrize(
    ("row", "begins"),
    [
        pytest.param("2026-10-25T02:30:00+02:00,5", "2026-10-25T00:30:00+00:00", id="offset"),
        pytest.param("2026-10-25 02:30:00,5", "2026-10-25T02:30:00+00:00", id="utc-without-one"),
        pytest.param("90,5", "2026-01-05T00:00:00+00:00", id="seconds-begin-on-a-monday"),
    ],
)
def test_a_trace_of_dates_keeps_them(row: str, begins: str) -> None:
    trace = parse_trace("t.csv", ["time,backlog", row])
    assert trace.begins.isoformat() == begins
    assert trace.dated == ("T" in row or " " in row)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("time,arrivals", id="csv"),
        pytest.param(" Time, Arrivals ", id="upper-case-and-spaces"),
        pytest.param("\ufefftime,arrivals", id="byte-order-mark"),
    ],
)
def test_the_header_says_what_is_counted(header: str) -> None:
    assert parse_trace("t.csv", [header, "0,1"]).measure is Measure.ARRIVALS


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        pytest.param(["0,1", "60,1"], 120, id="as-long-as-the-interval-before"),
        pytest.param(["0,1", "60,1", "70,1"], 80, id="of-several-the-last"),
        pytest.param(["0,1"], 1, id="a-single-row-lasts-a-second"),
    ],
)
def test_the_last_interval(rows: list[str], end: float) -> None:
    assert parse_trace("t.csv", ["time,arrivals", *rows]).end == end


WHOLE = "must be a whole number from 0 to 1000000000"
TIME = "must be seconds such as 90, or a date and time such as 2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param("9,many", f"column backlog: 'many' {WHOLE}", id="no-number"),
        pytest.param("9,-1", f"column backlog: '-1' {WHOLE}", id="negative"),
        pytest.param("9,1.5", f"column backlog: '1.5' {WHOLE}", id="half-a-task"),
        pytest.param("9,1000000001", f"column backlog: '1000000001' {WHOLE}", id="absurd"),
        pytest.param("9,nan", f"column backlog: 'nan' {WHOLE}", id="nan"),
        pytest.param("9,1_0", f"column backlog: '1_0' {WHOLE}", id="underscore"),
        pytest.param("9,٣", f"column backlog: '٣' {WHOLE}", id="digits-of-another-script"),
        pytest.param("9,", "column backlog: nothing there", id="empty-cell"),
        pytest.param("9", "column backlog: nothing there", id="no-second-cell"),
        pytest.param(",9", "column time: nothing there", id="no-time"),
        pytest.param("soon,9", f"column time: 'soon' {TIME}", id="no-time-at-all"),
        pytest.param("-1,9", f"column time: '-1' {TIME}", id="negative-time"),
        pytest.param("inf,9", f"column time: 'inf' {TIME}", id="infinite"),
        pytest.param("2026-02-30T00:00:00,9", f"'2026-02-30T00:00:00' {TIME}", id="no-such-day"),
        pytest.param("0001-01-01T00:00:00,9", f"'0001-01-01T00:00:00' {TIME}", id="no-such-year"),
        pytest.param("5,9", "column time: '5' must be later than '5' of row 2", id="same-time"),
        pytest.param("4,9", "column time: '4' must be later than '5' of row 2", id="earlier"),
        pytest.param("2678406,9", "'2678406' is more than 31 days after the first", id="too-long"),
        pytest.param(
            "2026-01-31T12:00:00,9", "must be seconds as in the rows before", id="another-kind"
        ),
        pytest.param("9,9,note", "column 3: 'note' is in no column of the trace", id="too-many"),
        pytest.param('9,"9', "is no row of CSV", id="open-quote"),
    ],
)
def test_a_bad_row_is_named_with_its_column_and_what_is_expected(row: str, said: str) -> None:
    (problem,) = problems("time,backlog", "5,1", row)
    assert problem.startswith("t.csv, row 3, column ")
    assert said in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param('{"time": 9, "backlog": true}', "column backlog: 'true'", id="boolean"),
        pytest.param('{"time": 9, "backlog": null}', "column backlog: 'null'", id="null"),
        pytest.param('{"time": 9, "backlog": [1]}', "column backlog: '[1]'", id="list"),
        pytest.param('{"time": 9, "backlog": 1e400}', "column backlog: 'Infinity'", id="huge"),
        pytest.param('{"time": 9}', "column backlog: nothing there", id="missing"),
        pytest.param('{"time": 9, "backlog"', "must be an object with time and backlog", id="cut"),
        pytest.param("[9, 9]", "must be an object with time and backlog", id="no-object"),
        pytest.param("[" * 10**5, "must be an object with time and backlog", id="deep"),
        pytest.param('{"time": 9, "backlog": 1, "x": 2}', "column x: '2' is in no", id="too-many"),
    ],
)
def test_a_bad_object_likewise(line: str, said: str) -> None:
    (problem,) = problems('{"time": 5, "backlog": 1}', line)
    assert problem.startswith("t.csv, row 2, column ")
    assert said in problem


def test_all_bad_rows_are_named_at_once() -> None:
    found = problems("time,backlog", "soon,many", "5,1", "", "5,-1")
    assert [problem.split(":")[0] for problem in found] == [
        "t.csv, row 2, column time",
        "t.csv, row 2, column backlog",
        "t.csv, row 5, column time",
        "t.csv, row 5, column backlog",
    ]


def test_of_very_many_bad_rows_the_others_are_counted() -> None:
    found = problems("time,backlog", *["x,1"] * (MOST_PROBLEMS + 7))
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == "t.csv: 7 more like these"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([], "t.csv is empty", id="nothing"),
        pytest.param(["", " "], "t.csv is empty", id="empty-lines"),
        pytest.param(["time,arrivals"], "a header and no rows", id="only-a-header"),
        pytest.param(["0,1"], "row 1: '0,1' must name the columns", id="no-header"),
        pytest.param(["time;backlog"], "must name the columns", id="semicolons"),
        pytest.param(["time,backlog,arrivals"], "must name the columns", id="both"),
        pytest.param(['{"time": 1}'], "must name the columns", id="an-object-without"),
        pytest.param(["x" * 999], f"'{'x' * 40}...' must name", id="a-long-line-is-cut"),
    ],
)
def test_what_is_no_trace_at_all_says_what_one_is(lines: list[str], said: str) -> None:
    (problem,) = problems(*lines)
    assert said in problem


def test_more_arrivals_than_can_be_served_one_by_one_are_refused() -> None:
    (problem,) = problems("time,arrivals", *[f"{at},1000000" for at in range(11)])
    assert problem == "t.csv: 11,000,000 tasks arrive, at most 10,000,000 can"


@given(st.lists(st.text(), max_size=5), st.sampled_from(["time,backlog", '{"backlog": 1}', ""]))
def test_whatever_is_in_a_file_there_is_a_trace_or_a_clear_error(
    lines: list[str], first: str
) -> None:
    try:
        rows = parse_trace("t.csv", [first, *lines]).rows
    except ConfigurationError as error:
        said = error.problems
    else:
        said = ()
        assert rows
    assert all(problem.startswith("t.csv") for problem in said)


class TestWorkersOfATrace:
    HEAD = ("# service-time: 2s;4s from 30m", "#slots: 4", "", "# startup: 20s")

    def test_lines_in_front_say_what_they_are_like(self) -> None:
        trace = parse_trace("t.csv", [*self.HEAD, "time,arrivals", "0,5"])
        assert trace.workers == Workers(2, 4, 20, later=(Phase(1800, 4),))
        assert trace.rows == (Row(0, 5),)

    def test_in_front_of_json_lines_too(self) -> None:
        trace = parse_trace("t", ["\ufeff# slots: 3", '{"time": 0, "arrivals": 5}'])
        assert (trace.workers, trace.rows) == (Workers(slots=3), (Row(0, 5),))

    def test_a_trace_that_says_nothing_has_the_usual_ones(self) -> None:
        assert parse_trace("t.csv", ["time,arrivals", "0,5"]).workers == Workers()

    def test_other_remarks_say_nothing(self) -> None:
        lines = ["# orders of last Monday", "#", "time,arrivals", "0,5"]
        assert parse_trace("t.csv", lines).workers == Workers()

    def test_wrong_ones_are_named_with_their_rows(self) -> None:
        found = problems("# slots: many", "# speed: 2", "time,arrivals", "0,5")
        assert found == (
            "t.csv, row 1: slots='many': a whole number such as 4 is needed",
            f"t.csv, row 2: speed='2': what can be said of workers is {', '.join(OPTIONS)}",
        )

    def test_rows_behind_them_are_named_by_their_place_in_the_file(self) -> None:
        assert problems("# slots: 3", "time,load")[0].startswith("t.csv, row 2: 'time,load' must")
        assert problems("# slots: 3", "time,backlog", "0,x")[0].startswith("t.csv, row 3, column")

    def test_a_remark_between_rows_is_no_row(self) -> None:
        assert problems("time,backlog", "# slots: 3")[0].startswith("t.csv, row 2, column")

    def test_remarks_alone_are_no_trace(self) -> None:
        assert problems("# slots: 3")[0].startswith("t.csv is empty")
