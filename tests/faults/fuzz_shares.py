"""Random claims and limits: every rule of a share holds, also from tick to tick.

Usage: python -m tests.faults.fuzz_shares CASES [SEED]

The first case that breaks a rule ends the run and is printed. The same seed draws the same cases.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from random import Random

from autoscaler.core.model import ServiceId
from autoscaler.core.share import Claim, Limit
from tests.unit.core import shares

LIMITS = ("memory of the host", "group gpu", "all services")
CAPACITIES = (0, 1, 2, 3, 5, 8, 13, 21, 34, 60)


def draw_limits(random: Random) -> list[Limit]:
    """Draw one to three limits."""
    return [Limit(name, random.choice(CAPACITIES)) for name in LIMITS[: random.randint(1, 3)]]


def draw_claim(random: Random, number: int) -> Claim:
    """Draw the claim of one service, which takes something of most limits."""
    costs = {name: random.choice((1, 1, 2, 3, 7)) if name == LIMITS[0] else 1 for name in LIMITS}
    return Claim(
        ServiceId(random.choice(("compose", "swarm")), f"shop/worker-{number}"),
        wished=random.choice((0, 1, 2, 3, 5, 9, 20)),
        least=random.choice((0, 0, 1, 1, 2, 4)),
        replicas=random.choice((0, 0, 1, 2, 4, 9)),
        draining=random.choice((0, 0, 0, 1, 3)),
        priority=random.choice((0, 0, 5, -3)),
        weight=random.choice((1.0, 1.0, 2.0, 0.5, 3.0, 0.1)),
        costs={name: cost for name, cost in costs.items() if random.random() < 0.8},
        keeps=random.random() < 0.1,
    )


def check(random: Random, claims: list[Claim], limits: list[Limit]) -> None:
    """Check every rule; for more of a limit, one of the limits and one larger capacity."""
    shares.check_tick(claims, limits)
    shares.check_rest(claims, limits)
    shares.check_order_of_claims(claims, limits)
    shares.check_no_turns(claims, limits)
    limit = random.choice(limits)
    more = limit.capacity + random.choice((1, 1, 2, 5, 50))
    shares.check_more_of(claims, limit, replace(limit, capacity=more))


def fuzz(cases: int, seed: int) -> None:
    """Try so many cases. Raises AssertionError with the first that breaks a rule."""
    random = Random(seed)
    for number in range(cases):
        limits = draw_limits(random)
        claims = [draw_claim(random, each) for each in range(random.randint(1, 7))]
        try:
            check(random, claims, limits)
        except AssertionError as error:
            told = "\n".join(map(str, [*limits, *claims]))
            raise AssertionError(f"case {number} of seed {seed}: {error}\n{told}") from error


def main() -> int:
    """Run the command line; return its exit code."""
    cases = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print(f"seed {seed}", flush=True)
    fuzz(cases, seed)
    print(f"{cases:,} shares, and every rule held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
