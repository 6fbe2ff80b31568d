"""What the benchmarks share: figures of several rounds, and their table in docs/benchmarks.md.

Machines are noisy. Every figure is therefore measured in several rounds. A figure that it is
compared with is measured in the same rounds, in turn. The table shows minimum, median and maximum.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_HEAD = (
    "| what | unit | min | median | max | to reach | reached |",
    "|---|---|---:|---:|---:|---:|---|",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    what: str
    figures: Sequence[float]
    """One figure of each round."""
    unit: str = "s"
    """`ratio` where two figures of the same round were divided."""
    reach: float | None = None
    """The goal: the median should be at most this."""

    @classmethod
    def ratio(
        cls, what: str, ours: Iterable[float], theirs: Iterable[float], reach: float | None = None
    ) -> Self:
        """Divide figures of the same rounds."""
        return cls(what, [a / b for a, b in zip(ours, theirs, strict=True)], "ratio", reach)

    @property
    def reached(self) -> bool:
        """Whether the median reaches the goal."""
        return self.reach is None or statistics.median(self.figures) <= self.reach

    def __str__(self) -> str:
        figures = (min(self.figures), statistics.median(self.figures), max(self.figures))
        cells = [self.what, self.unit, *map(_figure, figures)]
        cells += ["", ""] if self.reach is None else [
            f"<= {_figure(self.reach)}", "yes" if self.reached else "no"
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"


def queue_name(number: int) -> str:
    """Return the name of the nth task queue."""
    return f"queue-{number}"


def table(rows: Iterable[Row]) -> str:
    """Return rows as a table in Markdown."""
    return "\n".join([*_HEAD, *map(str, rows)])


def publish(name: str, rows: Sequence[Row]) -> None:
    """Print a table with the machine's load, and write it to its place in docs/benchmarks.md."""
    text = f"{table(rows)}\n\n{_conditions(max(len(row.figures) for row in rows))}"
    print(text, flush=True)
    page = PAGE.read_text("utf-8")
    begin, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
    before, found, rest = page.partition(begin)
    if not found:
        raise SystemExit(f"{PAGE.name} needs {begin.strip()} ... {end.strip()}")
    PAGE.write_text(f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}", "utf-8")


def run_parts(
    text: str | None, parts: Mapping[str, tuple[Callable[[int], list[Row]], int]]
) -> None:
    """Run the parts that the command line names, or all of them, and end the process.

    Each part has a function that measures it in a number of rounds, and the default number.
    """
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], metavar="PART")
    parser.add_argument("--rounds", type=int)
    asked = parser.parse_args()
    for part in asked.parts or parts:
        measure, rounds = parts[part]
        publish(part, measure(asked.rounds or rounds))
    # Not sys.exit: it would wait for threads that call the engine, and the Temporal client can
    # crash an interpreter that ends right after a call.
    os._exit(0)


def _conditions(rounds: int) -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{rounds} rounds on {os.cpu_count()} cores; load of the machine (1, 5, 15 min): {load}."


def _figure(value: float) -> str:
    if value >= 100:  # noqa: PLR2004 - three digits are enough
        return f"{value:,.0f}"
    return f"{value:.3g}"
