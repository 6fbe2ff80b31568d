"""Charts of numbers over time, drawn in characters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from autoscaler.core.durations import format_duration
from autoscaler.core.words import figure

WIDEST = 120
"""Characters: a wider chart is harder to read."""
_HEIGHT = 12
_MARKS = 7
_MARKERS = ("braille", "x", "o", "+")

Line = Sequence[tuple[float, int]]
"""Points of a line: seconds since the beginning, and the number at that time."""


def draw(
    title: str,
    lines: Mapping[str, Line],
    width: int,
    *,
    colour: bool,
    begins: datetime | None = None,
) -> str:
    """Return a chart with a line for each name, `width` characters wide.

    Below it are the seconds that have passed, or the times of the day where it `begins` at a date.
    """
    # Imported here, so that the other commands do not wait for it.
    import plotext  # type: ignore[import-untyped]  # noqa: PLC0415

    lines = {name: _thin(line, width) for name, line in lines.items()}
    plotext.clear_figure()
    plotext.theme("clear" if not colour else "pro")
    plotext.plot_size(width, _HEIGHT)
    plotext.title(title)
    for (name, line), marker in zip(lines.items(), itertools.cycle(_MARKERS), strict=False):
        times, values = zip(*line, strict=True)
        plotext.plot(times, values, label=name[: width // 2], marker=marker)
    end = max(line[-1][0] for line in lines.values()) or 1.0
    highest = max(value for line in lines.values() for _, value in line) or 1
    plotext.xlim(0, end)
    plotext.ylim(0, highest)
    marks = [end * mark / (_MARKS - 1) for mark in range(_MARKS)]
    plotext.xticks(marks, [_time(seconds, begins) for seconds in marks])
    levels = sorted({highest * mark // (_MARKS // 2) for mark in range(_MARKS // 2 + 1)})
    plotext.yticks(levels, [figure(level) for level in levels])
    text: str = plotext.build()
    return text if colour else plotext.uncolorize(text)


def _thin(line: Line, most: int) -> Line:
    """Return at most `most` points; where several become one, the highest number is kept."""
    share = -(-len(line) // most)
    groups = [line[start : start + share] for start in range(0, len(line), share)]
    return [(group[0][0], max(number for _, number in group)) for group in groups]


def _time(seconds: float, begins: datetime | None) -> str:
    """Write a time below the chart: of the day, or in seconds, from ten minutes on in minutes."""
    if begins is not None:
        at = begins.astimezone(UTC) + timedelta(seconds=seconds)
        return f"{at.astimezone(begins.tzinfo):%a %H:%M}"
    step = 60 if seconds >= 600 else 1  # noqa: PLR2004
    return format_duration(timedelta(seconds=round(seconds / step) * step))
