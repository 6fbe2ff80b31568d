"""What an answer of Temporal leaves out: a field that is absent is unknown, and never zero."""

from __future__ import annotations


class MissingError(Exception):
    """An answer lacks what the autoscaler needs, as the answers of older servers do."""

    def __init__(self, what: str, since: str) -> None:
        """Name what is missing, and the first version of Temporal Server that sends it."""
        super().__init__(f"{what} is missing; Temporal Server {since} has it")
        self.what = what
        self.since = since


STATS_SINCE = "1.28"
"""The first version of Temporal Server that says how many tasks wait in a task queue."""
BUILD_STATS_SINCE = "1.29"
"""The first version of Temporal Server that says how many tasks of a build wait."""
