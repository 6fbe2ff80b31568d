"""Where traces are read from: the package itself, and files."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from autoscaler.core.errors import ConfigurationError
from autoscaler.simulation.trace import Trace, parse_trace

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes."""
_LONGEST_NAME = 100
"""Characters of a name that a message quotes."""


def shipped_names() -> list[str]:
    """Return the names of the traces that come with the package."""
    return sorted(
        file.name.removesuffix(".csv") for file in _folder().iterdir() if file.name.endswith(".csv")
    )


def shipped_traces() -> dict[str, str]:
    """Return the text of each trace that comes with the package, by its name."""
    folder = _folder()
    return {name: folder.joinpath(f"{name}.csv").read_text("utf-8") for name in shipped_names()}


def read_trace(name: str) -> Trace:
    """Read the shipped trace of that name, or else the file.

    Raises ConfigurationError where there is neither, and where the file cannot be read.
    """
    shipped = shipped_traces()
    if name in shipped:
        return parse_trace(name, shipped[name].splitlines())
    path = Path(name)
    try:
        # Path.is_file raises OSError for a name that is too long.
        if not os.path.isfile(name):  # noqa: PTH113
            raise ConfigurationError([_unknown(name, shipped)])
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigurationError([f"{name} is larger than {LARGEST_FILE >> 20} MiB"])
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{name} is not UTF-8 text (byte {error.start})"]) from error
    except OSError as error:
        raise ConfigurationError([f"{name} cannot be read: {error.strerror}"]) from error
    return parse_trace(path.name, text.split("\n"))


def _folder() -> Traversable:
    return resources.files("autoscaler.simulation").joinpath("traces")


def _unknown(name: str, shipped: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), shipped, n=1)
    hint = f", the nearest is {near[0]}" if near else ""
    known = ", ".join(shipped)
    return f"{name[:_LONGEST_NAME]!r} is neither a file nor one of the traces {known}{hint}"
