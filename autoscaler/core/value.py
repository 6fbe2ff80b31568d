"""Values: what is made anew in every tick, and never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a dataclass whose fields the type checker keeps from being assigned.

    A frozen one asks at run time as well, and takes two to four times as long to make. It
    compares and hashes by its fields, as a frozen one does.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
