"""What other engines than Docker's own do not do, as docs/engines.md tells: tests that fail there.

One that passes has to leave this table, and its line the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Difference:
    """Tests that cannot pass on an engine."""

    engine: str
    tests: str
    """Pattern of their names, with parameters."""
    because: str
    """Words of the page that say what is different."""
    hangs: bool = False
    """Whether they would wait for ever. Then they do not run."""


DIFFERENCES = (
    Difference(
        "podman",
        "test_commands_have_the_same_outcome*stop-and-start*",
        "`docker compose unpause` does nothing",
    ),
    Difference(
        "podman",
        "test_our_replica_equals_the_one_that_compose_makes*-ports*",
        "A port that is published without a host port",
    ),
    Difference(
        "podman",
        "test_links_and_networks_by_mode_have_the_aliases*",
        "`links` is refused",
    ),
    Difference(
        "rootless",
        "test_commands_have_the_same_outcome*stop-and-start*",
        "Without cgroups, `docker pause` and `docker top` fail",
    ),
    Difference(
        "rootless",
        "*-pid*",
        "Without cgroups, a container with `pid: service:...` cannot be removed",
        hangs=True,
    ),
)


def difference(engine: str, test: str) -> Difference | None:
    """Return why a test cannot pass on an engine; None where it has to."""
    return next(
        (each for each in DIFFERENCES if each.engine == engine and fnmatchcase(test, each.tests)),
        None,
    )
