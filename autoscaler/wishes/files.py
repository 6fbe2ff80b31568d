"""Wishes that stand in services files, which are read again whenever they change."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from autoscaler.core.errors import LabelError, printable
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.ports import WishSource
from autoscaler.wishes.folder import Content, Folder, Unreadable
from autoscaler.wishes.services_file import Entry, ServicesFile, read_services_file

WATCHED_EVERY = 0.25
"""Seconds between two looks at the folder: what has changed is taken up within a second."""
MOST_ASTRAY = 20
"""How many names that no service has are said."""
QUEUE = "queue"
"""The value that makes a service one that is looked after."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it is now, and as it was when it was right."""

    content: Content
    now: ServicesFile
    good: ServicesFile | None
    """None where it was never right since this process began."""

    @classmethod
    def read(cls, name: str, content: Content, before: _File | None) -> _File:
        if before is not None and before.content == content:
            return before
        shown = printable(name)
        if isinstance(content, Unreadable):
            now = ServicesFile(problems=(f"{shown} {content.why}",))
        else:
            now = read_services_file(shown, content)
        good = None if before is None else before.good
        return cls(content, now, good if now.problems else now)

    @property
    def warnings(self) -> Iterator[str]:
        """What is wrong with it, and what counts meanwhile."""
        meanwhile = (
            "services that it names keep their replicas"
            if self.good is None
            else "the file counts as it was before"
        )
        for problem in self.now.problems:
            yield f"services file {problem}; {meanwhile}"


@dataclass(frozen=True, slots=True)
class _State:
    """What all files say together."""

    files: Mapping[str, _File] = field(default_factory=dict)
    """By their names, in order."""
    unknown: str | None = None
    """Why nothing is known of the files, not even of earlier ones; None where that is not so."""
    read: bool = False
    """Whether the folder was ever read."""
    warnings: tuple[str, ...] = ()
    patterns: tuple[Entry, ...] = ()
    exact: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, _File], warnings: Sequence[str] = ()) -> _State:
        entries = [entry for file in files.values() if file.good for entry in file.good.entries]
        exact: dict[str, tuple[Entry, ...]] = {}
        for entry in entries:
            if not entry.is_pattern:
                exact[entry.name] = (*exact.get(entry.name, ()), entry)
        return cls(
            files,
            read=True,
            warnings=(*warnings, *(each for file in files.values() for each in file.warnings)),
            patterns=tuple(entry for entry in entries if entry.is_pattern),
            exact=exact,
        )

    @property
    def wanted(self) -> tuple[object, ...]:
        """What makes a difference to anybody."""
        return self.patterns, self.exact, self.unknown, self.warnings

    def values(self, service: str) -> Mapping[str, Given]:
        """Return what a service is given: exact names have the last word, then later entries."""
        values: dict[str, Given] = {}
        for entry in self.patterns:
            if entry.matches(service):
                values.update(entry.values)
        for entry in self.exact.get(service, ()):
            values.update(entry.values)
        return values

    def astray(self, there: Collection[str], followed: Collection[str]) -> Iterator[str]:
        """Yield what is said of services that are not there, or that are not looked after."""
        for name, file in self.files.items():
            for entry in file.good.entries if file.good else ():
                place = f"services file {printable(name)}:{entry.line}"
                if entry.name not in there and not any(map(entry.matches, there)):
                    yield f"{place}: {_unknown(entry.name, frozenset(there))}"
                elif not entry.is_pattern and entry.name not in followed:
                    yield (
                        f"{place}: {entry.name} has neither a label of the autoscaler nor a queue"
                        " in a services file; give it a queue"
                    )

    def doubts(self, service: str) -> Sequence[str]:
        """Return why it is not known what a service is given; empty where it is known."""
        if self.unknown is not None:
            return [self.unknown]
        return [
            f"services file {printable(name)} names this service and was never right since the"
            " start: the replicas stay as they are until it is"
            for name, file in self.files.items()
            if file.good is None and file.now.names(service)
        ]


@lru_cache(maxsize=MOST_ASTRAY)
def _unknown(name: str, there: frozenset[str]) -> str:
    # To find the nearest of 1,000 names takes about 10 ms, and each tick asks again.
    near = difflib.get_close_matches(name, sorted(there), n=1)
    hint = f", the nearest is {near[0]}" if near else ""
    return f"no service is named {name!r}{hint}; correct the name, or deploy the service"


class Files(WishSource):
    """The services files of one folder."""

    def __init__(self, folder: Path, prefix: str, *, expected: bool = True) -> None:
        """Give values to labels that begin with `prefix` and a dot.

        `expected` says that the folder has to be there: somebody has named it. While it has not
        been there yet, no service is changed, because nobody knows what the files want of it.
        """
        self._path = folder
        self._folder = Folder(folder)
        self._prefix = prefix
        self._expected = expected
        self._state = _State()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` while the folder is not as it was read; go on until cancelled."""
        while True:
            await asyncio.sleep(WATCHED_EVERY)
            if await asyncio.to_thread(self._folder.differs):
                changed()

    async def renew(self) -> bool:
        """Read the files again where they have changed; return whether they want anything else."""
        before = self._state
        self._state = await asyncio.to_thread(self._read)
        return self._state.wanted != before.wanted

    @property
    def warnings(self) -> Sequence[str]:
        """What is wrong with the files, each with file and line, and what to do."""
        return self._state.warnings

    def given(self, service: Service) -> Mapping[str, Given]:
        """Return what the files give to a service, by the full names of labels.

        Raises LabelError where a file that was never right names the service.
        """
        doubts = self._state.doubts(service.id.name)
        if doubts:
            raise LabelError(doubts)
        values = self._state.values(service.id.name)
        return {f"{self._prefix}.{name}": given for name, given in values.items()}

    def looks_after(self, service: ServiceId, labels: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Return whether the files give a queue to a service."""
        return QUEUE in self._state.values(service.name)

    def astray(
        self, there: Collection[ServiceId], followed: Collection[ServiceId]
    ) -> Sequence[str]:
        """Return which names in the files no service has, and which have no queue."""
        if not (self._state.patterns or self._state.exact):
            return ()
        names, served = ({each.name for each in ids} for ids in (there, followed))
        return tuple(islice(self._state.astray(names, served), MOST_ASTRAY))

    def _read(self) -> _State:
        if not self._folder.differs():
            return self._state
        found = self._folder.read()
        if not isinstance(found, Unreadable):
            known = self._state.files
            return _State.of(
                {name: _File.read(name, each, known.get(name)) for name, each in found.items()}
            )
        return self._without_folder(found)

    def _without_folder(self, found: Unreadable) -> _State:
        """Keep what the files of a folder said that has gone, or cannot be read any more."""
        why = f"AUTOSCALER_SERVICES={self._path}: {found.why}"
        if self._state.read:
            return _State.of(self._state.files, [f"{why}; its files count as they were before"])
        if not self._expected:
            return _State()
        return _State(unknown=f"{why}; until then no service is changed", warnings=(why,))
