"""autoscaler simulate"""

from __future__ import annotations

import dataclasses
import json as jsonlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from autoscaler.cli import chart
from autoscaler.core.durations import format_duration, parse_duration
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.spec import DEFAULT_PREFIX, ScalingSpec
from autoscaler.simulation.controllers import Autoscaler, Controller
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.replay import Figures, Run, replay
from autoscaler.simulation.trace import Measure, Trace
from autoscaler.simulation.trace_files import read_trace
from autoscaler.simulation.workers import Workers

KEDA = "keda"
QUEUE = f"{DEFAULT_PREFIX}.queue"
SHORTEST_POLL = timedelta(seconds=1)
LONGEST_POLL = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Contender:
    """A controller that is compared: one column of the table."""

    title: tuple[str, ...]
    """The lines above the column."""
    controller: Controller

    @property
    def name(self) -> str:
        """The title in one line."""
        return " ".join(self.title)


def simulate(  # noqa: PLR0913 - an option each
    trace: Annotated[
        str, typer.Argument(help="A CSV or JSON-lines file, or burst, ramp, day or fan-out.")
    ],
    *,
    label: Annotated[
        list[str] | None, typer.Option(help="A label, such as temporal.target=20; repeatable.")
    ] = None,
    service_time: Annotated[str, typer.Option(help="How long a task runs.")] = "2s",
    slots: Annotated[int, typer.Option(help="Tasks a replica runs at once.")] = 2,
    startup: Annotated[str, typer.Option(help="How long a new replica takes to start.")] = "3s",
    poll: Annotated[str, typer.Option(help="Time between two decisions.")] = "5s",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help='keda, or labels to change, such as "temporal.target=20 temporal.max=30";'
            " repeatable."
        ),
    ] = None,
    json: Annotated[bool, typer.Option(help="An object, for programs.")] = False,
) -> None:
    """Replay a trace through the same decision that `run` makes: figures and a plot.

    A trace has a header and the columns time and backlog, or time and arrivals; a JSON-lines
    trace has an object with the same names in each line. Time is in seconds or ISO 8601.
    Tasks that arrive are served by a small model of the workers, which the options describe.
    """
    workers = _workers(service_time, slots, startup)
    interval = _duration("--poll", poll)
    if not SHORTEST_POLL <= interval <= LONGEST_POLL:
        raise ConfigurationError([f"--poll={poll!r} must be from 1s to 1h"])
    replayed = read_trace(trace)
    contenders = _contenders(replayed.name, label or [], compare or [], interval)
    runs = replay(replayed, [contender.controller for contender in contenders], workers)
    if json:
        print(jsonlib.dumps(_as_json(replayed, contenders, runs), indent=2))  # noqa: T201
    else:
        _print(replayed, contenders, runs)


# ------------------------------------------------------------------ parse


def _workers(service_time: str, slots: int, startup: str) -> Workers:
    return Workers(
        _duration("--service-time", service_time).total_seconds(),
        slots,
        _duration("--startup", startup).total_seconds(),
    )


def _duration(option: str, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError([f"{option}={text!r}: {error}"]) from error


def _contenders(
    queue: str, label: Sequence[str], compare: Sequence[str], interval: timedelta
) -> list[Contender]:
    """Return our controller with the labels given, and those that it is compared with."""
    seconds = interval.total_seconds()
    labels = {QUEUE: queue} | _labels("--label", label)
    spec = ScalingSpec.from_labels(labels)
    title = "these labels" if label else "default labels"
    found = [Contender((title,), Autoscaler(spec, seconds))]
    for text in compare:
        if text.strip().lower() == KEDA:
            keda = Keda(spec.target, spec.min, spec.max, spec.activation)
            found.append(Contender(("KEDA",), keda))
        else:
            changed = _labels("--compare", _words(text))
            other = ScalingSpec.from_labels(labels | changed)
            titles = tuple(
                f"{key.removeprefix(f'{DEFAULT_PREFIX}.')}={value}"
                for key, value in changed.items()
            )
            found.append(Contender(titles, Autoscaler(other, seconds)))
    names = [contender.name for contender in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError([f"--compare names {name} twice" for name in twice])
    return found


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigurationError([f"--compare={text!r}: {error}".lower()]) from error
    if not words:
        raise ConfigurationError([f"--compare={text!r} must be {KEDA}, or labels"])
    return words


def _labels(option: str, words: Iterable[str]) -> dict[str, str]:
    """Read words such as `temporal.target=20`.

    Raises ConfigurationError that names every word that is no label of ours.
    """
    pairs = [(word, *word.partition("=")) for word in words]
    wrong = [
        f"{option}={word!r} must be a label such as {DEFAULT_PREFIX}.target=20"
        + (f", or {KEDA}" if option == "--compare" else "")
        for word, key, equals, _ in pairs
        if not (equals and key.startswith(f"{DEFAULT_PREFIX}."))
    ]
    if wrong:
        raise ConfigurationError(wrong)
    return {key: value for _, key, _, value in pairs}


# ------------------------------------------------------------------ print


def rows(figures: Figures) -> dict[str, str]:
    """Return the figures as text, by their names: the rows of the table."""
    return {
        "time to drain": _seconds(figures.time_to_drain, "never"),
        "longest wait": _seconds(figures.longest_wait, "unknown"),
        "replica-seconds": f"{figures.replica_seconds:,.0f}",
        "changes of direction": f"{figures.changes_of_direction:,}",
        "peak replicas": f"{figures.peak_replicas:,}",
        "tasks done": "unknown" if figures.tasks_done is None else f"{figures.tasks_done:,}",
        "still waiting": f"{figures.tasks_waiting:,}",
    }


def _seconds(seconds: float | None, unknown: str) -> str:
    if seconds is None:
        return unknown
    return format_duration(timedelta(seconds=round(seconds, 1)))


def _as_json(trace: Trace, contenders: Sequence[Contender], runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "trace": trace.name,
        "measure": trace.measure.value,
        "runs": [
            {
                "name": contender.name,
                "figures": dataclasses.asdict(run.figures),
                "looks": [dataclasses.asdict(step) for step in run.steps],
            }
            for contender, run in zip(contenders, runs, strict=True)
        ],
    }


def _print(trace: Trace, contenders: Sequence[Contender], runs: Sequence[Run]) -> None:
    console = Console(markup=False, highlight=False)
    console.print(_table(trace, contenders, runs))
    if trace.measure is Measure.BACKLOG:
        console.print(
            "The trace has backlogs, which no decision changes. A trace of arrivals also shows what"
            " the replicas achieve, and how long tasks wait.",
            soft_wrap=True,
        )
    width = min(console.width, chart.WIDEST)
    colour = console.is_terminal and not console.no_color
    named = {contender.name: run for contender, run in zip(contenders, runs, strict=True)}
    waiting = {name: [(each.at, each.backlog) for each in run.steps] for name, run in named.items()}
    replicas = {
        name: [(each.at, each.replicas) for each in run.steps] for name, run in named.items()
    }
    # Not the console's print: it would wrap the lines of a chart and interpret its colours.
    print(chart.draw("waiting tasks", waiting, width, colour=colour))  # noqa: T201
    print(chart.draw("replicas", replicas, width, colour=colour))  # noqa: T201


def _table(trace: Trace, contenders: Sequence[Contender], runs: Sequence[Run]) -> Table:
    table = Table(trace.name)
    for contender in contenders:
        table.add_column("\n".join(contender.title), justify="right")
    columns = [rows(run.figures) for run in runs]
    for row in columns[0]:
        table.add_row(row, *(column[row] for column in columns))
    return table
