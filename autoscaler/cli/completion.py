"""autoscaler completion"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "autoscaler"
"""The command whose words are completed."""
_ASKED_BY = f"_{PROGRAM.upper()}_COMPLETE"
"""The variable by which a shell's script asks typer for words, or for the script itself."""


class Shell(StrEnum):
    """The shells that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="The shell to print it for.")],
) -> None:
    """Print a script that completes commands, options and names in a shell.

    In bash: source <(autoscaler completion bash)
    """
    with _asked(f"source_{shell}"):
        context.find_root().command.main(args=[], prog_name=PROGRAM)


@contextmanager
def _asked(instruction: str) -> Iterator[None]:
    os.environ[_ASKED_BY] = instruction
    try:
        yield
    finally:
        del os.environ[_ASKED_BY]
