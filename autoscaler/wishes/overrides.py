"""Wishes that were set live, with `autoscaler set`, with `pause` or on the page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from autoscaler.core.errors import StateError
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.override import Override, by_service, holding
from autoscaler.ports import WishSource
from autoscaler.wishes.overrides_file import OverridesFile, Signature

LOOKED_EVERY = timedelta(seconds=0.25)
"""How often the file is looked at: what is set or ends is taken up within a second."""


class Overrides(WishSource):
    """The overrides that are in force, of all services.

    Where the file cannot be read, what was read last stays in force until it ends.
    """

    def __init__(
        self,
        file: OverridesFile,
        prefix: str,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
    ) -> None:
        """Read `file`. `elapsed` gives seconds that never go back, whatever the clock does."""
        self._file = file
        self._prefix = prefix
        self._clock = clock
        self._elapsed = elapsed
        self._signature: Signature | None = None
        """Of the file that was read last; None before the first look."""
        self._kept: tuple[Override, ...] = ()
        """All that the file holds, those that have ended among them."""
        self._ends: dict[Override, float] = {}
        """When each override ends at the latest, in seconds of `elapsed`."""
        self._problem: str | None = None
        self._holding: tuple[Override, ...] = ()
        self._by_service: Mapping[ServiceId, Sequence[Override]] = {}

    async def renew(self) -> bool:
        """Take in what has been set, removed or has ended; return whether anything has."""
        before = self._holding, self.warnings
        self._look()
        self._holding = self._in_force()
        self._by_service = by_service(self._holding)
        return before != (self._holding, self.warnings)

    @property
    def warnings(self) -> Sequence[str]:
        """What is wrong with the file of overrides, with what to do."""
        return tuple(each for each in (self._problem, self._file.damage) if each)

    @property
    def holding(self) -> tuple[Override, ...]:
        """All overrides that were in force at the latest `renew`, by service and name."""
        return self._holding

    def given(self, service: Service) -> Mapping[str, Given]:
        """Return what was set for a service, by the full names of labels."""
        return {
            f"{self._prefix}.{each.name}": Given(each.value, each.origin)
            for each in self._by_service.get(service.id, ())
        }

    def astray(
        self, there: Collection[ServiceId], followed: Collection[ServiceId]
    ) -> Sequence[str]:
        """Return what is set for services that nobody looks after."""
        lost = sorted(set(self._by_service) - set(followed))
        gone = ", ".join(map(str, (each for each in lost if each not in there)))
        alone = ", ".join(map(str, (each for each in lost if each in there)))
        remedy = "or remove what is set with `autoscaler unset`"
        warnings = []
        if gone:
            warnings.append(
                f"something is set for {gone}, and no such service is there: correct the name,"
                f" {remedy}"
            )
        if alone:
            warnings.append(
                f"something is set for {alone}, which this daemon does not look after: give it a"
                f" queue by a label or a services file, {remedy}"
            )
        return warnings

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever an override was set or removed or has ended, until cancelled.

        Only `renew` takes it in: the tick that `changed` causes does that.
        """
        while True:
            await asyncio.sleep(LOOKED_EVERY.total_seconds())
            if self._file_changed() or self._in_force() != self._holding:
                changed()

    def _look(self) -> None:
        """Read the file again where it has changed."""
        try:
            signature = self._file.signature()
            if signature != self._signature:
                self._kept = self._file.read()
                self._ends = {each: self._ends[each] for each in self._kept if each in self._ends}
                # What was damaged has another name by now, and what is read next is new.
                self._signature = signature
            self._problem = None
        except StateError as error:
            self._problem = str(error)

    def _file_changed(self) -> bool:
        try:
            return self._file.signature() != self._signature
        except StateError as error:
            return str(error) != self._problem

    def _in_force(self) -> tuple[Override, ...]:
        now = self._clock()
        return tuple(each for each in holding(self._kept, now) if self._lasts(each, now))

    def _lasts(self, override: Override, now: datetime) -> bool:
        """Whether an override has not yet held for as long as was asked.

        Its end is a time of day. Where the clock is set back, it shall not last longer for that.
        """
        if override.until is None or override.lasts is None:
            return True
        elapsed = self._elapsed()
        left = min(override.until - now, override.lasts)
        return elapsed < self._ends.setdefault(override, elapsed + left.total_seconds())
