"""Sizes of memory as people write them: `512MiB`, `2GiB`, `1.5g`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
"""As in Docker, where `2g` and `2GiB` are the same."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)b|([kmgt])(?:ib)?)", re.ASCII)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_FORM = "must be a share such as 10%, a size such as 2GiB, or 0 for none"


@dataclass(frozen=True, slots=True)
class Reserve:
    """What has to stay free of something: a share of all there is, or a size."""

    share: float = 0.0
    """From 0 to 1; counts where there is no size."""
    size: int = 0
    """Bytes."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10%`, `2GiB`, or `0`. Raises ValueError that says what is allowed."""
        word = text.strip().lower()
        share = _SHARE.fullmatch(word)
        if share is not None and float(share[1]) <= 100:  # noqa: PLR2004 - percent
            return cls(share=float(share[1]) / 100)
        size = _SIZE.fullmatch(word)
        if size is not None:
            return cls(size=int(float(size[1]) * _UNITS[size[2] or size[3] or ""]))
        if word == "0":
            return cls()
        raise ValueError(_FORM)

    def of(self, total: int) -> int:
        """Return the bytes that have to stay free of so many bytes."""
        return self.size or int(self.share * total)

    def __bool__(self) -> bool:
        """Whether anything has to stay free."""
        return bool(self.size or self.share)
