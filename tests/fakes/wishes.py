"""Wishes as most tests need them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from zoneinfo import ZoneInfo

from autoscaler.core.labels import DEFAULT_PREFIX
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.zones import UTC_ZONE
from autoscaler.ports import WishSource
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.wishes import Wishes


class FakeSource(WishSource):
    """A source that gives the same to every service, as a test has set it."""

    def __init__(self, origin: str = "shop.yaml:3") -> None:
        self.wrong: tuple[str, ...] = ()
        """What it complains of."""
        self.failure: Exception | None = None
        """Raised by `renew` while it is set."""
        self.strict = False
        """Whether it complains of what it is told of services."""
        self._origin = origin
        self._next: Mapping[str, str] = {}
        self._now: Mapping[str, str] = {}

    def want(self, **values: str) -> None:
        """Want these values from the next `renew` on, by the names of labels."""
        self._next = {f"{DEFAULT_PREFIX}.{name}": value for name, value in values.items()}

    @property
    def warnings(self) -> Sequence[str]:
        """Return what the test has set."""
        return self.wrong

    async def renew(self) -> bool:
        """Take in what the test has set."""
        if self.failure is not None:
            raise self.failure
        changed = self._next != self._now
        self._now = self._next
        return changed

    def given(self, _: Service) -> Mapping[str, Given]:
        """Return what the test has set."""
        return {name: Given(value, self._origin) for name, value in self._now.items()}

    def astray(
        self, there: Collection[ServiceId], followed: Collection[ServiceId]
    ) -> Sequence[str]:
        """Say what it is asked, as a sentence."""
        if not self.strict:
            return ()
        return (f"{len(there)} there, {len(followed)} followed",)


def by_labels(
    prefix: str = DEFAULT_PREFIX, *later: FakeSource, timezone: ZoneInfo = UTC_ZONE
) -> Wishes:
    """Return wishes that stand on services as labels, and nowhere else but in `later` sources."""
    return Wishes([Labels(prefix), *later], prefix, timezone)
