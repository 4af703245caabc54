"""The error of a structure that cannot be used."""

from __future__ import annotations

from biote.errors import DataError


class UnusableStructure(DataError):
    """A structure file that cannot be used.

    Args:
        reason: The kind of fault, in the same words for every file that has it.
        detail: What is particular to this file.
        where: The file.
    """

    def __init__(self, reason: str, *, detail: str = "", where: str | None = None) -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason, where=where)
        self.reason = reason
        self.detail = detail
