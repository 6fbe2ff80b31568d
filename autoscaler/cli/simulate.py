"""autoscaler simulate"""

from __future__ import annotations

import dataclasses
import json as jsonlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table

from autoscaler.cli.figures import NO_EFFECT, print_charts, rows
from autoscaler.cli.simulation_file import read_simulation_file
from autoscaler.cli.together import print_together
from autoscaler.core.durations import format_duration, parse_duration
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.labels import DEFAULT_PREFIX, read_labels
from autoscaler.core.spec import ScalingSpec
from autoscaler.settings import Settings
from autoscaler.simulation.controllers import Autoscaler, Controller
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.oracle import Oracle
from autoscaler.simulation.replay import Run, replay
from autoscaler.simulation.together import replay_together
from autoscaler.simulation.trace import Measure, Trace
from autoscaler.simulation.trace_files import read_trace, shipped_names
from autoscaler.simulation.workers import Workers, parse_workers

KEDA, ORACLE = "keda", "oracle"
QUEUE = f"{DEFAULT_PREFIX}.queue"
SHORTEST_POLL = timedelta(seconds=1)
LONGEST_POLL = timedelta(hours=1)
USUAL_POLL: timedelta = Settings.model_fields["poll_interval"].default


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


@dataclass(frozen=True, slots=True)
class _Stage:
    """What all contenders of a table have in common."""

    trace: Trace
    workers: Workers
    poll: float
    """Seconds between two decisions of ours."""
    fresh: bool
    """Whether ours counts what waits, beside the server's figures."""
    timezone: ZoneInfo
    """Zone of schedules that name none: the daemon's."""
    labels: Mapping[str, str]
    """Those of the first contender; others change some of them."""

    def spec(self, **changed: str) -> ScalingSpec:
        """Read the labels, some of them changed. Raises LabelError."""
        return read_labels({**self.labels, **changed}, timezone=self.timezone)


def simulate(  # noqa: PLR0913 - an option each
    trace: Annotated[
        str | None,
        typer.Argument(
            help=f"A CSV or JSON-lines file, or one of {', '.join(shipped_names())}.",
            autocompletion=shipped_names,
        ),
    ] = None,
    *,
    label: Annotated[
        list[str] | None, typer.Option(help="A label, such as temporal.target=20; repeatable.")
    ] = None,
    service_time: Annotated[
        str | None,
        typer.Option(
            help="How long a task runs: 2s; 2s,30s@10% where a tenth runs for 30s; 2s;4s from 30m"
            " where it changes. Default: what the trace says, or 2s."
        ),
    ] = None,
    slots: Annotated[
        str | None,
        typer.Option(
            help="Tasks a replica runs at once. Default: what the trace says, or 2.",
            metavar="<int>",
        ),
    ] = None,
    startup: Annotated[
        str | None,
        typer.Option(
            help="How long a new replica takes to start. Default: what the trace says, or 3s."
        ),
    ] = None,
    heartbeat: Annotated[
        str | None,
        typer.Option(
            help="Time between two heartbeats of a worker, 1s to 60s; 0s: it sends none."
            " Default: what the trace says, or 60s."
        ),
    ] = None,
    unseen: Annotated[
        str | None,
        typer.Option(
            help="Share of the tasks that find a free slot without being seen in Temporal's figures"
            " (eager activities), such as 20%. Default: what the trace says, or 0%."
        ),
    ] = None,
    poll: Annotated[
        str, typer.Option(help="Time between two decisions of ours.")
    ] = format_duration(USUAL_POLL),
    stats_only: Annotated[
        bool,
        typer.Option(
            "--stats-only",
            help="Act on the server's figures alone, which are up to 5s old, without counting what"
            " waits at each poll.",
        ),
    ] = False,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="keda; oracle, which knows what will come; or labels to change, such as"
            ' "temporal.target=20 temporal.max=30"; repeatable.'
        ),
    ] = None,
    with_: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="Instead of a trace: a YAML file of services with a trace each, and of limits that"
            " they share.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option(help="An object, for programs.")] = False,
) -> None:
    """Replay a trace through the same decision that `run` makes: figures and a plot.

    A trace has a header and the columns time and backlog, or time and arrivals; a JSON-lines
    trace has an object with the same names in each line. Time is in seconds or ISO 8601, in UTC
    where it has no offset; schedules follow it. With seconds, a trace begins on a Monday at 00:00
    UTC. Tasks that arrive are served by a small model of the workers, which the options describe,
    or lines such as `# slots: 4` in front of the trace.
    """
    said = {
        "service-time": service_time,
        "slots": slots,
        "startup": startup,
        "heartbeat": heartbeat,
        "unseen": unseen,
    }
    given = {name: text for name, text in said.items() if text is not None}
    interval = _duration("--poll", poll)
    if not SHORTEST_POLL <= interval <= LONGEST_POLL:
        raise ConfigurationError([f"--poll={poll!r} must be from 1s to 1h"])
    if with_ is not None:
        _refuse_beside(with_, trace, [*(label or []), *(compare or [])])
        _simulate_together(with_, given, interval, fresh=not stats_only, json=json)
        return
    if trace is None:
        names = ", ".join(shipped_names())
        raise ConfigurationError([f"TRACE is missing: name a file, or one of {names}; or --with"])
    replayed = read_trace(trace)
    workers = parse_workers(given, replayed.workers, "--")
    labels = {QUEUE: replayed.name} | _labels("--label", label or [])
    stage = _Stage(
        replayed,
        workers,
        interval.total_seconds(),
        not stats_only,
        Settings.load().timezone,
        labels,
    )
    title = "these labels" if label else "default labels"
    contenders = _contenders(stage, title, compare or [])
    runs = replay(replayed, [contender.controller for contender in contenders], workers)
    if json:
        print(jsonlib.dumps(_as_json(replayed, contenders, runs), indent=2))  # noqa: T201
    else:
        _print(stage, contenders, runs)


