"""The file of `simulate --with`: services with a trace each, and the limits that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from autoscaler.core.errors import ConfigurationError, LabelError
from autoscaler.core.groups import Groups
from autoscaler.core.integration import canonical
from autoscaler.core.labels import DEFAULT_PREFIX, nearest, read_labels, what_is_wrong
from autoscaler.core.origin import Given
from autoscaler.core.spec import ScalingSpec
from autoscaler.setting_values import MOST_OF_ALL
from autoscaler.simulation.together import Member
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.trace_files import read_trace, shipped_names
from autoscaler.simulation.workers import OPTIONS, Workers, parse_workers
from autoscaler.wishes.folder import Unreadable, read_file
from autoscaler.wishes.services_file import Entry, EntryReader
from autoscaler.wishes.yaml_tree import Broken, Key, Node, parse, shown

_TRACE, _QUEUE = "trace", "queue"
_ALL, _GROUPS = "max-replicas", "groups"
_BESIDE = (_TRACE, *OPTIONS)
"""What stands beside the labels of a service: its trace, and what its workers are like."""
_FORM = (
    "write `services:` at the top, service names below it, and below each `trace` and labels;"
    f" write `limits:` with `{_ALL}` and `{_GROUPS}` below it"
)


@dataclass(frozen=True, slots=True)
class SimulationFile:
    """What such a file says."""

    members: tuple[Member, ...]
    groups: Groups


def read_simulation_file(
    path: Path, given: Mapping[str, str], timezone: ZoneInfo
) -> SimulationFile:
    """Read the file; its traces that are files are looked for beside it.

    `given` is what the workers of all services are like, whatever the file says. Schedules that
    name no zone have `timezone`. Raises ConfigurationError that names all that is wrong.
    """
    content = read_file(path)
    if isinstance(content, Unreadable):
        raise ConfigurationError([f"--with={str(path)!r} {content.why}"])
    try:
        root = parse(content, _FORM)
    except Broken as error:
        raise ConfigurationError([f"{path.name}:{error.line}: {error}"]) from error
    reader = _Reader(path, given, timezone)
    found = reader.read(root)
    if reader.problems:
        # What a pattern says wrong is wrong for each service that it matches.
        raise ConfigurationError([*dict.fromkeys(reader.problems)])
    return found


class _Reader(EntryReader):
    """Reads one file, and collects all that is wrong with it."""

    def __init__(self, path: Path, given: Mapping[str, str], timezone: ZoneInfo) -> None:
        super().__init__(path.name, _FORM)
        self._folder = path.parent
        self._given = given
        self._timezone = timezone

    def read(self, root: Node | None) -> SimulationFile:
        """Return what the file says; where there are problems it is not complete."""
        top = self.top(root, "services", ["limits"])
        groups = self._limits(top["limits"]) if "limits" in top else Groups()
        entries = list(self.entries(top["services"])) if "services" in top else []
        named = [_joined(each, entries) for each in entries if not each.is_pattern]
        if "services" in top and not named:
            self.say(top["services"], "no service is named; give one its name and its trace")
        members = [self._member(entry, groups) for entry in named]
        return SimulationFile(tuple(each for each in members if each is not None), groups)

    # ------------------------------------------------------------------ services

    def what_is_wrong(self, name: str, written: str) -> str | None:
        """Return what is wrong with one value of a service; None where nothing is."""
        if name == _TRACE:
            return None
        if name not in OPTIONS:
            return what_is_wrong(name, written, _BESIDE)
        try:
            parse_workers({name: written}, Workers(), "")
        except ConfigurationError as error:
            return "; ".join(error.problems)
        return None

    def _member(self, entry: Entry, groups: Groups) -> Member | None:
        # What is wrong by itself has been said.
        right = {
            name: given
            for name, given in entry.values.items()
            if self.what_is_wrong(name, given.value) is None
        }
        trace = self._trace(entry)
        spec = self._spec(entry, right)
        if spec is not None:
            self._check_groups(spec, right, groups)
        if trace is None or spec is None:
            return None
        words = {name: given.value for name, given in right.items() if name in OPTIONS}
        workers = parse_workers({**words, **self._given}, trace.workers, "")
        return Member(entry.name, spec, trace, workers)

    def _trace(self, entry: Entry) -> Trace | None:
        if _TRACE not in entry.values:
            names = ", ".join(shipped_names())
            self.note(
                f"{self._file}:{entry.line}",
                f"{shown(entry.name)} has no trace; give it `trace`: a file, or one of {names}",
            )
            return None
        given = entry.values[_TRACE]
        shipped = given.value in shipped_names()
        try:
            return read_trace(given.value if shipped else str(self._folder / given.value))
        except ConfigurationError as error:
            for problem in error.problems:
                self.note(given.origin, problem)
        return None

    def _spec(self, entry: Entry, right: Mapping[str, Given]) -> ScalingSpec | None:
        """Return what the labels say; a queue is named like its service where none is given."""
        labels = {_QUEUE: Given(entry.name, f"{self._file}:{entry.line}")}
        labels |= {name: given for name, given in right.items() if name not in _BESIDE}
        try:
            return read_labels(
                {f"{DEFAULT_PREFIX}.{name}": given.value for name, given in labels.items()},
                origins={f"{DEFAULT_PREFIX}.{name}": each.origin for name, each in labels.items()},
                timezone=self._timezone,
            )
        except LabelError as error:
            for problem in error.problems:
                self.note(f"{self._file}:{entry.line}", f"{shown(entry.name)}: {problem}")
        return None

    def _check_groups(self, spec: ScalingSpec, right: Mapping[str, Given], groups: Groups) -> None:
        for name in spec.groups:
            if name not in groups.most:
                near = nearest(name, groups.most) if groups.most else ""
                remedy = f"write it below `limits:`, `{_GROUPS}:`, or correct the name"
                self.note(right["group"].origin, f"group {name!r} has no limit{near}; {remedy}")

    # ------------------------------------------------------------------ limits

    def _limits(self, node: Node) -> Groups:
        most: dict[str, int] = {}
        of_all: int | None = None
        for key, value in self.pairs(node, "limits", f"write `{_ALL}` or `{_GROUPS}` below it"):
            if key.value == _ALL:
                of_all = self._number(key, value, least=1)
            elif key.value == _GROUPS:
                most = self._sizes(value)
            else:
                self.say(key, self.unknown(key, [_ALL, _GROUPS]))
        return Groups(most, of_all)

    def _sizes(self, node: Node) -> dict[str, int]:
        """Return the most replicas of each group. One whose number is wrong has a limit, too."""
        most: dict[str, int] = {}
        for key, value in self.pairs(node, _GROUPS, "write names of groups with their numbers"):
            name = canonical(key.value)
            if name in most:
                self.say(key, f"{shown(key.value)} names the group {name!r} again; keep one")
            most[name] = self._number(key, value, least=0) or 0
        return most

    def _number(self, key: Key, node: Node, least: int) -> int | None:
        text = self.written(key, node)
        if text is None:
            return None
        whole = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_OF_ALL))
        if whole and least <= int(text) <= MOST_OF_ALL:
            return int(text)
        needed = f"a whole number from {least} to {MOST_OF_ALL}"
        self.say(key, f"{shown(key.value)}={shown(text)!r} must be {needed}")
        return None


def _joined(entry: Entry, entries: Sequence[Entry]) -> Entry:
    """Return a service with what the file gives to it: exact names have the last word."""
    patterns = [each for each in entries if each.is_pattern and each.matches(entry.name)]
    values = {name: given for each in (*patterns, entry) for name, given in each.values.items()}
    return Entry(entry.name, entry.line, values)
