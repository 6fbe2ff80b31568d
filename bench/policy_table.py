"""Rewrite the tables of docs/policy.md: python bench/policy_table.py

Replays the traces that the package ships through our controller, through KEDA as
autoscaler/simulation/keda.py models it, with a fixed number of replicas, and through the oracle.

With --seed, the same tables are printed for traces that were made with another seed: nothing is
tuned on those. With --stats-only, ours acts on the server's figures alone; with --poll, it decides
less or more often. With one of these options, the page stays as it is.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autoscaler.cli.figures import rows
from autoscaler.cli.simulate import USUAL_POLL
from autoscaler.core.durations import parse_duration
from autoscaler.core.labels import read_labels
from autoscaler.simulation.controllers import Autoscaler, Controller, Fixed
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.oracle import Oracle
from autoscaler.simulation.replay import Figures, replay
from autoscaler.simulation.trace import parse_trace
from autoscaler.simulation.trace_files import shipped_traces

PAGE = Path(__file__).parents[1] / "docs" / "policy.md"
COMPARED = ("mean wait", "p95 wait", "longest wait", "replica-seconds", "changes of direction")
"""Figures by their names in `autoscaler simulate`. Less is better for each of them."""
RATIO = "replica-seconds to the oracle's"
WORSE = " (+)"
"""Put after a figure of ours that is larger than KEDA's."""
FIXED = 20
OTHERS = ("KEDA", f"fixed {FIXED}", "oracle")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page: traces, replayed with the same labels."""

    name: str
    column: str
    """What stands above our column."""
    labels: Mapping[str, str]
    traces: tuple[str, ...]


TABLES = (
    Table("defaults", "default labels", {}, tuple(shipped_traces())),
    Table("max-50", "`max=50`", {"temporal.max": "50"}, ("burst", "cron", "fan-out", "heavy")),
)


@dataclass(frozen=True, slots=True)
class Ours:
    """How ours looks."""

    poll: float = USUAL_POLL.total_seconds()
    """Seconds between two decisions."""
    fresh: bool = True
    """Whether it counts what waits, beside the server's figures."""


def lines(table: Table, name: str, text: str, ours: Ours) -> list[str]:
    """Return the lines of one trace in a table; `text` is the trace."""
    figures = _figures(name, text, table.labels, ours)
    oracle = figures[-1].replica_seconds
    made = []
    for figure in COMPARED:
        cells = [rows(one)[figure] for one in figures]
        cells[0] += _mark(figure, *figures[:2])
        made.append(f"| {name} | {figure} | {' | '.join(cells)} |")
        if figure == "replica-seconds":
            ratios = [f"{one.replica_seconds / oracle:.2f}" for one in figures]
            made.append(f"| {name} | {RATIO} | {' | '.join(ratios)} |")
    return made


def head(table: Table) -> list[str]:
    """Return what stands above the lines of a table."""
    columns = (table.column, *OTHERS)
    return [f"| trace | figure | {' | '.join(columns)} |", f"|---|---|{'---:|' * len(columns)}"]


def _figures(name: str, text: str, labels: Mapping[str, str], ours: Ours) -> list[Figures]:
    """Return the figures of ours and of `OTHERS`, in this order."""
    trace = parse_trace(name, text.splitlines())
    spec = read_labels({"temporal.queue": name, **labels})
    controllers: list[Controller] = [
        Autoscaler(spec, ours.poll, fresh=ours.fresh),
        Keda(spec.target, spec.min, spec.max, spec.activation),
        Fixed(FIXED),
        Oracle(trace, trace.workers, spec.min, spec.max, ours.poll),
    ]
    return [run.figures for run in replay(trace, controllers, trace.workers)]


def _mark(figure: str, ours: Figures, keda: Figures) -> str:
    mine, theirs = (
        getattr(one, figure.replace(" ", "_").replace("-", "_")) for one in (ours, keda)
    )
    # A difference that the table does not show is none.
    return WORSE if mine > theirs and rows(ours)[figure] != rows(keda)[figure] else ""


def tables(texts: Mapping[str, str], ours: Ours) -> dict[str, str]:
    """Return each table by its name on the page, with those of its traces that `texts` has."""
    jobs = [(table, name) for table in TABLES for name in table.traces if name in texts]
    made = {table.name: head(table) for table in TABLES}
    with ProcessPoolExecutor() as pool:
        parts = [pool.submit(lines, table, name, texts[name], ours) for table, name in jobs]
        for (table, _), part in zip(jobs, parts, strict=True):
            made[table.name] += part.result()
    return {name: "\n".join(table) for name, table in made.items()}


def renewed(page: str, made: Mapping[str, str]) -> str:
    """Return the page with new tables; raise SystemExit where a table has no place on it."""
    for name, text in made.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
        between = re.compile(f"(?<={re.escape(begin)}\n).*?(?=\n{re.escape(end)})", re.DOTALL)
        page, found = between.subn(text.replace("\\", r"\\"), page)
        if found != 1:
            raise SystemExit(f"{PAGE.name} needs one {begin} ... {end}")
    return page


def _held_out(seed: int) -> dict[str, str]:
    # Imported here: this file is a module of the tests too, which do not find its neighbours.
    from traces import made  # noqa: PLC0415

    return made(seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Rewrite the page, or print tables where an option asks for others than those of the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seed", type=int, help="print tables for traces made with this seed")
    parser.add_argument("--poll", help="time between two decisions of ours, such as 5s")
    parser.add_argument(
        "--stats-only", action="store_true", help="ours acts on the server's figures alone"
    )
    asked = parser.parse_args(arguments)
    poll = USUAL_POLL if asked.poll is None else parse_duration(asked.poll)
    ours = Ours(poll.total_seconds(), fresh=not asked.stats_only)
    texts = shipped_traces() if asked.seed is None else _held_out(asked.seed)
    made = tables(texts, ours)
    if asked.seed is None and ours == Ours():
        PAGE.write_text(renewed(PAGE.read_text("utf-8"), made), "utf-8")
    else:
        for name, text in made.items():
            print(f"{name}\n\n{text}\n")


if __name__ == "__main__":
    main()
