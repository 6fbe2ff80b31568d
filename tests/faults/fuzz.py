"""Random inputs, situations and sequences of ticks: nothing breaks, and what must hold holds.

Usage: python -m tests.faults.fuzz INPUTS [SEED]

About INPUTS inputs are tried. The first that breaks anything ends the run, reduced to the smallest
one that still does. The same seed draws the same inputs again.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase

from tests.faults.fuzz_decisions import VARIANTS, of_decisions
from tests.faults.fuzz_inputs import (
    VALUES,
    Outcomes,
    Test,
    of_damaged_stores,
    of_labels,
    of_services_files,
    of_settings,
    of_the_store,
    of_traces,
)
from tests.faults.fuzz_ticks import TICKS, of_ticks


class Kind(NamedTuple):
    """One kind of input."""

    make: Callable[[Outcomes, Path], Test]
    share: float
    """Of all inputs."""
    each: int
    """Inputs that are tried for each one that Hypothesis draws, about."""


KINDS = [
    Kind(of_labels, 0.2, len(VALUES)),
    Kind(of_traces, 0.3, len(VALUES)),
    Kind(of_settings, 0.1, len(VALUES)),
    Kind(of_the_store, 0.05, len(VALUES)),
    Kind(of_damaged_stores, 0.05, len(VALUES)),
    Kind(of_services_files, 0.05, len(VALUES)),
    Kind(of_decisions, 0.15, len(VARIANTS)),
    Kind(of_ticks, 0.1, TICKS),
]
"""Settings take the longest, most of it in the library that reads them."""


def fuzz(inputs: int, seed: int) -> Outcomes:
    """Try about so many inputs. Raises what is wrong with the first that breaks anything."""
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "secrets").mkdir()
        for kind in KINDS:
            options = hypothesis.settings(
                max_examples=1 + round(inputs * kind.share / kind.each),
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )
            hypothesis.seed(seed)(options(kind.make(outcomes, folder)))()
    return outcomes


def main() -> int:
    """Run the command line; return its exit code."""
    inputs = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    # The library that reads .env files warns of every line that it does not understand.
    logging.disable()
    print(f"seed {seed}", flush=True)
    outcomes = fuzz(inputs, seed)
    for kind, number in sorted(outcomes.items()):
        print(f"{kind}: {number:,}")
    print(f"{sum(outcomes.values()):,} inputs, and nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main())
