"""One services file: which values it gives to which services, and what is wrong with it. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from autoscaler.core.labels import what_is_wrong
from autoscaler.core.origin import Given
from autoscaler.wishes.yaml_tree import Broken, Node, TreeReader, line_of, parse, shown

_NAME_LINE = re.compile(r"""\s*(["']?)(?P<name>[^\s"'#:][^"'#:]*)\1\s*:\s*(?:[{#].*)?""")
_FORM = "write `services:` at the top, service names below it, and labels below these"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file gives to one service, or to all whose names match a pattern."""

    name: str
    line: int
    """Where its name stands."""
    values: Mapping[str, Given] = field(default_factory=dict)
    """By the names of labels without the prefix."""

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for several services."""
        return any(sign in self.name for sign in "*?[")

    def matches(self, name: str) -> bool:
        """Whether a service of this name is meant."""
        if self.is_pattern:
            return fnmatch.fnmatchcase(name, self.name)
        return name == self.name


@dataclass(frozen=True, slots=True)
class ServicesFile:
    """What one file says."""

    entries: tuple[Entry, ...] = ()
    """In order. Where anything is wrong they are not complete, and only their names count."""
    problems: tuple[str, ...] = ()
    """What is wrong, each with the line and what to do."""

    def names(self, service: str) -> bool:
        """Whether the file gives something to the service of this name, or seems to."""
        return any(entry.matches(service) for entry in self.entries)


def read_services_file(name: str, content: bytes) -> ServicesFile:
    """Read the file of this name."""
    try:
        root = parse(content, _FORM)
    except Broken as error:
        return _broken(name, error)
    reader = EntryReader(name, _FORM)
    services = reader.top(root, "services").get("services")
    entries = () if services is None else tuple(reader.entries(services))
    return ServicesFile(entries, tuple(reader.problems))


def _broken(name: str, error: Broken) -> ServicesFile:
    """Return a file whose YAML cannot be read, with the names that seem to be in it."""
    found = map(_NAME_LINE.fullmatch, error.text.splitlines())
    named = dict.fromkeys(match["name"].strip() for match in found if match is not None)
    entries = tuple(Entry(each, 0) for each in named)
    return ServicesFile(entries, (f"{name}:{error.line}: {error}",))


class EntryReader(TreeReader):
    """Reads what a file gives to services."""

    def entries(self, services: Node) -> Iterator[Entry]:
        """Yield the entry of each service, or of each pattern."""
        for key, node in self.pairs(services, "services", "write {} for no services"):
            yield Entry(key.value, line_of(key), dict(self._values(key.value, node)))

    def _values(self, service: str, node: Node) -> Iterator[tuple[str, Given]]:
        remedy = "give it values, or remove it"
        for key, value in self.pairs(node, shown(service), remedy):
            written = self.written(key, value)
            if written is None:
                continue
            # What will not be shown is not judged: to find the nearest name takes its time.
            wrong = None if self.crowded else self.what_is_wrong(key.value, written)
            if wrong:
                self.say(key, wrong)
            yield key.value, Given(written, f"{self._file}:{line_of(key)}")

    def what_is_wrong(self, name: str, written: str) -> str | None:
        """Return what is wrong with one value; None where nothing is."""
        return what_is_wrong(name, written)
