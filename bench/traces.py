"""Make the traces that the package ships: python bench/traces.py

What they are is described in docs/policy.md. Those with chance in them are made with a seed. The
package ships those of `SEED`; `made(seed)` gives others, to check what was tuned on these.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "autoscaler" / "simulation" / "traces"
SEED = 1

# On average, load begins half an interval before the next decision. 67 s is 3 s before a decision
# where there is one every 5 s, and 8 s before a decision where there is one every 15 s.
BEGIN = 67
STEP = 10
"""Seconds of a row in a trace with chance in it."""

Rows = list[tuple[int, int]]


def burst() -> Rows:
    """2,000 tasks at once."""
    return [(0, 0), (BEGIN, 2000), (BEGIN + 1, 0)]


def ramp() -> Rows:
    """A rise from 0 to 8 tasks a second in 20 minutes, 10 minutes at 8, and the same way back."""
    rise, top, step = 1200, 600, 10
    rows = [(0, 0)]
    for second in range(0, 2 * rise + top, step):
        share = min(second / rise, 1, (2 * rise + top - second) / rise)
        rows.append((BEGIN + second, round(8 * share * step)))
    return rows


def day() -> Rows:
    """24 hours by the minute: a cosine with 6 tasks a second at 16:00 and none at 04:00."""
    peak, low = 360, 4 * 60
    wave = [math.cos(2 * math.pi * (minute - low) / 1440) for minute in range(1440)]
    return [(60 * minute, round(peak * (1 - wave[minute]) / 2)) for minute in range(1440)]


def fan_out() -> Rows:
    """Six waves of 600 tasks at once, one every 10 minutes."""
    rows = [(0, 0)]
    for wave in range(6):
        begin = BEGIN + 600 * wave
        rows += [(begin, 600), (begin + 1, 0)]
    return rows


def web(chance: random.Random) -> Rows:
    """24 hours of a web site: two peaks of about 5 tasks a second, noise, and some 20 bursts.

    The noise changes the rate by a fifth, and lasts for minutes. A burst adds 1 to 4 tasks a second
    at once, which fade over minutes.
    """
    noise, burst_rate = 0.0, 0.0
    rates = []
    for second in range(0, 86_400, STEP):
        hour = second / 3600
        usual = 0.4 + 4.5 * _hump(hour, 11, 2.5) + 4.0 * _hump(hour, 20, 2)
        noise = 0.95 * noise + 0.06 * _normal(chance)
        burst_rate *= math.exp(-STEP / 120)
        if chance.random() < 20 * STEP / 86_400:
            burst_rate += 1 + 3 * chance.random()
        rates.append(usual * math.exp(noise) + burst_rate)
    return _poisson_rows(rates, chance)


def heavy(chance: random.Random) -> Rows:
    """2 hours of batches, one every 30 s on average: most have 5 tasks, some have hundreds.

    The sizes are Pareto-distributed with exponent 1.3, at most 1,000.
    """
    rows = {0: 0}
    at = BEGIN + _exponential(30, chance)
    while at < 2 * 3600:
        size = min(1000, round(5 * (1 - chance.random()) ** (-1 / 1.3)))
        rows[int(at)] = rows.get(int(at), 0) + size
        rows.setdefault(int(at) + 1, 0)
        at += _exponential(30, chance)
    return sorted(rows.items())


def cron(chance: random.Random) -> Rows:
    """4 hours: 300 to 600 tasks on the hour, 40 to 80 each quarter, and one each 5 s beside them.

    Tasks of a spike come within 3 s.
    """
    rows: dict[int, int] = {}
    for second in range(0, 4 * 3600, STEP):
        rows[second] = _poisson(0.2 * STEP, chance)
    for quarter in range(16):
        begin = BEGIN + 900 * quarter
        size = round((450 if quarter % 4 == 0 else 60) * (2 / 3 + 2 / 3 * chance.random()))
        rows[begin] = size
        rows.setdefault(begin + 3, 0)
    return sorted(rows.items())


def slow(chance: random.Random) -> Rows:
    """2 hours of slow workers: between 1 and 7 tasks a second in a wave of an hour, with noise."""
    rates = [4 - 3 * math.cos(2 * math.pi * second / 3600) for second in range(0, 2 * 3600, STEP)]
    return _poisson_rows(rates, chance)


def step(chance: random.Random) -> Rows:
    """20 minutes at 6 tasks a second, and 20 minutes at 1."""
    return _poisson_rows([6.0] * (1200 // STEP) + [1.0] * (1200 // STEP), chance)


def doubling(chance: random.Random) -> Rows:
    """40 minutes at 3.5 tasks a second, which take twice as long from the middle on."""
    return _poisson_rows([3.5] * (2400 // STEP), chance)


Seeded = Callable[[random.Random], Rows]
FORMULAS: Mapping[str, Callable[[], Rows]] = {
    "burst": burst,
    "ramp": ramp,
    "day": day,
    "fan-out": fan_out,
}
"""Traces without chance."""
SEEDED: Mapping[str, Seeded] = {
    "web": web,
    "heavy": heavy,
    "cron": cron,
    "slow": slow,
    "step": step,
    "doubling": doubling,
}
"""Traces with chance in them."""
WORKERS: Mapping[str, tuple[str, ...]] = {
    "slow": ("service-time: 5s", "slots: 4", "startup: 20s"),
    "doubling": (f"service-time: 2s;4s from {BEGIN + 1200}s",),
}
"""What a trace says of its workers."""


def made(seed: int) -> dict[str, str]:
    """Return the traces with chance in them, made with this seed, as the text of CSV files."""
    # A seed of its own for each: one that changes leaves the others as they are.
    return {
        name: text(name, make(random.Random(f"{name} {seed}")))  # noqa: S311 - no secret is made
        for name, make in SEEDED.items()
    }


def shipped() -> dict[str, str]:
    """Return the traces of the package, as the text of CSV files."""
    plain = {name: text(name, make()) for name, make in FORMULAS.items()}
    return plain | made(SEED)


def text(name: str, rows: Rows) -> str:
    """Return a trace as the text of a CSV file."""
    said = [f"# {each}\n" for each in WORKERS.get(name, ())]
    return "".join([*said, "time,arrivals\n", *(f"{at},{tasks}\n" for at, tasks in rows)])


# ------------------------------------------------------------------ chance


def _poisson_rows(rates: Iterable[float], chance: random.Random) -> Rows:
    """Return rows of `STEP` seconds from `BEGIN` on, for rates in tasks a second."""
    rows = [(0, 0)]
    for number, rate in enumerate(rates):
        rows.append((BEGIN + number * STEP, _poisson(rate * STEP, chance)))
    return rows


def _poisson(mean: float, chance: random.Random) -> int:
    """Count the arrivals of a Poisson process in a time in which `mean` are expected."""
    number, passed = 0, _exponential(1, chance)
    while passed <= mean:
        number += 1
        passed += _exponential(1, chance)
    return number


def _exponential(mean: float, chance: random.Random) -> float:
    return -mean * math.log(1 - chance.random())


def _normal(chance: random.Random) -> float:
    """Return a number around 0 with variance 1, near enough to the normal distribution."""
    return sum(chance.random() for _ in range(12)) - 6


def _hump(hour: float, middle: float, width: float) -> float:
    return math.exp(-(((hour - middle) / width) ** 2))


if __name__ == "__main__":
    for file, content in shipped().items():
        (FOLDER / f"{file}.csv").write_text(content)
