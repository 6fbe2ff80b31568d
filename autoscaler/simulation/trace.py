"""Traces: how many tasks waited, or arrived, and when; read from CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.words import counted, figure
from autoscaler.core.zones import YEARS
from autoscaler.simulation.workers import Workers, parse_workers

START = datetime(2026, 1, 5, tzinfo=UTC)
"""When a trace begins whose times are seconds: on a Monday, for those who simulate schedules."""
LONGEST_TRACE = timedelta(days=31)
MOST_ROWS = 1_000_000
MOST_PROBLEMS = 20
"""A message names this many wrong cells, and counts the rest."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,12}(\.0+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ].*", re.ASCII)
_REMARK = re.compile(r"#+\s*(?P<name>[\w-]+)\s*:\s*(?P<value>.*)", re.ASCII)
_LONGEST_QUOTE = 40


class Measure(StrEnum):
    """What the second column of a trace counts, in tasks."""

    BACKLOG = "backlog"
    """Tasks that wait at that time. Decisions do not change the backlog."""
    ARRIVALS = "arrivals"
    """Tasks that arrive in the interval that begins then. The backlog follows from the model."""


MOST_TASKS_IN_A_ROW = {Measure.BACKLOG: 10**9, Measure.ARRIVALS: 10**6}
"""The most tasks in one row; a larger number is a typing error."""
MOST_ARRIVALS = 10**7
"""The most tasks in one trace: the model serves them one by one."""

_COLUMNS = "time and backlog, or time and arrivals"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a trace."""

    at: float
    """Seconds since the first row."""
    tasks: int
    """Tasks, as the measure of the trace counts them."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened to a task queue, oldest row first."""

    name: str
    measure: Measure
    rows: tuple[Row, ...]
    workers: Workers = field(default_factory=Workers)
    """The workers that the trace was made for, as far as it says."""
    begins: datetime = START
    """The moment of the first row."""
    dated: bool = False
    """Whether the times of the trace are dates."""

    @property
    def end(self) -> float:
        """End of the last interval, in seconds: it is as long as the interval before it."""
        last = self.rows[-1].at
        return last + (last - self.rows[-2].at if len(self.rows) > 1 else 1.0)

    @property
    def tasks(self) -> int:
        """Sum of all rows: the number of arrivals, where the trace has arrivals."""
        return sum(row.tasks for row in self.rows)


def parse_trace(name: str, lines: Iterable[str]) -> Trace:
    """Read CSV with a header, or JSON lines with an object each.

    Lines in front that begin with `#` may say what the workers are like: `# service-time: 5s`.
    Raises ConfigurationError that names every wrong row and column at once, with `name` in front.
    """
    written = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if written:
        written[0] = (written[0][0], written[0][1].removeprefix("\ufeff"))
    remarks = list(takewhile(lambda each: each[1].lstrip().startswith("#"), written))
    workers = _workers(name, remarks)
    written = written[len(remarks) :]
    if not written:
        raise ConfigurationError([f"{name} is empty: a trace has the columns {_COLUMNS}"])
    if len(written) > MOST_ROWS:
        raise ConfigurationError([f"{name} has more than {MOST_ROWS} rows"])
    number, first = written[0]
    sheet = _Sheet(name, _measure(name, number, first), workers)
    rows = _json_rows(sheet, written) if _is_json(first) else _csv_rows(sheet, written)
    for number, cells in rows:
        sheet.read(number, cells)
    return sheet.trace()


