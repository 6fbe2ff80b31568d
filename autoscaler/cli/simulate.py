"""autoscaler simulate"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json as jsonlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from autoscaler.core.durations import format_duration, parse_duration
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.spec import DEFAULT_PREFIX, ScalingSpec
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.simulation import (
    Autoscaler,
    Controller,
    Figures,
    Look,
    Run,
    Workers,
    replay,
)
from autoscaler.simulation.trace import Measure, Trace, parse_trace

KEDA = "keda"
QUEUE = f"{DEFAULT_PREFIX}.queue"
LONGEST_QUOTE = 100
LARGEST_FILE = 64 * 1024 * 1024
SHORTEST_POLL = timedelta(seconds=1)
LONGEST_POLL = timedelta(hours=1)
PLOT_HEIGHT = 12
WIDEST_PLOT = 120
TICKS = 7
MARKERS = ("braille", "x", "o", "+")


@dataclass(frozen=True, slots=True)
class Contender:
    """One column of the table."""

    name: str
    controller: Controller


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
    startup: Annotated[str, typer.Option(help="How long a new replica takes to begin.")] = "3s",
    poll: Annotated[str, typer.Option(help="How often the autoscaler looks.")] = "5s",
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
    named = {contender.name: run for contender, run in zip(contenders, runs, strict=True)}
    if json:
        print(jsonlib.dumps(_as_json(replayed, named), indent=2))  # noqa: T201
    else:
        _print(replayed, named)


# ------------------------------------------------------------------------------ what is asked


def shipped_traces() -> dict[str, str]:
    """Return the traces that come with the package, name and text."""
    folder = resources.files("autoscaler").joinpath("traces")
    return {
        file.name.removesuffix(".csv"): file.read_text("utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".csv")
    }


def read_trace(name: str) -> Trace:
    """Read a shipped trace, or else a file."""
    shipped = shipped_traces()
    if name in shipped:
        return parse_trace(name, shipped[name].splitlines())
    path = Path(name)
    try:
        if not os.path.isfile(name):  # noqa: PTH113 - a name no file can have is none either
            raise ConfigurationError([_unknown(name, shipped)])
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigurationError([f"{name} is larger than {LARGEST_FILE >> 20} MiB"])
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{name} is not UTF-8 text (byte {error.start})"]) from error
    except OSError as error:
        raise ConfigurationError([f"{name} cannot be read: {error.strerror}"]) from error
    return parse_trace(path.name, text.split("\n"))


def _unknown(name: str, shipped: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), shipped, n=1)
    hint = f", the nearest is {near[0]}" if near else ""
    known = ", ".join(shipped)
    return f"{name[:LONGEST_QUOTE]!r} is neither a file nor one of the traces {known}{hint}"


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
    """Ours with the labels given, and what it is compared to."""
    seconds = interval.total_seconds()
    labels = {QUEUE: queue} | _labels("--label", label)
    spec = ScalingSpec.from_labels(labels)
    found = [Contender("these labels" if label else "default labels", Autoscaler(spec, seconds))]
    for text in compare:
        if text.strip().lower() == KEDA:
            found.append(Contender("KEDA", Keda(spec.target, spec.min, spec.max, spec.activation)))
            continue
        changed = _labels("--compare", _words(text))
        other = ScalingSpec.from_labels(labels | changed)
        name = "\n".join(
            f"{key.removeprefix(f'{DEFAULT_PREFIX}.')}={value}" for key, value in changed.items()
        )
        found.append(Contender(name, Autoscaler(other, seconds)))
    names = [contender.name for contender in found]
    twice = sorted({name.replace("\n", " ") for name in names if names.count(name) > 1})
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
    """Read `temporal.target=20`; a word that can be no label of ours is named."""
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


# -------------------------------------------------------------------------- what is answered


def rows(figures: Figures) -> dict[str, str]:
    """Return the rows of the table for people: what is measured, and how much it is."""
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


def _as_json(trace: Trace, runs: Mapping[str, Run]) -> dict[str, Any]:
    return {
        "trace": trace.name,
        "measure": trace.measure.value,
        "runs": [
            {
                "name": name.replace("\n", " "),
                "figures": dataclasses.asdict(run.figures),
                "looks": [dataclasses.asdict(look) for look in run.looks],
            }
            for name, run in runs.items()
        ],
    }


def _print(trace: Trace, runs: Mapping[str, Run]) -> None:
    console = Console(markup=False, highlight=False)
    console.print(_table(trace, runs))
    if trace.measure is Measure.BACKLOG:
        console.print(
            "The trace has backlogs: they stay what they are, whatever is decided. With arrivals"
            " the effect of the replicas shows, and how long tasks wait.",
            soft_wrap=True,
        )
    width = min(console.width, WIDEST_PLOT)
    colour = console.is_terminal and not console.no_color
    # Not the console's print: a plot brings its own colours, and its lines stay as they are.
    print(_plot("waiting tasks", _lines(runs, "backlog", width), width, colour=colour))  # noqa: T201
    print(_plot("replicas", _lines(runs, "replicas", width), width, colour=colour))  # noqa: T201


def _table(trace: Trace, runs: Mapping[str, Run]) -> Table:
    table = Table(trace.name)
    for name in runs:
        table.add_column(name, justify="right")
    columns = [rows(run.figures) for run in runs.values()]
    for row in columns[0]:
        table.add_row(row, *(column[row] for column in columns))
    return table


Line = list[tuple[float, int]]


def _lines(runs: Mapping[str, Run], what: str, most: int) -> dict[str, Line]:
    return {name.replace("\n", " "): _thin(run.looks, what, most) for name, run in runs.items()}


def _thin(looks: Sequence[Look], what: str, most: int) -> Line:
    """Keep at most so many points: where there are more, the highest of those that share one."""
    share = -(-len(looks) // most)
    groups = [looks[start : start + share] for start in range(0, len(looks), share)]
    return [(group[0].at, max(getattr(look, what) for look in group)) for group in groups]


def _plot(title: str, lines: Mapping[str, Line], width: int, *, colour: bool) -> str:
    # The other verbs need not wait for the library.
    import plotext  # type: ignore[import-untyped]  # noqa: PLC0415

    plotext.clear_figure()
    plotext.theme("clear" if not colour else "pro")
    plotext.plot_size(width, PLOT_HEIGHT)
    plotext.title(title)
    for (name, line), marker in zip(lines.items(), itertools.cycle(MARKERS), strict=False):
        times, values = zip(*line, strict=True)
        plotext.plot(times, values, label=name[: width // 2], marker=marker)
    end = max(line[-1][0] for line in lines.values()) or 1.0
    highest = max(value for line in lines.values() for _, value in line) or 1
    plotext.xlim(0, end)
    plotext.ylim(0, highest)
    marks = [end * tick / (TICKS - 1) for tick in range(TICKS)]
    plotext.xticks(marks, [_mark(mark) for mark in marks])
    levels = sorted({highest * tick // (TICKS // 2) for tick in range(TICKS // 2 + 1)})
    plotext.yticks(levels, [f"{level:,}" for level in levels])
    text: str = plotext.build()
    return text if colour else plotext.uncolorize(text)


def _mark(seconds: float) -> str:
    """Write a time below a plot: no finer than its place allows."""
    step = 60 if seconds >= 600 else 1  # noqa: PLR2004 - from ten minutes on, minutes will do
    return format_duration(timedelta(seconds=round(seconds / step) * step))
