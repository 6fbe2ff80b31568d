"""What can go wrong, in words for the person who runs the daemon.

Every message is one line that names what was tried, what came back and what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TypeVar

K = TypeVar("K")


class AutoscalerError(Exception):
    """Base of all errors the daemon expects; `str()` is one line for people."""


class ConfigurationError(AutoscalerError):
    """Something the user wrote is wrong: `problems` names everything at once, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        # What the user wrote is quoted in them, and may hold anything.
        self.problems = tuple(map(printable, problems))
        super().__init__("; ".join(self.problems))


class LabelError(ConfigurationError):
    """Labels of one service are unknown or have wrong values."""


class OverrideError(ConfigurationError):
    """What somebody wants to set live for a service is wrong."""


class OrchestratorError(AutoscalerError):
    """The Docker Engine did not do what was asked of it."""


class BacklogUnavailable(AutoscalerError):
    """The backlog of a task queue could not be read. Unknown is never zero."""


class InFlightUnavailable(AutoscalerError):
    """It could not be read what the workers are running. Unknown is never idle."""


class IntegrationError(AutoscalerError):
    """An integration is not known or its credentials cannot be used."""


class StateError(AutoscalerError):
    """What must outlive the process could not be read or written."""


def printable(text: str) -> str:
    """Escape line breaks and what else no terminal should be shown."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def describe(error: BaseException) -> str:
    """Return one line for people; an error nobody expected also says its type."""
    if isinstance(error, AutoscalerError):
        return str(error)
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {text}" if text else f"unexpected {error!r}"


@contextlib.contextmanager
def alone(failures: MutableMapping[K, str], key: K) -> Iterator[None]:
    """Write down what goes wrong for `key`, in words, instead of stopping all others.

    This is the only place that catches every exception: a service fails alone, and the report
    carries the error.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        failures[key] = describe(error)
