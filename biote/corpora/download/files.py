"""Files of a download: where each comes from, where it goes, how much of it is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Standing(StrEnum):
    """How much of a file is there."""

    DONE = "there"
    PART = "in part"
    WRONG = "differs"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One file of a plan."""

    address: str
    target: Path
    bytes: int | None = None
    """Size; null if the source does not say."""
    exact: bool = False
    """Whether the size is to the byte."""
    checksum: str | None = None
    standing: Standing = Standing.MISSING
    present_bytes: int = 0
    """Bytes of it that need not come again."""
    checked: str = ""
    """How it was found to be right, for example ``by MD5``; empty while it is not there."""

    def missing_bytes(self) -> int:
        """Bytes that have to come, as far as they are known."""
        if self.standing is Standing.DONE:
            return 0
        return max((self.bytes or 0) - self.present_bytes, 0)
