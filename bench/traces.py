"""Make the traces that the package ships: python bench/traces.py

The formulas are described in docs/policy.md.
"""

from __future__ import annotations

import math
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "autoscaler" / "simulation" / "traces"

# On average, load begins half an interval before the next decision. 67 s is 3 s before a decision
# where there is one every 5 s, and 8 s before a decision where there is one every 15 s.
BEGIN = 67


def burst() -> list[tuple[int, int]]:
    """2,000 tasks at once."""
    return [(0, 0), (BEGIN, 2000), (BEGIN + 1, 0)]


def ramp() -> list[tuple[int, int]]:
    """A rise from 0 to 8 tasks a second in 20 minutes, 10 minutes at 8, and the same way back."""
    rise, top, step = 1200, 600, 10
    rows = [(0, 0)]
    for second in range(0, 2 * rise + top, step):
        share = min(second / rise, 1, (2 * rise + top - second) / rise)
        rows.append((BEGIN + second, round(8 * share * step)))
    return rows


def day() -> list[tuple[int, int]]:
    """24 hours by the minute: a cosine with 6 tasks a second at 16:00 and none at 04:00."""
    peak, low = 360, 4 * 60
    wave = [math.cos(2 * math.pi * (minute - low) / 1440) for minute in range(1440)]
    return [(60 * minute, round(peak * (1 - wave[minute]) / 2)) for minute in range(1440)]


def fan_out() -> list[tuple[int, int]]:
    """Six waves of 600 tasks at once, one every 10 minutes."""
    rows = [(0, 0)]
    for wave in range(6):
        begin = BEGIN + 600 * wave
        rows += [(begin, 600), (begin + 1, 0)]
    return rows


TRACES = {"burst": burst, "ramp": ramp, "day": day, "fan-out": fan_out}


def text(rows: list[tuple[int, int]]) -> str:
    """Return a trace as the text of a CSV file."""
    return "".join(["time,arrivals\n", *(f"{at},{tasks}\n" for at, tasks in rows)])


if __name__ == "__main__":
    for name, make in TRACES.items():
        (FOLDER / f"{name}.csv").write_text(text(make()))
