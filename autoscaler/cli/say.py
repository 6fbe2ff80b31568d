"""What commands tell a person beside their output: on standard error, a line each."""

from __future__ import annotations

import sys


def note(text: str) -> None:
    """Print what is worth knowing."""
    print(f"autoscaler: {text}", file=sys.stderr)  # noqa: T201


def warning(text: str) -> None:
    """Print what may become a problem."""
    note(f"warning: {text}")


def error(text: str) -> None:
    """Print what is wrong."""
    note(text)