def _simulate_together(
    path: Path, given: Mapping[str, str], interval: timedelta, *, fresh: bool, json: bool
) -> None:
    """Simulate the services of a file, which share limits."""
    parse_workers(given, Workers(), "--")  # raises what is wrong with the options, before the rest
    file = read_simulation_file(path, given, Settings.load().timezone)
    shared = replay_together(file.members, file.groups, interval.total_seconds(), fresh=fresh)
    print_together(shared, json=json)


# ------------------------------------------------------------------ parse


def _refuse_beside(path: Path, trace: str | None, others: Sequence[str]) -> None:
    """Raise ConfigurationError for a trace beside `--with`, and for what only a trace can have."""
    problems = []
    if trace is not None:
        problems.append(f"{trace!r} and --with={str(path)!r} are both given: keep one of them")
    if others:
        problems.append("--label and --compare do not go with --with: write labels into its file")
    if problems:
        raise ConfigurationError(problems)


def _duration(option: str, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError([f"{option}={text!r}: {error}"]) from error


def _contenders(stage: _Stage, title: str, compare: Sequence[str]) -> list[Contender]:
    """Return our controller with the labels given, and those that it is compared with."""
    found = [Contender((title,), Autoscaler(stage.spec(), stage.poll, fresh=stage.fresh))]
    found += [_contender(stage, text) for text in compare]
    names = [contender.name for contender in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError([f"--compare names {name} twice" for name in twice])
    return found


def _contender(stage: _Stage, text: str) -> Contender:
    """Read one `--compare`."""
    name, spec = text.strip().lower(), stage.spec()
    if name == KEDA:
        return Contender(("KEDA",), Keda(spec.target, spec.min, spec.max, spec.activation))
    if name == ORACLE:
        oracle = Oracle(stage.trace, stage.workers, spec.min, spec.max, stage.poll)
        return Contender((ORACLE,), oracle)
    changed = _labels("--compare", _words(text))
    titles = tuple(
        f"{key.removeprefix(f'{DEFAULT_PREFIX}.')}={value}" for key, value in changed.items()
    )
    return Contender(titles, Autoscaler(stage.spec(**changed), stage.poll, fresh=stage.fresh))


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigurationError([f"--compare={text!r}: {error}".lower()]) from error
    if not words:
        raise ConfigurationError([f"--compare={text!r} must be {KEDA}, {ORACLE}, or labels"])
    return words


def _labels(option: str, words: Iterable[str]) -> dict[str, str]:
    """Read words such as `temporal.target=20`.

    Raises ConfigurationError that names every word that is no label of ours.
    """
    pairs = [(word, *word.partition("=")) for word in words]
    wrong = [
        f"{option}={word!r} must be a label such as {DEFAULT_PREFIX}.target=20"
        + (f", or {KEDA}, or {ORACLE}" if option == "--compare" else "")
        for word, key, equals, _ in pairs
        if not (equals and key.startswith(f"{DEFAULT_PREFIX}."))
    ]
    if wrong:
        raise ConfigurationError(wrong)
    return {key: value for _, key, _, value in pairs}


# ------------------------------------------------------------------ print


def _as_json(trace: Trace, contenders: Sequence[Contender], runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "trace": trace.name,
        "measure": trace.measure.value,
        "begins": trace.begins.isoformat(),
        "runs": [
            {
                "name": contender.name,
                "figures": dataclasses.asdict(run.figures),
                "looks": [dataclasses.asdict(step) for step in run.steps],
            }
            for contender, run in zip(contenders, runs, strict=True)
        ],
    }


def _print(stage: _Stage, contenders: Sequence[Contender], runs: Sequence[Run]) -> None:
    trace = stage.trace
    console = Console(markup=False, highlight=False)
    console.print(_table(trace, contenders, runs))
    if trace.measure is Measure.BACKLOG:
        console.print(f"The trace {NO_EFFECT}", soft_wrap=True)
    begins = trace.begins.astimezone(stage.spec().timezone) if trace.dated else None
    named = {contender.name: run for contender, run in zip(contenders, runs, strict=True)}
    waiting = {name: [(each.at, each.backlog) for each in run.steps] for name, run in named.items()}
    replicas = {
        name: [(each.at, each.replicas) for each in run.steps] for name, run in named.items()
    }
    print_charts(console, {"waiting tasks": waiting, "replicas": replicas}, begins)


def _table(trace: Trace, contenders: Sequence[Contender], runs: Sequence[Run]) -> Table:
    table = Table(trace.name)
    for contender in contenders:
        table.add_column("\n".join(contender.title), justify="right")
    columns = [rows(run.figures) for run in runs]
    for row in columns[0]:
        table.add_row(row, *(column[row] for column in columns))
    return table