@dataclass
class _Sheet:
    """Reads one row after the other, and collects what is wrong with them."""

    name: str
    measure: Measure
    workers: Workers
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    first: float | None = None
    dated: bool = False
    latest: tuple[int, str] = (0, "")

    @property
    def columns(self) -> tuple[str, str]:
        return "time", self.measure.value

    def wrong(self, number: int, column: str, what: str) -> None:
        self.problems.append(f"{self.name}, row {number}, column {column}: {what}")

    def read(self, number: int, cells: Mapping[str, str]) -> None:
        missing = [column for column in self.columns if not cells.get(column, "").strip()]
        for column in missing:
            self.wrong(number, column, "nothing there")
        for column in cells.keys() - self.columns:
            self.wrong(number, column, f"{_quote(cells[column])} is in no column of the trace")
        if missing:
            return
        at = self._time(number, cells["time"].strip())
        tasks = self._tasks(number, cells[self.measure].strip())
        if at is not None and tasks is not None:
            self.rows.append(Row(at, tasks))

    def _time(self, number: int, text: str) -> float | None:
        seconds = _seconds(text)
        if seconds is None:
            self.wrong(
                number,
                "time",
                f"{_quote(text)} must be seconds such as 90, or a date and time such as"
                " 2026-01-31T12:00:00Z",
            )
            return None
        dated = "-" in text
        if self.first is None:
            self.first, self.dated = seconds, dated
        at = round(seconds - self.first, 6)
        row, before = self.latest
        if dated != self.dated:
            kind = "a date and time" if self.dated else "seconds"
            self.wrong(number, "time", f"{_quote(text)} must be {kind} as in the rows before")
        elif row and at <= round((_seconds(before) or 0.0) - self.first, 6):
            self.wrong(number, "time", f"{_quote(text)} must be later than {before!r} of row {row}")
        elif at > LONGEST_TRACE.total_seconds():
            days = LONGEST_TRACE.days
            self.wrong(number, "time", f"{_quote(text)} is more than {days} days after the first")
        else:
            self.latest = number, text
            return at
        return None

    def _tasks(self, number: int, text: str) -> int | None:
        most = MOST_TASKS_IN_A_ROW[self.measure]
        tasks = int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else most + 1
        if tasks <= most:
            return tasks
        self.wrong(number, self.measure, f"{_quote(text)} must be a whole number from 0 to {most}")
        return None

    def trace(self) -> Trace:
        if len(self.problems) > MOST_PROBLEMS:
            more = len(self.problems) - MOST_PROBLEMS
            self.problems[MOST_PROBLEMS:] = [f"{self.name}: {more} more like these"]
        if self.problems:
            raise ConfigurationError(self.problems)
        if not self.rows:
            raise ConfigurationError([f"{self.name} has a header and no rows"])
        begins = _EPOCH + timedelta(seconds=self.first or 0.0) if self.dated else START
        rows = tuple(self.rows)
        trace = Trace(self.name, self.measure, rows, self.workers, begins, self.dated)
        if self.measure is Measure.ARRIVALS and trace.tasks > MOST_ARRIVALS:
            most = figure(MOST_ARRIVALS)
            raise ConfigurationError(
                [f"{self.name}: {counted(trace.tasks, 'task')} arrive, at most {most} can"]
            )
        return trace


def _workers(name: str, remarks: Iterable[tuple[int, str]]) -> Workers:
    """Read what the lines in front of a trace say of its workers. Other remarks say nothing."""
    workers, problems = Workers(), list[str]()
    for number, line in remarks:
        match = _REMARK.fullmatch(line.strip())
        if match is None:
            continue
        try:
            said = {match["name"]: match["value"]}
            workers = parse_workers(said, workers, f"{name}, row {number}: ")
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return workers


def _measure(name: str, number: int, first: str) -> Measure:
    if _is_json(first):
        named = [measure for measure in Measure if f'"{measure}"' in first]
    else:
        header = [cell.strip().lower() for cell in first.split(",")]
        named = [measure for measure in Measure if header == ["time", measure]]
    if len(named) != 1:
        raise ConfigurationError(
            [f"{name}, row {number}: {_quote(first.strip())} must name the columns {_COLUMNS}"]
        )
    return named[0]


def _is_json(line: str) -> bool:
    return line.lstrip().startswith("{")


def _csv_rows(
    sheet: _Sheet, written: Sequence[tuple[int, str]]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in written[1:]:
        try:
            cells = next(csv.reader([line], strict=True))
        except csv.Error as error:
            sheet.wrong(number, "time", f"{_quote(line.strip())} is no row of CSV ({error})")
            continue
        columns = [*sheet.columns, *map(str, range(3, len(cells) + 1))]
        yield number, dict(zip(columns, cells, strict=False))


def _json_rows(
    sheet: _Sheet, written: Sequence[tuple[int, str]]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in written:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, {key: _plain(value) for key, value in row.items()}
        else:
            both = " and ".join(sheet.columns)
            sheet.wrong(number, "time", f"{_quote(line.strip())} must be an object with {both}")


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _seconds(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None
    if moment is None or moment.year not in YEARS:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds()


def _quote(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")
