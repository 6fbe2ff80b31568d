"""How much of an agent one sender may use, so that nobody shuts the daemon out. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict

AT_ONCE_FROM_ONE = 16
"""Connections of one address at a time."""
AT_ONCE = 64
"""Connections of all addresses at a time."""
A_SECOND_FROM_ONE = 50
"""New connections of one address a second. The daemon makes a few."""
MOST_ADDRESSES = 4096
"""Addresses whose pace is remembered; the one that was not seen for longest is forgotten first."""


class Limits:
    """Counts the connections of each address."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._paces: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """For each address how many more connections it may make, and when that was so."""

    def enter(self, address: str, now: float) -> str | None:
        """Return why a connection is refused; None: it is accepted, and has to leave later.

        `now` is in seconds that never go back.
        """
        if not self._in_pace(address, now):
            return f"more than {A_SECOND_FROM_ONE} connections a second from one address"
        if self._open[address] >= AT_ONCE_FROM_ONE:
            return f"more than {AT_ONCE_FROM_ONE} connections at once from one address"
        if self._open.total() >= AT_ONCE:
            return f"more than {AT_ONCE} connections at once"
        self._open[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Count a connection that was accepted no longer."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def _in_pace(self, address: str, now: float) -> bool:
        left, then = self._paces.pop(address, (float(A_SECOND_FROM_ONE), now))
        left = min(A_SECOND_FROM_ONE, left + (now - then) * A_SECOND_FROM_ONE)
        allowed = left >= 1
        self._paces[address] = (left - 1 if allowed else left, now)
        if len(self._paces) > MOST_ADDRESSES:
            self._paces.popitem(last=False)
        return allowed
