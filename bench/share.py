"""What a share costs: python bench/share.py

A thousand services, each with a wish, a min, a weight and one of three priorities, share limits
that are enough for half of what they wish. Each round also decides for as many services: a share
is compared with that.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from decide import POLL, situations
from measure import Row, publish

from autoscaler.core.decide import decide
from autoscaler.core.model import ServiceId
from autoscaler.core.share import Claim, Limit, share
from autoscaler.core.situation import Situation
from autoscaler.core.words import counted

SERVICES = 1000
GROUPS = 10
REPLICA = 100 * 2**20
"""Bytes of a replica."""
MARK = 20.0
"""Milliseconds that a share of a thousand services may take."""
RATIO_MARK = 0.5
"""The same, as a part of what it takes to decide for them."""


def claims(*, many: bool) -> list[Claim]:
    """Return claims on a total; with `many`, on the host's memory and one of the groups too."""
    random = Random(1)  # noqa: S311 - the same figures in each run, and no secret
    made = []
    for number in range(SERVICES):
        wished = random.randint(1, 20)
        others = {"memory of the host": REPLICA, f"group {number % GROUPS}": 1} if many else {}
        made.append(
            Claim(
                ServiceId("compose", f"shop/worker-{number}"),
                wished,
                least=1,
                replicas=random.randint(0, wished),
                priority=number % 3,
                weight=1.0 + number % 2,
                costs={"all services": 1, **others},
            )
        )
    return made


def halves(made: list[Claim]) -> list[Limit]:
    """Return limits with half of what all wish of them together."""
    wished: Counter[str] = Counter()
    for claim in made:
        wished.update({name: claim.wished * cost for name, cost in claim.costs.items()})
    return [Limit(name, number // 2) for name, number in wished.items()]


def decide_each(known: list[Situation]) -> None:
    """Decide for every service."""
    for situation in known:
        decide(situation)


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def measure(rounds: int) -> list[Row]:
    """Measure shares of one limit, and of many at once, beside decisions."""
    known = situations(SERVICES, {}, POLL)
    rows = []
    for many in (False, True):
        made = claims(many=many)
        limits = halves(made)
        what = counted(len(limits), "limit")
        taken, deciding = [], []
        for _ in range(rounds):
            taken.append(milliseconds(partial(share, made, limits)))
            deciding.append(milliseconds(partial(decide_each, known)))
        rows.append(Row(f"{SERVICES:,} services share {what}", taken, "ms", MARK))
        rows.append(Row.ratio(f"{what}: deciding for each service", taken, deciding, RATIO_MARK))
    return rows


def main() -> None:
    """Measure, print the table and write it to docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    publish("share", measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
