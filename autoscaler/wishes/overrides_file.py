"""The file of overrides: one for all processes that use the folder of state."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from autoscaler.core.errors import StateError
from autoscaler.core.findings import Finding, Outcome
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override, Wanted, check_values, holding, merged, of_service
from autoscaler.durable import locked, sync_folder, write

FILE = "overrides.json"
SUBJECT = "overrides"
"""What a finding is about."""
_REMEDY = "AUTOSCALER_STATE names a folder, or a volume, that this user can read and write"

Signature = tuple[int, int, int] | None
"""Inode, time and size of the file; None where there is none. Every write makes a new file."""

Change = Callable[[tuple[Override, ...]], tuple[Override, ...]]


class _Entry(BaseModel):
    """One override as it is written."""

    model_config = ConfigDict(strict=False, extra="forbid")

    orchestrator: Literal["compose", "swarm"]
    service: str
    name: str
    value: str
    since: AwareDatetime
    until: AwareDatetime | None
    by: str
    reason: str


class _Content(BaseModel):
    """The whole file. A later form has another version."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    overrides: list[_Entry]


class OverridesFile:
    """Overrides in one file. A reader finds either what was there before a write, or all of it.

    Writers take turns by a lock on the folder. Every method may raise StateError.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the file in this folder, the value of AUTOSCALER_STATE."""
        self.folder = folder
        self.path = folder / FILE
        self.damage: str | None = None
        """What was wrong with the file that was read last and set aside, and what to do."""

    def signature(self) -> Signature:
        """Return what differs after every change of the file."""
        with self._explained("reading"):
            try:
                status = self.path.stat()
            except FileNotFoundError:
                return None
            return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> tuple[Override, ...]:
        """Return all overrides that are kept, those that have ended among them.

        A damaged file is set aside under another name, so that nothing of it is lost, and counts as
        empty: `damage` then says so.
        """
        with self._explained("reading"):
            try:
                found = _parsed(self.path.read_bytes())
            except FileNotFoundError:
                return ()
            if found is None:
                with locked(self.folder, fcntl.LOCK_EX):
                    return self._read_or_set_aside()
        self.damage = None
        return found

    def change(self, change: Change) -> tuple[Override, ...]:
        """Replace what is kept by what `change` makes of it, and return that."""
        with self._explained("writing"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(self.folder, fcntl.LOCK_EX):
                before = self._read_or_set_aside()
                after = change(before)
                if after != before:
                    write(self.path, _written(after))
                return after

    def put(
        self, new: Wanted, prefix: str, known: Mapping[str, str], now: datetime
    ) -> tuple[Override, ...]:
        """Set what is wanted, and return the overrides that it replaces.

        `known` are the values of the service by the full names of labels, where they are known.
        Raises OverrideError where a value is wrong or contradicts one of these; nothing is written
        then.
        """
        replaced: list[Override] = []

        def change(present: tuple[Override, ...]) -> tuple[Override, ...]:
            others = [each for each in of_service(present, new.service) if each.holds(now)]
            set_live = {each.name: each.value for each in others} | dict(new.values)
            check_values(set_live, prefix, known)
            replaced.extend(each for each in others if each.name in new.values)
            return merged(present, new.overrides(now), now)

        self.change(change)
        return tuple(replaced)

    def remove(
        self, service: ServiceId, which: Callable[[Override], bool], now: datetime
    ) -> tuple[Override, ...]:
        """Remove the overrides of a service that `which` says, and return them."""
        removed: list[Override] = []

        def change(present: tuple[Override, ...]) -> tuple[Override, ...]:
            held = (each for each in of_service(present, service) if each.holds(now))
            removed.extend(each for each in held if which(each))
            return tuple(each for each in holding(present, now) if each not in removed)

        if self.path.exists():
            self.change(change)
        return tuple(removed)

    def examine(self, *, lasting: bool) -> Finding:
        """Say whether overrides can be kept; `lasting`: whether the folder outlives the container.

        Changes nothing, and raises nothing.
        """
        try:
            self.signature()
        except StateError as error:
            return Finding(SUBJECT, Outcome.WARNING, str(error))
        # The first override makes the folder.
        folders = (self.folder, *self.folder.absolute().parents)
        there = next(folder for folder in folders if folder.exists())
        if not (there.is_dir() and os.access(there, os.R_OK | os.W_OK | os.X_OK)):
            problem = f"this user cannot write to {there}, so nothing can be set live; {_REMEDY}"
            return Finding(SUBJECT, Outcome.WARNING, problem)
        end = "" if lasting else ", which is no volume: they go with this container"
        return Finding(SUBJECT, Outcome.OK, f"they are kept in {self.folder}{end}")

    def _read_or_set_aside(self) -> tuple[Override, ...]:
        """Read while the folder is locked, so that nobody else moves the file meanwhile."""
        try:
            found = _parsed(self.path.read_bytes())
        except FileNotFoundError:
            return ()
        if found is not None:
            self.damage = None
            return found
        aside = self.path.with_name(f"{FILE}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        self.path.rename(aside)
        sync_folder(self.folder)
        self.damage = (
            f"the overrides in {self.path} are damaged or of another version, so they count no"
            f" more; the file is now {aside.name}: set them again with `autoscaler set`"
        )
        return ()

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Translate errors of the file system."""
        try:
            yield
        except OSError as error:
            raise StateError(
                f"{doing} the overrides in {self.path} failed"
                f" ({error.strerror}: {error.filename or self.folder}); {_REMEDY}"
            ) from error


def _parsed(content: bytes) -> tuple[Override, ...] | None:
    """Return the overrides in a file; None where it is damaged."""
    try:
        entries = _Content.model_validate_json(content).overrides
    except ValidationError:
        return None
    return tuple(
        Override(
            ServiceId(each.orchestrator, each.service),
            each.name,
            each.value,
            each.since.astimezone(UTC),
            None if each.until is None else each.until.astimezone(UTC),
            each.by,
            each.reason,
        )
        for each in entries
    )


def _written(overrides: Sequence[Override]) -> bytes:
    entries = [
        _Entry(
            orchestrator="compose" if each.service.orchestrator == "compose" else "swarm",
            service=each.service.name,
            name=each.name,
            value=each.value,
            since=each.since,
            until=each.until,
            by=each.by,
            reason=each.reason,
        )
        for each in overrides
    ]
    return _Content(version=1, overrides=entries).model_dump_json(indent=2).encode() + b"\n"
